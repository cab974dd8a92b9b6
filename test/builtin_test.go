//go:build integration

package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// builtinReleases are the releases that conditions of the built-in configurations name, one that they do not, and the
// default, "".
var builtinReleases = map[string][]string{
	"debian":       {"", "bullseye", "bookworm", "trixie", "forky", "duke", "testing", "sid", "unstable", "other"},
	"kali":         {"", "other"},
	"ubuntu":       {"", "jammy", "noble", "oracular", "plucky", "questing", "resolute", "devel"},
	"fedora":       {"", "40", "41", "42", "43", "rawhide", "eln"},
	"centos":       {"", "8", "9", "10"},
	"alma":         {"", "9", "10"},
	"rocky":        {"9", "10"},
	"rhel":         {"9", "10"},
	"rhel-ubi":     {"9"},
	"arch":         {""},
	"opensuse":     {"", "tumbleweed", "leap", "16.0"},
	"azure":        {"", "3.0"},
	"postmarketos": {"", "edge"},
	"mageia":       {""},
	"openmandriva": {""},
	"custom":       {""},
}

var (
	// builtinArchitectures are those that packages differ by.
	builtinArchitectures = []string{"x86", "arm64", "riscv64", "loongarch64", "s390x"}
	builtinProfiles      = map[string][]string{
		"mkosi-initrd": {"lvm", "network", "nfs", "pkcs11", "plymouth", "raid"},
		"mkosi-tools":  {"debug", "devel", "gui", "misc", "package-manager", "runtime"},
	}
)

// builtinCases returns the command lines to compare, by name.
func builtinCases() map[string]string {
	cases := map[string]string{
		"addon": "--include=mkosi-addon",
		"obs":   "--include=mkosi-obs --distribution=debian",
	}
	add := func(distribution, release string, args ...string) {
		words := []string{"--format=directory", "--distribution=" + distribution}
		if release != "" {
			words = append(words, "--release="+release)
		}
		line := strings.Join(append(words, args...), " ")
		cases[strings.NewReplacer("--", "", " ", ",", "/", "-").Replace(line)] = line
	}
	for distribution, releases := range builtinReleases {
		for _, release := range releases {
			add(distribution, release, append(selected("mkosi-initrd", "--initrd-profile=", 0), "--include=mkosi-vm", "--initrd=default")...)
			add(distribution, release, append(selected("mkosi-tools", "--profile=", 0), "--include=mkosi-tools")...)
		}
		for name := range builtinProfiles {
			for bit := 1; bit <= 3; bit++ {
				add(distribution, releases[0], append(selected(name, "--profile=", bit), "--include="+name)...)
			}
		}
	}
	for _, distribution := range []string{"debian", "kali", "ubuntu", "fedora", "centos", "arch", "opensuse", "azure", "postmarketos"} {
		releases := builtinReleases[distribution][:1]
		if distribution == "debian" || distribution == "ubuntu" {
			releases = builtinReleases[distribution][:2]
		}
		for _, release := range releases {
			for _, architecture := range builtinArchitectures {
				add(distribution, release, "--include=mkosi-vm", "--initrd=default", "--architecture="+architecture)
				add(distribution, release, append(selected("mkosi-tools", "--profile=", 0), "--include=mkosi-tools", "--architecture="+architecture)...)
			}
		}
	}
	for _, distribution := range []string{"alma", "centos", "debian"} {
		add(distribution, "", "--include=mkosi-initrd", "--repositories=epel")
		add(distribution, "", "--include=mkosi-tools", "--repositories=hyperscale-packages-experimental")
		add(distribution, "", "--tools-tree=default", "--tools-tree-distribution="+distribution)
	}
	return cases
}

// selected returns the options for the profiles of a built-in configuration whose number, counted from 1, has a bit,
// counted from 1; for all with bit 0. Looking at each bit tells each profile from the others.
func selected(name, option string, bit int) (options []string) {
	for i, profile := range builtinProfiles[name] {
		if bit == 0 || (i+1)>>(bit-1)&1 == 1 {
			options = append(options, option+profile)
		}
	}
	return options
}

// TestBuiltinReference compares the built-in configurations, read here and by the reference, for every distribution.
// Files that they bring along are each program's own affair, and so is the order of lists in which it has no meaning.
func TestBuiltinReference(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "work")
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "ours"), program, 0o755)
	cases := builtinCases()
	var lines strings.Builder
	for name, args := range cases {
		for who, bin := range map[string]string{"ours": "../ours", "theirs": "mkosi"} {
			fmt.Fprintf(&lines, "cd empty && %s --json %s summary >../%s.%s 2>&1 || true\n", bin, args, name, who)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "commands"), []byte(lines.String()), 0o644)
	// mkosi-obs is for workers of the Open Build Service, which have these directories.
	writeFile(t, filepath.Join(dir, "script"), []byte(`set -e
mount -t tmpfs tmpfs /usr/src
mkdir -p /usr/src/packages/SOURCES /usr/src/packages/OTHER
xargs -d '\n' -n 1 -P "$(nproc)" bash -c <commands
`), 0o644)
	must(t, reference(dir, "bash", filepath.Join(dir, "script")))
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		ours, theirs := builtinImages(t, filepath.Join(dir, name+".ours")), builtinImages(t, filepath.Join(dir, name+".theirs"))
		if diff := cmp.Diff(theirs, ours); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// unorderedLists are the settings in which order and repetition have no meaning. It has one in KernelModules=, which a
// test of the configuration package sees to.
var unorderedLists = []string{"Packages", "RemoveFiles", "RemovePackages", "KernelModules"}

// builtinPath matches what lies within either program.
var builtinPath = regexp.MustCompile(`^builtin:|^/tmp/[^/]*/resources/`)

// builtinImages reads the images of a summary, the tools tree among them, for comparison.
func builtinImages(t *testing.T, path string) map[string]any {
	t.Helper()
	var doc struct {
		Images []map[string]any
		Tools  map[string]any
	}
	data := readFile(t, path)
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatalf("%s: %v\n%s", path, err, data)
	}
	if doc.Tools != nil {
		doc.Images = append(doc.Images, doc.Tools)
	}
	images := map[string]any{}
	for _, img := range doc.Images {
		delete(img, "Seed")
		delete(img, "Files")
		for key, value := range img {
			list, ok := value.([]any)
			if !ok {
				continue
			}
			list = slices.DeleteFunc(list, withinProgram)
			if slices.Contains(unorderedLists, key) {
				slices.SortFunc(list, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
				list = slices.Compact(list)
			}
			img[key] = list
		}
		images[img["Image"].(string)] = img
	}
	return images
}

// withinProgram reports whether a value, a path or a tree, is a file within the program.
func withinProgram(v any) bool {
	if tree, ok := v.(map[string]any); ok {
		v = tree["Source"]
	}
	s, ok := v.(string)
	return ok && builtinPath.MatchString(s)
}
