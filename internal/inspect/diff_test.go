package inspect

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// folder writes files to a folder of their own.
func folder(t testing.TB, f files) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range f {
		writeFile(t, filepath.Join(dir, name), []byte(text))
	}
	return dir
}

func diff(t testing.TB, a, b *Source, ignore Ignore) *Comparison {
	t.Helper()
	c, err := Diff(t.Context(), a, b, ignore)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDiffFolders(t *testing.T) {
	const status = "Package: %\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n"
	packages := strings.ReplaceAll(status, "%", "a") + strings.ReplaceAll(status, "%", "b") + "Package: x\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n"
	a := folder(t, files{"same": "x", "gone": "x", "changed": "0123456789", "shorter": "0123456789", "kind": "x", "dir/a": "1", "var/lib/dpkg/status": packages})
	packages = strings.ReplaceAll(packages, "Package: b", "Package: c")
	packages = strings.Replace(packages, "Version: 1\n", "Version: 2\n", 1)
	b := folder(t, files{"same": "x", "changed": "01234x6789", "shorter": "01234", "dir/a": "1", "dir/b": "2", "var/lib/dpkg/status": packages})
	if err := errors.Join(os.Symlink("x", filepath.Join(b, "kind")), os.Chmod(filepath.Join(b, "same"), 0o600),
		unix.Setxattr(filepath.Join(b, "dir/a"), "user.x", []byte("y"), 0)); err != nil {
		t.Fatal(err)
	}
	c := diff(t, openPath(t, a), openPath(t, b), Ignore{Mtime: true})
	at := func(n int64) *int64 { return &n }
	want := &TreeDiff{
		Files: []FileDiff{
			{Change: Changed, Path: "/changed", Type: "file", Size: 10, Content: at(5)},
			{Change: Changed, Path: "/dir/a", Type: "file", Size: 1, Fields: []Field{{"user.x", "", "0x79"}}},
			{Change: Added, Path: "/dir/b", Type: "file", Size: 1},
			{Change: Removed, Path: "/gone", Type: "file", Size: 1},
			{Change: Changed, Path: "/kind", Type: "symbolic link", Fields: []Field{{"type", "file", "symbolic link"}}},
			{Change: Changed, Path: "/same", Type: "file", Size: 1, Fields: []Field{{"mode", "0644", "0600"}}},
			{Change: Changed, Path: "/shorter", Type: "file", Size: 5, Fields: []Field{{"size", "10", "5"}}, Content: at(5)},
			{Change: Changed, Path: "/var/lib/dpkg/status", Type: "file", Size: int64(len(packages)), Content: at(69)},
		},
		Packages: []PackageDiff{{Changed, "a:amd64", "1", "2"}, {Removed, "b:amd64", "1", ""}, {Added, "c:amd64", "", "1"}},
	}
	if d := cmp.Diff(want, c.Tree); d != "" || c.Equal {
		t.Errorf("folders (-want +got):\n%s", d)
	}
	c = diff(t, openPath(t, a), openPath(t, a), Ignore{})
	if !c.Equal || c.Tree != nil {
		t.Errorf("a folder and itself: %+v", c)
	}
}

func TestDiffDisks(t *testing.T) {
	p := newPair(t, "signer")
	a := signed(t, p, testFiles())
	if c := diff(t, open(t, "a", a), open(t, "b", a), Ignore{}); !c.Equal {
		t.Errorf("the same disk: %+v", c)
	}
	changed := testFiles()
	changed["usr/large"] = strings.Repeat("0123456789abcdef", 19999) + "0123456789abcdeX"
	changed["usr/new"] = ""
	c := diff(t, open(t, "a", a), open(t, "b", signed(t, p, changed)), Ignore{})
	if c.Equal || len(c.Fields) > 0 {
		t.Errorf("%+v", c)
	}
	var names []string
	for _, part := range c.Partitions {
		for _, f := range part.Fields {
			names = append(names, part.Label+": "+f.Name)
		}
		if part.Tree != nil && part.A == 2 {
			for _, f := range part.Tree.Files {
				names = append(names, string(f.Change)+" "+f.Path)
			}
		}
	}
	for _, want := range []string{"root: UUID", "changed /usr/large", "added /usr/new", "hashes: UUID", "hashes: root hash", "signature: signed root hash"} {
		if !slices.Contains(names, want) {
			t.Errorf("%q is not among %q", want, names)
		}
	}
	// Another signature and the same files.
	c = diff(t, open(t, "a", a), open(t, "b", signed(t, newPair(t, "other"), testFiles())), Ignore{UUID: true})
	if len(c.Partitions) != 1 || c.Partitions[0].A != 1 || c.Partitions[0].Tree.Files[0].Path != "/EFI/Linux/a.efi" {
		t.Errorf("signed by another: %+v", c)
	}
}

func TestDiffPartitions(t *testing.T) {
	data := vfat(t, testFiles(), 1<<20)
	one := part{"root", "one", "7c1f6b43-22f4-4a0f-8f4b-16e9b1c4a0e1", data, 0}
	two := part{"root", "two", "5f2a5f4e-02d2-4bd8-a0a5-2e2f8a6c9a10", data, 0}
	home := part{"home", "home", "2b6c3d54-71ab-4d5b-8a53-0a8c4d40bf5f", data, 0}
	renamed := two
	renamed.label = "three"
	c := diff(t, open(t, "a", disk(t, one, two)), open(t, "b", disk(t, renamed, one, home)), Ignore{Layout: true})
	want := []PartitionDiff{
		{Change: Changed, A: 2, B: 1, Type: "root-x86-64", Label: "three", Fields: []Field{{"label", "two", "three"}}},
		{Change: Added, B: 3, Type: "home", Label: "home"},
	}
	if d := cmp.Diff(want, c.Partitions); d != "" {
		t.Errorf("partitions (-want +got):\n%s", d)
	}
}

func TestDiffDiskWithFolder(t *testing.T) {
	dir := folder(t, testFiles())
	image := open(t, "image", disk(t, part{"root", "root", "7c1f6b43-22f4-4a0f-8f4b-16e9b1c4a0e1", vfat(t, testFiles(), 1<<20), 0}))
	c := diff(t, image, openPath(t, dir), Ignore{Mtime: true, Mode: true, Owner: true})
	if !c.Equal {
		t.Errorf("%+v", c.Tree)
	}
	writeFile(t, filepath.Join(dir, "opt/y"), nil)
	c = diff(t, image, openPath(t, dir), Ignore{Mtime: true, Mode: true, Owner: true})
	if c.Equal || len(c.Tree.Files) != 1 || c.Tree.Files[0].Path != "/opt/y" {
		t.Errorf("%+v", c.Tree)
	}
}

func TestPackages(t *testing.T) {
	tree := files{
		"var/lib/dpkg/status.d/base":            "Package: base\nVersion: 1.2\nArchitecture: all\n",
		"var/lib/dpkg/status.d/base.md5sums":    "Package: no\nVersion: 1\n",
		"var/lib/pacman/local/acl-2.3-1/desc":   "%NAME%\nacl\n\n%VERSION%\n2.3-1\n",
		"var/lib/pacman/local/acl-2.3-1/files":  "%FILES%\n",
		"lib/apk/db/installed":                  "C:x\nP:musl\nV:1.2.5-r0\nA:x86_64\n\nP:zlib\nV:1.3-r2\n",
		"var/lib/pacman/local/broken/desc":      "%NAME%",
		"var/lib/pacman/local/ALPM_DB_VERSION":  "9\n",
		"var/lib/pacman/local/nothing-at/descx": "",
	}.tree(t)
	got, err := newIndex(tree).packages()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"base:all": "1.2", "acl": "2.3-1", "musl": "1.2.5-r0", "zlib": "1.3-r2"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("packages (-want +got):\n%s", d)
	}
}
