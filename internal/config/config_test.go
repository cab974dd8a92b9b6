package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// tutorial is the tree that the tests of this file look at.
const tutorial = `-- mkosi.conf --
[Distribution]
Distribution=debian
Release=trixie
[Output]
Format=cpio
Output=initrd
[Content]
MakeInitrd=yes
BaseTrees=%O/base
RootPassword=hunter2
-- mkosi.output/x --
-- mkosi.images/base/mkosi.conf --
[Output]
Format=directory
[Content]
CleanPackageMetadata=no
Packages=systemd
         udev
-- mkosi.images/btrfs/mkosi.conf --
[Config]
Dependencies=base
[Output]
Format=sysext
Overlay=yes
ImageVersion=2
[Content]
BaseTrees=%O/base
Packages=btrfs-progs
`

func loadTutorial(t *testing.T, args ...string) (c *Config, dir string) {
	t.Helper()
	dir, _ = extract(t, txtar.Parse([]byte(tutorial)))
	c, err := load(t, dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	return c, dir
}

func TestOutputNames(t *testing.T) {
	c, dir := loadTutorial(t)
	type names struct{ Output, Path, Link string }
	got := map[string]names{}
	for _, img := range c.Images {
		got[img.Image] = names{img.OutputName(), strings.TrimPrefix(img.OutputPath(c.Dir), dir), img.SymlinkName()}
	}
	want := map[string]names{
		"base":  {"base", "/mkosi.output/base", ""},
		"btrfs": {"btrfs_2.raw", "/mkosi.output/btrfs_2.raw", "btrfs_2"},
		"main":  {"initrd.cpio.zst", "/mkosi.output/initrd.cpio.zst", "initrd"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	img := &Image{Format: FormatUKI, Output: "x", OutputExtension: "efi", CompressOutput: CompressionZstd}
	if got := img.OutputName(); got != "x.efi" {
		t.Errorf("got %s: compression is within a unified kernel image, not around it", got)
	}
	img = c.Image("btrfs")
	if got, want := img.ExpandKey("&d~&r~&a~&I~&v&&&i&x"), "debian~trixie~x86-64~btrfs~2&"; got != want {
		t.Errorf("got key %s, want %s", got, want)
	}
}

func TestTextsHideSecrets(t *testing.T) {
	c, dir := loadTutorial(t)
	images, err := Texts(c)
	if err != nil {
		t.Fatal(err)
	}
	main := images[len(images)-1]
	_, text, _ := strings.Cut(tutorial, "-- mkosi.conf --\n")
	text, _, _ = strings.Cut(text, "-- ")
	want := ImageTexts{"main", []FileText{{dir + "/mkosi.conf", strings.Replace(text, "hunter2", "(hidden)", 1)}}}
	if diff := cmp.Diff(want, main); diff != "" {
		t.Error(diff)
	}
	got := hideSecrets([]byte("[Runtime]\nCredentials=a=1\n  b=2\n\n# comment\n\tc=3\nRAM=4G\n  5G\nCredentials="))
	if want := "[Runtime]\nCredentials=(hidden)\n\n# comment\nRAM=4G\n  5G\nCredentials="; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUnsupported(t *testing.T) {
	c, _ := loadTutorial(t)
	for _, img := range c.Images {
		if u := Unsupported(img); len(u) > 0 {
			t.Errorf("%s of the tutorial: %v", img.Image, u)
		}
	}
	for _, tc := range []struct{ conf, setting string }{
		{"[Output]\nFormat=oci", "Format"},
		{"[Output]\nFormat=tar\nCompressOutput=lz4", "CompressOutput"},
		{"[Output]\nSplitArtifacts=partitions,tar\nCompressOutput=xz\nOutputSize=1G\nElTorito=yes", ""},
		{"[Build]\nRepartOffline=no", ""},
		{"[Distribution]\nDistribution=fedora", "Distribution"},
		{"[Distribution]\nArchitecture=arm64", "Architecture"},
		{"[Content]\nBuildScripts=file", ""},
		{"[Content]\nBootable=yes\nInitrds=", ""},
		{"[Content]\nKernelCommandLine=quiet", ""},
		{"[Content]\nKernelModulesInclude=x", ""},
		{"[Include]\nInclude=mkosi-vm", ""},
		{"[Build]\nToolsTree=yes", "ToolsTree"},
		{"[Validation]\nSecureBoot=yes", ""},
		{"[Content]\nBootable=no\nSsh=never", ""},
		{"[Output]\nSplitArtifacts=uki,kernel,initrd", ""},
		{"[Validation]\nSecureBoot=no\nSecureBootKey=x", ""},
		{"[Runtime]\nRAM=4G", ""},
		{"[Build]\nToolsTree=no\nIncremental=yes", ""},
	} {
		dir := t.TempDir()
		for name, data := range map[string]string{"mkosi.conf": tc.conf, "file": ""} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		c, err := load(t, dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, u := range Unsupported(c.Main()) {
			got = append(got, u.Setting)
		}
		if strings.Join(got, " ") != tc.setting {
			t.Errorf("%q: got %q, want %q", tc.conf, got, tc.setting)
		}
	}
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	c, err := load(t, dir, "-ff", "summary", "--json", "--debug", "-C", ".", "--genkey-common-name=x y", "--checksum", "no", "-aT", "-i", "-dfedora", "-t", "tar")
	if err != nil {
		t.Fatal(err)
	}
	o := c.Options
	if o.Force != 2 || !o.JSON || !o.Debug || o.GenkeyCommonName != "x y" || o.GenkeyValidDays != 730 || c.Verb != VerbSummary {
		t.Errorf("options %+v, verb %s", o, c.Verb)
	}
	img := c.Main()
	if img.Checksum || !img.Autologin || img.WithTests || img.Incremental != IncrementalYes || img.Distribution != Fedora || img.Format != FormatTar {
		t.Errorf("settings did not arrive: %+v", img)
	}
	c, err = load(t, dir, "-f", "shell", "--", "ls", "-l", "--json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ls", "-l", "--json"}, c.VerbArgs); diff != "" || c.Verb != VerbShell || c.Options.JSON {
		t.Error(diff, c.Verb)
	}
	for _, args := range [][]string{{"--genkey-valid-days", "0"}, {"--genkey-valid-days", "x"}, {"summary", "more"}, {"-x"}, {"--doc-format", "x"}, {"--package"}} {
		var e *Error
		if _, err := load(t, dir, args...); !errors.As(err, &e) {
			t.Errorf("%q: got %v", args, err)
		}
	}
	c, err = load(t, dir, "genkey", "--package", "x")
	if err != nil || len(c.Images) != 0 {
		t.Errorf("genkey reads a configuration: %v, %v", c.Images, err)
	}
}

func TestReadEnvironment(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "env")
	if err := os.WriteFile(path, []byte("A=1\nB=\"x y\"\n# c\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	img := &Image{EnvironmentFiles: []string{path}, Environment: map[string]string{"A": "2"}}
	got, err := img.ReadEnvironment()
	if diff := cmp.Diff(map[string]string{"A": "2", "B": "x y"}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	img.EnvironmentFiles = []string{path + "absent"}
	if _, err := img.ReadEnvironment(); err == nil {
		t.Error("a missing file is no error")
	}
}

func TestCommitsAreNotChecked(t *testing.T) {
	dir := t.TempDir()
	conf := "[Config]\nMinimumVersion=commit:abc\nMinimumVersion=26\n"
	if err := os.WriteFile(filepath.Join(dir, "mkosi.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, dir, "summary")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Msg, "commit:abc is not checked") || c.Main().MinimumVersion != "26" {
		t.Errorf("warnings %v, version %q", c.Warnings, c.Main().MinimumVersion)
	}
}

func TestEpochOfTheEnvironment(t *testing.T) {
	for text, want := range map[string]string{"": "", "7": "", "x": "not a whole number", "-7": "before 1970"} {
		h := testHost()
		h.Environment = map[string]string{"SOURCE_DATE_EPOCH": text}
		_, err := Load(t.Context(), LoadOptions{Args: []string{"summary"}, Dir: t.TempDir(), Host: h})
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestRandomMachineID(t *testing.T) {
	dir := t.TempDir()
	c, err := load(t, dir, "summary", "--machine-id=random")
	if err != nil {
		t.Fatal(err)
	}
	if id := c.Main().MachineId; id == nil || *id == c.Main().Seed {
		t.Errorf("machine ID %v, seed %v", id, c.Main().Seed)
	}
}

func TestWarnings(t *testing.T) {
	dir := t.TempDir()
	conf := "[Runtime]\nQemuMem=1G\nPackages=a\n[Content]\nHostname=%i%x\n"
	if err := os.WriteFile(filepath.Join(dir, "mkosi.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, dir, "--cache-dir", "x")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range c.Warnings {
		got = append(got, strings.TrimPrefix(w.Error(), dir+"/"))
	}
	want := []string{
		"--cache-dir is the old name of --cache-directory",
		"mkosi.conf:2:1: QemuMem is the old name of RAM",
		"mkosi.conf:3:1: Packages belongs into [Content], not [Runtime]",
		"mkosi.conf:5:10: Hostname: specifier %i has no value here: ImageId is not set yet",
		"mkosi.conf:5:12: Hostname: specifier %x does not exist",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAppendJSON(t *testing.T) {
	for _, v := range []any{
		nil, true, 7, int64(1 << 60), "", "plain", "<&>\"\\\n\t\x7fäあ\xff\u2028", []any{}, map[string]any{}, []any(nil), []string{"a"},
		map[string]string{"b": "1", "a": "2"}, Feature("auto"), (*int)(nil),
		map[string]any{"é": []any{1, "x", map[string]any{"y": nil}}, "a<": []any{[]any{}}},
	} {
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		e.SetIndent("    ", "    ")
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
		got, err := appendJSON(nil, v, 1)
		if diff := cmp.Diff(strings.TrimSuffix(want.String(), "\n"), string(got)); err != nil || diff != "" {
			t.Errorf("%#v: %v %s", v, err, diff)
		}
	}
}
