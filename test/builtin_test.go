//go:build integration

package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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

// builtinCases returns the options to compare. Most are for a tree whose main image is a virtual machine
// and whose subimage has the tools, so that one of them asks for three configurations, the default initrd's too.
func builtinCases() []string {
	cases := []string{"--include=mkosi-addon", "--include=mkosi-obs --distribution=debian"}
	add := func(distribution, release string, args ...string) {
		words := []string{"--format=directory", "--distribution=" + distribution}
		if release != "" {
			words = append(words, "--release="+release)
		}
		cases = append(cases, strings.Join(append(words, args...), " "))
	}
	for distribution, releases := range builtinReleases {
		for _, release := range releases {
			add(distribution, release, selected(0)...)
		}
		for bit := 1; bit <= 3; bit++ {
			add(distribution, releases[0], selected(bit)...)
		}
	}
	for _, distribution := range []string{"debian", "ubuntu", "fedora", "arch", "opensuse", "azure", "postmarketos"} {
		for _, architecture := range builtinArchitectures {
			add(distribution, "", append(selected(0), "--architecture="+architecture)...)
		}
	}
	for _, architecture := range builtinArchitectures {
		add("debian", "bullseye", append(selected(0), "--architecture="+architecture)...)
	}
	for _, distribution := range []string{"alma", "centos", "debian"} {
		add(distribution, "", "--repositories=epel")
		add(distribution, "", "--repositories=hyperscale-packages-experimental")
		add(distribution, "", "--tools-tree=default", "--tools-tree-distribution="+distribution)
	}
	return cases
}

// selected returns the options for the profiles whose number in their built-in configuration, counted from 1, has a bit,
// counted from 1; for all with bit 0. Looking at each bit tells each profile from the others. Those of the initrd come
// from a file, as the profiles of the main image would else be the initrd's too.
func selected(bit int) (options []string) {
	for _, profile := range profilesWith("mkosi-tools", bit) {
		options = append(options, "--profile="+profile)
	}
	return append(options, fmt.Sprintf("--include=../initrd-%d.conf", bit))
}

func profilesWith(name string, bit int) (profiles []string) {
	for i, profile := range builtinProfiles[name] {
		if bit == 0 || (i+1)>>(bit-1)&1 == 1 {
			profiles = append(profiles, profile)
		}
	}
	return profiles
}

// TestBuiltinReference compares the built-in configurations, read here and by the reference, for every distribution.
// Files that they bring along are each program's own affair, and so is the order of lists in which it has no meaning.
func TestBuiltinReference(t *testing.T) {
	dir, err := os.MkdirTemp(sharedDir, "builtin-")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "ours"), readFile(t, binary), 0o755)
	writeFile(t, filepath.Join(dir, "tree/mkosi.conf"), []byte("[Include]\nInclude=mkosi-vm\n[Content]\nInitrds=default\n"), 0o644)
	writeFile(t, filepath.Join(dir, "tree/mkosi.images/tools.conf"), []byte("[Include]\nInclude=mkosi-tools\n"), 0o644)
	writeFile(t, filepath.Join(dir, "empty/mkosi.conf"), nil, 0o644)
	for bit := range 4 {
		profiles := strings.Join(profilesWith("mkosi-initrd", bit), ",")
		writeFile(t, filepath.Join(dir, fmt.Sprintf("initrd-%d.conf", bit)), []byte("[Content]\nInitrdProfiles="+profiles+"\n"), 0o644)
	}
	cases := builtinCases()
	var commands []string
	for i, args := range cases {
		tree := "tree"
		if strings.HasPrefix(args, "--include=") {
			tree = "empty"
		}
		for who, program := range map[string]string{"ours": "../ours", "theirs": "mkosi"} {
			commands = append(commands, fmt.Sprintf("cd %s && %s --json %s summary >../%d.%s 2>&1 || true", tree, program, args, i, who))
		}
	}
	// mkosi-obs is for workers of the Open Build Service, which have these directories.
	inReference(t, dir, "mount -t tmpfs tmpfs /usr/src && mkdir -p /usr/src/packages/SOURCES /usr/src/packages/OTHER", commands)
	for i, args := range cases {
		path := filepath.Join(dir, strconv.Itoa(i))
		if diff := cmp.Diff(builtinImages(t, path+".theirs"), builtinImages(t, path+".ours")); diff != "" {
			t.Errorf("%s:\n%s", args, diff)
		}
	}
}

// unorderedLists are the settings in which order and repetition have no meaning. It has one in KernelModules=, which a
// test of the configuration package sees to. Those of Repositories= are components or files, which are sets; the two
// programs differ in where they put the ones that a subimage is passed down.
var unorderedLists = []string{"Packages", "Repositories", "RemoveFiles", "RemovePackages", "KernelModules"}

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
