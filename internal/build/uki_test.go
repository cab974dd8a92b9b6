package build

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/efi/pe/petest"
	"github.com/mkosi-go/mkosi/internal/kernel"
)

// plant makes a tree of files with the texts; a text that begins with an arrow makes a link.
func plant(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			err = errors.Join(err, os.Symlink(target, name))
		} else {
			err = errors.Join(err, os.WriteFile(name, []byte(text), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The parts of a unified kernel image are those of the tree, wherever links say they are. One devicetree is for every
// machine, several are to be chosen from.
func TestUKIOptions(t *testing.T) {
	m := &image{root: t.TempDir(), Image: &config.Image{Architecture: config.ArchX86_64, Splash: "/usr/share/splash.bmp", SignExpectedPcr: config.Disabled}}
	plant(t, m.root, map[string]string{
		"usr/share/splash.bmp":    "-> /etc/alternatives/splash",
		"etc/alternatives/splash": "-> /usr/share/tiny.bmp",
		"usr/share/tiny.bmp":      "picture",
		"usr/lib/os-release":      "-> /usr/share/release",
		"usr/share/release":       "ID=tiny",
		"usr/lib/one.dtb":         "-> /usr/lib/two.dtb",
		"usr/lib/two.dtb":         "devicetree",
		"usr/lib/outside.dtb":     "-> ../../../../../../../../../etc/passwd",
		"stub":                    "stub",
		"vmlinuz":                 "kernel",
	})
	file := func(name string) string { return filepath.Join(m.root, name) }
	parts := ukiParts{kernel: &kernel.Kernel{Version: "6"}, kernelFile: file("vmlinuz"), stub: file("stub")}
	type texts struct {
		OSRelease, Splash, Tree string
		Trees                   []string
	}
	read := func(r *io.SectionReader) string {
		if r == nil {
			return ""
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	options := func(trees ...string) (got texts, err error) {
		root, err := os.Open(m.root)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		files := &openFiles{}
		defer func() { err = errors.Join(err, files.Close()) }()
		parts.trees = trees
		o, err := m.ukiOptions(t.Context(), root, files, parts)
		got = texts{OSRelease: o.Base.OSRelease, Splash: read(o.Base.Splash), Tree: read(o.Base.DeviceTree)}
		for _, r := range o.Base.DeviceTrees {
			got.Trees = append(got.Trees, read(r))
		}
		return got, err
	}
	for _, test := range []struct {
		trees []string
		want  texts
	}{
		{nil, texts{OSRelease: "ID=tiny", Splash: "picture"}},
		{[]string{"usr/lib/one.dtb"}, texts{OSRelease: "ID=tiny", Splash: "picture", Tree: "devicetree"}},
		{[]string{"usr/lib/one.dtb", "usr/lib/two.dtb"}, texts{OSRelease: "ID=tiny", Splash: "picture", Trees: []string{"devicetree", "devicetree"}}},
	} {
		got, err := options(test.trees...)
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%v: %v\n%s", test.trees, err, diff)
		}
	}
	if got, err := options("usr/lib/outside.dtb"); err == nil {
		t.Errorf("a devicetree outside of the tree: %+v", got)
	}
	if err := os.Remove(file("usr/lib/os-release")); err != nil {
		t.Fatal(err)
	}
	if _, err := options(); err == nil || !strings.Contains(err.Error(), "os-release") {
		t.Errorf("without an os-release file: %v", err)
	}
}

// Descriptions of machines are those of the image, or else of this machine.
func TestHardwareIDs(t *testing.T) {
	description := func(name string) string {
		return `{"type": "devicetree", "name": "` + name + `", "compatible": "x", "hwids": ["5dc05bf4-01f6-4089-b464-a08c47ea9295"]}`
	}
	image, machine, none := t.TempDir(), t.TempDir(), t.TempDir()
	plant(t, image, map[string]string{"usr/lib/systemd/boot/hwids/aa64/a.json": description("theirs"), "usr/lib/systemd/boot/hwids/x64/bad.json": "{}"})
	plant(t, machine, map[string]string{"usr/lib/systemd/boot/hwids": "-> /etc/hwids", "etc/hwids/aa64/a.json": description("ours"), "etc/hwids/ia32/a.json": description("ours")})
	for _, test := range []struct{ architecture, want string }{{"aa64", "theirs"}, {"ia32", "ours"}, {"riscv64", ""}} {
		table, err := hardwareIDs(test.architecture, none, image, machine)
		if err != nil || !strings.Contains(string(table), test.want) || (table == nil) != (test.want == "") {
			t.Errorf("%s: %q, %v", test.architecture, table, err)
		}
	}
	if _, err := hardwareIDs("x64", image, machine); err == nil || !strings.Contains(err.Error(), "/usr/lib/systemd/boot/hwids/x64") {
		t.Errorf("a description of nothing: %v", err)
	}
}

// An image goes where links of the tree say, but not out of it, and what lies there is replaced.
func TestCreateUKI(t *testing.T) {
	m := &image{root: t.TempDir(), Image: &config.Image{Format: config.FormatDirectory}}
	plant(t, m.root, map[string]string{
		"boot": "-> /efi", "efi/EFI": "-> ../../../../../var/efi", "var/efi/Linux/a.efi": "-> /old", "old": "old",
		"stub": string(petest.Program(petest.Section{Name: ".text", Text: "code"})),
	})
	file, _, err := m.createUKI(t.Context(), "boot/EFI/Linux/a.efi", ukiParts{stub: filepath.Join(m.root, "stub"), cmdline: []string{"quiet"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(m.root, "var/efi/Linux/a.efi"); file != want {
		t.Errorf("%s was made, not %s", file, want)
	}
	if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), "quiet\x00") {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if b, err := os.ReadFile(filepath.Join(m.root, "old")); err != nil || string(b) != "old" {
		t.Errorf("what a link led to is now %q, %v", b, err)
	}
}

// Devicetrees that are asked for and not there keep an image from being made.
func TestDevicetrees(t *testing.T) {
	m := &image{root: t.TempDir(), Image: &config.Image{}}
	plant(t, m.root, map[string]string{"usr/lib/modules/6/dtb/a.dtb": "a"})
	for patterns, want := range map[string]struct {
		trees int
		err   string
	}{
		"":      {},
		"a.dtb": {trees: 1},
		"b.dtb": {err: "kernel 6 has no devicetree that Devicetrees=b.dtb matches"},
	} {
		m.Devicetrees = strings.Fields(patterns)
		trees, err := m.devicetrees(t.Context(), kernel.Kernel{Version: "6"})
		if len(trees) != want.trees || (err == nil) != (want.err == "") || err != nil && err.Error() != want.err {
			t.Errorf("%q: %v, %v", patterns, trees, err)
		}
	}
}

func TestPCRPolicies(t *testing.T) {
	m := &image{Image: &config.Image{SignExpectedPcr: config.Disabled}}
	if o, err := m.policies(t.Context()); o != nil || err != nil {
		t.Errorf("not asked for: %+v, %v", o, err)
	}
	m.SplitArtifacts = []config.Artifact{config.ArtifactPCRs}
	if _, err := m.policies(t.Context()); !errors.Is(err, errNoPCRCertificate) {
		t.Errorf("without a certificate: %v", err)
	}
}

// What cannot work is said before anything is built.
func TestCheckBoot(t *testing.T) {
	pcrs := []config.Artifact{config.ArtifactPCRs}
	for name, test := range map[string]struct {
		img  config.Image
		want string
	}{
		"nothing":               {config.Image{}, ""},
		"no certificate":        {config.Image{Bootable: config.Enabled, Architecture: config.ArchX86_64, SplitArtifacts: pcrs}, errNoPCRCertificate.Error()},
		"of a UKI":              {config.Image{Format: config.FormatUKI, SplitArtifacts: pcrs}, errNoPCRCertificate.Error()},
		"no UKI":                {config.Image{Bootable: config.Enabled, Bootloader: config.BootloaderNone, UnifiedKernelImages: config.UKINone, SplitArtifacts: pcrs}, ""},
		"perhaps no kernel":     {config.Image{Bootable: config.Auto, SplitArtifacts: pcrs}, ""},
		"no such file":          {config.Image{Format: config.FormatUKI, SplitArtifacts: pcrs, SignExpectedPcrCertificate: "x"}, "SplitArtifacts=pcrs: reading certificate: open x"},
		"not a devicetree":      {config.Image{Devicetrees: []string{"a", "re:("}}, `reading Devicetrees=: "re:(" is not a regular expression`},
		"any other devicetrees": {config.Image{Devicetrees: []string{"a(", "re:a"}}, ""},
		"no firmware":           {config.Image{Architecture: config.ArchS390X, Bootable: config.Enabled}, "there is no UEFI firmware for Architecture=s390x"},
		"a UKI without":         {config.Image{Architecture: config.ArchS390X, Format: config.FormatUKI}, "there is no UEFI firmware for Architecture=s390x"},
		"without, perhaps":      {config.Image{Architecture: config.ArchS390X, Bootable: config.Auto}, ""},
	} {
		var problems []string
		test.img.SignExpectedPcr = config.Disabled
		if test.img.Architecture == "" {
			test.img.Architecture = config.ArchX86_64
		}
		checkBoot(&config.Config{}, &test.img, nil, func(_, format string, args ...any) {
			problems = append(problems, fmt.Errorf(format, args...).Error())
		})
		got := strings.Join(problems, "\n")
		if !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
