//go:build integration

package test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/erofs"
)

// erofsTree is diskTree with some content that compresses like what images
// hold, twice.
func erofsTree(t *testing.T) string {
	t.Helper()
	root := diskTree(t)
	from := referenceRoot()
	for _, name := range []string{"usr/bin/dump.erofs", "usr/lib/systemd/system"} {
		for _, to := range []string{"opt/first", "opt/second"} {
			to = filepath.Join(root, to, name)
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				t.Fatal(err)
			}
			must(t, exec.Command("cp", "-a", filepath.Join(from, name), to))
		}
	}
	backdate(t, root)
	return root
}

// backdate makes what was just made a day older: of files from the very second in which it runs, mkfs.erofs drops the
// nanoseconds.
func backdate(t *testing.T, root string) {
	t.Helper()
	day := time.Now().Add(-24 * time.Hour)
	// What is in a folder comes after it in the walk, and does not change its time.
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil || fi.ModTime().Before(day) {
			return err
		}
		when, err := unix.TimeToTimespec(fi.ModTime().Add(-24 * time.Hour))
		return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// referenceRoot is where the reference is.
func referenceRoot() string {
	if root := os.Getenv("MKOSI_REFERENCE_ROOT"); root != "" {
		return root
	}
	return "/var/tmp/mkosi-reference"
}

// contentTree reads a whole folder.
func contentTree(t *testing.T, root string) content.Tree {
	t.Helper()
	tree, closeTree, err := content.Read(t.Context(), content.Selection{Root: root, Copies: []content.Copy{{Source: "/", Target: "/"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := closeTree(); err != nil {
			t.Error(err)
		}
	})
	return tree
}

// erofsTools runs commands of the reference root in dir, side by side.
func erofsTools(t *testing.T, dir string, commands []string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "commands"), []byte(strings.Join(commands, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, reference(dir, "xargs", "-a", "commands", "-d", "\\n", "-n", "1", "-P", fmt.Sprint(runtime.NumCPU()), "bash", "-c"))
}

// describedEntry is an entry with what it holds instead of a way to read it.
type describedEntry struct {
	content.Entry
	Content string
}

// describeTree reads all that is in a tree.
func describeTree(t *testing.T, tree content.Tree) []describedEntry {
	t.Helper()
	var out []describedEntry
	for _, e := range tree {
		d := describedEntry{Entry: e}
		if e.Open != nil && !e.HardLink {
			r, err := e.Open()
			if err != nil {
				t.Fatalf("/%s: %v", e.Path, err)
			}
			h := sha256.New()
			n, err := io.Copy(h, r)
			if err != nil {
				t.Fatalf("/%s: %v", e.Path, err)
			}
			if err := r.Close(); err != nil {
				t.Fatalf("/%s: %v", e.Path, err)
			}
			d.Content = fmt.Sprintf("%d bytes %x", n, h.Sum(nil))
		}
		out = append(out, d)
	}
	return out
}

// compareEntries compares two trees with all that is in them.
func compareEntries(t *testing.T, want []describedEntry, got content.Tree) {
	t.Helper()
	if diff := cmp.Diff(want, describeTree(t, got), cmpopts.IgnoreFields(content.Entry{}, "Open"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("trees differ (-want +got):\n%.4000s", diff)
	}
}

// openErofs reads the tree of an image.
func openErofs(t *testing.T, path string) (content.Tree, error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return erofs.Read(t.Context(), f, st.Size())
}

// What mkfs.erofs writes is read back, whatever it was told.
func TestErofsReadMkfs(t *testing.T) {
	root := erofsTree(t)
	dir := filepath.Dir(root)
	want := describeTree(t, contentTree(t, root))
	options := []string{
		"", "-E^inline_data", "-Enosbcrc", "-x0", "-x1000", "-x1", "-Exattr-name-filter", "-b1024", "-b512 -zlz4",
		"--xattr-prefix=trusted.no --xattr-prefix=user.", "--xattr-prefix=trusted.no -zzstd -Efragments",
		"--xattr-prefix=security. -zlz4 -Efragments,plain-xattr-prefixes",
		"--chunksize=4096", "--chunksize=65536 -Eforce-inode-blockmap", "--chunksize=16384 -Eforce-chunk-indexes",
		"-zlz4", "-zlz4 -Elegacy-compress", "-zlz4 -C65536", "-zlz4 -C65536 -Elegacy-compress", "-zlz4hc,12 -C1048576",
		"-zlz4 --max-extent-bytes=8192", "-zlz4 --zD", "-zzstd --zD -Efragments", "-zlz4:zstd",
		"-zzstd", "-zzstd,level=9 -C131072", "-zdeflate", "-zdeflate -C65536 -Eall-fragments", "-zlibdeflate -C65536",
		"-zlzma,level=0", "-zlzma,level=0 -C65536 -Eall-fragments,dedupe",
	}
	for _, extended := range []string{
		"ztailpacking", "fragments", "fragments,dedupe", "all-fragments", "all-fragments,fragdedupe=inode", "dedupe",
		"ztailpacking,fragments", "ztailpacking,fragments,dedupe", "legacy-compress,fragments", "legacy-compress,ztailpacking",
	} {
		options = append(options, "-zlz4 -E"+extended, "-zzstd -C65536 -E"+extended)
	}
	var commands []string
	for i, o := range options {
		commands = append(commands, fmt.Sprintf("mkfs.erofs --quiet %s %d.erofs root", o, i))
	}
	commands = append(commands, "mkfs.erofs --quiet -zzstd -E48bit wide.erofs root", "mkfs.erofs --quiet -zzstd -m4096 box.erofs root")
	erofsTools(t, dir, commands)
	for i, o := range options {
		t.Run(o, func(t *testing.T) {
			tree, err := openErofs(t, filepath.Join(dir, fmt.Sprint(i, ".erofs")))
			if err != nil {
				t.Fatal(err)
			}
			compareEntries(t, want, tree)
		})
	}
	for name, feature := range map[string]string{"wide": "48bit", "box": "metabox"} {
		if _, err := openErofs(t, filepath.Join(dir, name+".erofs")); err == nil || !strings.Contains(err.Error(), feature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// writeErofs writes an image of a tree.
func writeErofs(t *testing.T, root, path string, o erofs.Options) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o.TempDir = filepath.Dir(path)
	im, err := erofs.Plan(t.Context(), contentTree(t, root), o)
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	if err := f.Truncate(im.Size()); err != nil {
		t.Fatal(err)
	}
	if err := im.Write(t.Context(), f, 0); err != nil {
		t.Fatal(err)
	}
}

// Compressed images are good for fsck.erofs and for the kernel, which has all
// algorithms.
func TestErofsCompressed(t *testing.T) {
	root := erofsTree(t)
	dir := filepath.Dir(root)
	images := map[string]erofs.Options{
		"plain":     {},
		"lz4":       {Compression: erofs.LZ4},
		"lz4-packs": {Compression: erofs.LZ4, Fragments: true, ChunkSize: 1 << 20},
		"lz4-small": {Compression: erofs.LZ4, ChunkSize: 16 << 10},
		"zstd":      {Compression: erofs.Zstd},
		"zstd-1":    {Compression: erofs.Zstd, Level: 1, ChunkSize: 20 << 10},
		"zstd-9":    {Compression: erofs.Zstd, Level: 9, ChunkSize: 1 << 20},
		"zstd-22":   {Compression: erofs.Zstd, Level: 22, ChunkSize: 64 << 10},
	}
	want := describeTree(t, contentTree(t, root))
	var checks []string
	for name, o := range images {
		writeErofs(t, root, filepath.Join(dir, name+".erofs"), o)
		checks = append(checks, "fsck.erofs --extract "+name+".erofs")
	}
	erofsTools(t, dir, checks)
	for name := range images {
		image := filepath.Join(dir, name+".erofs")
		diskCompare(t, root, mountPartition(t, image, 0))
		tree, err := openErofs(t, image)
		if err != nil {
			t.Fatal(err)
		}
		compareEntries(t, want, tree)
	}
}

// Images of real files are no larger than those of mkfs.erofs, called as
// systemd-repart calls it.
func TestErofsSizes(t *testing.T) {
	root, dir := filepath.Join(referenceRoot(), "usr"), t.TempDir()
	for _, name := range []string{"bin", "lib/systemd", "lib/python3", "share/bash-completion", "share/man"} {
		to := filepath.Join(dir, "root", name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		must(t, exec.Command("cp", "-a", filepath.Join(root, name), to))
	}
	var commands []string
	for _, c := range []erofs.Compression{erofs.Uncompressed, erofs.LZ4, erofs.Zstd} {
		writeErofs(t, filepath.Join(dir, "root"), filepath.Join(dir, "ours"+string(c)), erofs.Options{Compression: c})
		z := ""
		if c != erofs.Uncompressed {
			z = "-z" + string(c)
		}
		commands = append(commands, fmt.Sprintf("fsck.erofs --extract ours%s", c), fmt.Sprintf("mkfs.erofs --quiet %s theirs%s root", z, c))
	}
	erofsTools(t, dir, commands)
	size := func(name string) int64 {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	for _, c := range []string{"", "lz4", "zstd"} {
		ours, theirs := size("ours"+c), size("theirs"+c)
		t.Logf("compression %q: %d bytes, mkfs.erofs %d", c, ours, theirs)
		if ours > theirs+theirs/100 {
			t.Errorf("compression %q: %d bytes, mkfs.erofs %d", c, ours, theirs)
		}
		diskCompare(t, filepath.Join(dir, "root"), mountPartition(t, filepath.Join(dir, "ours"+c), 0))
	}
}

// What the superblock says is what dump.erofs says.
func TestErofsInfo(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "root"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeErofs(t, filepath.Join(dir, "root"), filepath.Join(dir, "image"), erofs.Options{
		UUID: diskSeed, Label: "a label", BuildTime: 1700000000, Compression: erofs.Zstd,
	})
	b, err := os.ReadFile(filepath.Join(dir, "image"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := erofs.ReadInfo(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	want := &erofs.Info{
		UUID: diskSeed, Label: "a label", BlockSize: 4096, Size: int64(len(b)), Inodes: 1, BuildTime: 1700000000,
		Features:   []string{"sb_csum", "mtime", "lz4_0padding", "compr_cfgs"},
		Algorithms: []string{"zstd"}, Checksum: erofs.ChecksumGood,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("info (-want +got):\n%s", diff)
	}
	out := must(t, reference(dir, "dump.erofs", "-s", "image"))
	for _, line := range []string{diskSeed.String(), "zstd", "lz4_0padding compr_cfgs", "sb_csum mtime"} {
		if !strings.Contains(out, line) {
			t.Errorf("dump.erofs does not say %q:\n%s", line, out)
		}
	}
}
