package build

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/host"
)

// policyFiles are what findPolicy looks at, with the highest version in the middle.
var policyFiles = map[string]string{
	"etc/selinux/config": "# SELINUXTYPE=not this\nSELINUX=enforcing\nSELINUXTYPE=\"targeted\"\n",
	"etc/selinux/targeted/contexts/files/file_contexts": "",
	"etc/selinux/targeted/policy/policy.9":              "",
	"etc/selinux/targeted/policy/policy.33":             "",
	"etc/selinux/targeted/policy/policy.31":             "",
	"etc/selinux/targeted/policy/policy.99.old":         "",
}

func TestFindPolicy(t *testing.T) {
	root, _ := newTree(t, policyFiles)
	p, err := findPolicy(root)
	want := selinuxPolicy{"etc/selinux/targeted/policy/policy.33", "etc/selinux/targeted/contexts/files/file_contexts"}
	if err != nil || *p != want {
		t.Errorf("found %+v, %v, want %+v", p, err, want)
	}
	for name, change := range map[string]func(map[string]string){
		"config":    func(f map[string]string) { delete(f, "etc/selinux/config") },
		"name":      func(f map[string]string) { f["etc/selinux/config"] = "SELINUX=disabled\n" },
		"contexts":  func(f map[string]string) { delete(f, "etc/selinux/targeted/contexts/files/file_contexts") },
		"directory": func(f map[string]string) { f["etc/selinux/config"] = "SELINUXTYPE=../x\n" },
		"policy": func(f map[string]string) {
			for _, v := range []string{"9", "31", "33"} {
				delete(f, "etc/selinux/targeted/policy/policy."+v)
			}
		},
	} {
		files := map[string]string{"etc/os-release": ""}
		for name, text := range policyFiles {
			files[name] = text
		}
		change(files)
		root, _ := newTree(t, files)
		if _, err := findPolicy(root); !errors.Is(err, errNoPolicy) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// Nothing is done, and nothing said, unless it is asked for or possible.
func TestRelabelLeft(t *testing.T) {
	empty, policy := map[string]string{"etc/os-release": ""}, policyFiles
	for _, test := range []struct {
		relabel config.Feature
		format  config.Format
		files   map[string]string
		want    string
	}{
		{config.Disabled, config.FormatTar, policy, ""},
		{config.Auto, config.FormatDirectory, policy, ""},
		{config.Auto, config.FormatTar, empty, ""},
		{config.Enabled, config.FormatDirectory, empty, "no SELinux policy"},
	} {
		_, dir := newTree(t, test.files)
		m := &image{Image: &config.Image{SELinuxRelabel: test.relabel, Format: test.format}, root: dir, b: &Builder{}}
		err := m.relabel(t.Context())
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("SELinuxRelabel=%s, Format=%s: %v, want %q", test.relabel, test.format, err, test.want)
		}
	}
}

// The image's own program comes first, and either may set labels.
func TestSetfilesCommand(t *testing.T) {
	root, dir := newTree(t, policyFiles)
	programs := t.TempDir()
	writeProgram(t, programs+"/setfiles")
	m := &image{Image: &config.Image{Architecture: "x86-64", ExtraSearchPaths: []string{programs}}, root: dir,
		b: &Builder{Host: host.Facts{Architecture: "x86-64"}}}
	policy, err := findPolicy(root)
	if err != nil {
		t.Fatal(err)
	}
	none := func(string) bool { return false }
	for _, want := range []string{"/buildroot", "/run/buildroot"} {
		cmd, err := m.setfiles(root, policy, none)
		if err != nil {
			t.Fatal(err)
		}
		args := strings.ReplaceAll("setfiles -m -F -r @ -c @/etc/selinux/targeted/policy/policy.33 @/etc/selinux/targeted/contexts/files/file_contexts @", "@", want)
		if strings.Join(cmd.Args, " ") != args {
			t.Errorf("runs %q, want %q", cmd.Args, args)
		}
		if slices.Contains(cmd.DropCapabilities, unix.CAP_SYS_ADMIN) {
			t.Error("without CAP_SYS_ADMIN no label can be set")
		}
		writeProgram(t, dir+"/usr/sbin/setfiles")
	}
	m.Architecture = "arm64"
	if cmd, err := m.setfiles(root, policy, none); err != nil || cmd.Args[4] != "/buildroot" {
		t.Errorf("for a foreign image: %v, %v", cmd, err)
	}
	m.ExtraSearchPaths = nil
	if _, err := m.setfiles(root, policy, none); err == nil || !strings.Contains(err.Error(), "policycoreutils") {
		t.Errorf("without the program: %v", err)
	}
}

func FuzzPolicyName(f *testing.F) {
	f.Add([]byte("SELINUX=permissive\nSELINUXTYPE=targeted\n"))
	f.Add([]byte("SELINUXTYPE='../..'\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if name := policyName(text); strings.ContainsAny(name, "/\x00") || name == ".." || name == "." {
			t.Errorf("%q leads out of its directory", name)
		}
	})
}

// writeProgram writes an executable file.
func writeProgram(t *testing.T, path string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755)); err != nil {
		t.Fatal(err)
	}
}
