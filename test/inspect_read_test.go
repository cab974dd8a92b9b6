//go:build integration

package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/btrfs"
	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/ext4"
	"github.com/mkosi-go/mkosi/internal/disk/squashfs"
	"github.com/mkosi-go/mkosi/internal/disk/xfs"
)

// readerTree is a folder with everything that the readers of file systems have
// to find, and what is in it.
func readerTree(t *testing.T) (string, content.Tree) {
	t.Helper()
	root := diskTree(t)
	// Blocks of 1 KiB take no longer ones.
	long := filepath.Join(root, "opt/long-link")
	if err := errors.Join(os.Remove(long), os.Symlink("/"+strings.Repeat("long/", 200), long),
		unix.Setxattr(filepath.Join(root, "usr/share/many"), "user.large", bytes.Repeat([]byte("z"), 900), 0)); err != nil {
		t.Fatal(err)
	}
	sparse, err := os.Create(filepath.Join(root, "opt/sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer sparse.Close()
	for _, at := range []int64{1 << 20, 3<<20 + 5, 20 << 20} {
		if _, err := sparse.WriteAt([]byte("in a hole"), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := sparse.Truncate(40 << 20); err != nil {
		t.Fatal(err)
	}
	tree, done, err := content.Read(t.Context(), content.Selection{Root: root, Copies: []content.Copy{{Source: "/", Target: "/"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := done(); err != nil {
			t.Error(err)
		}
	})
	return root, tree
}

// describeEntry writes down all of an entry but what the format does not keep.
func describeEntry(e *content.Entry) string {
	if e.HardLink {
		return "link to " + e.Link
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%o %d:%d %d.%09d", e.Mode, e.UID, e.GID, e.Mtime, e.MtimeNsec)
	fmt.Fprintf(&b, " %d:%d %d %q", e.Major, e.Minor, e.Size, e.Target)
	for _, x := range e.Xattrs {
		fmt.Fprintf(&b, " %s=%x", x.Name, x.Value)
	}
	return b.String()
}

// sameContent compares the content of two files.
func sameContent(t *testing.T, a, b *content.Entry) {
	t.Helper()
	if a.Size == 0 {
		return
	}
	x, err := a.Open()
	if err != nil {
		t.Errorf("/%s: %v", a.Path, err)
		return
	}
	defer x.Close()
	y, err := b.Open()
	if err != nil {
		t.Errorf("/%s: %v", b.Path, err)
		return
	}
	defer y.Close()
	p, q := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := 0; ; at += len(p) {
		n, errA := io.ReadFull(x, p)
		m, errB := io.ReadFull(y, q)
		if !bytes.Equal(p[:n], q[:m]) {
			t.Errorf("/%s differs within the mebibyte at %d: %d and %d bytes, %v, %v", a.Path, at, n, m, errA, errB)
			return
		}
		if errA != nil || errB != nil {
			return
		}
	}
}

// compareRead reports how what a reader found differs from what is there.
// adjust changes an entry of the latter to what the format keeps of it.
func compareRead(t *testing.T, want, got content.Tree, adjust func(e *content.Entry)) {
	t.Helper()
	found := map[string]*content.Entry{}
	for i := range got {
		found[got[i].Path] = &got[i]
	}
	for i := range want {
		w := want[i]
		if adjust != nil {
			adjust(&w)
		}
		g := found[w.Path]
		delete(found, w.Path)
		if g == nil {
			t.Errorf("/%s was not found", w.Path)
			continue
		}
		if a, b := describeEntry(&w), describeEntry(g); a != b {
			t.Errorf("/%s: is\n%.400s, was read as\n%.400s", w.Path, a, b)
		}
		if w.Size > 0 && !w.HardLink {
			sameContent(t, &w, g)
		}
	}
	for path, e := range found {
		t.Errorf("/%s is not in the tree: %s", path, describeEntry(e))
	}
}

type readFunc func(ctx context.Context, r io.ReaderAt, size int64) (content.Tree, error)

// readImage reads the whole of a file as a file system.
func readImage(t *testing.T, path string, read readFunc) content.Tree {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := read(t.Context(), f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// without drops a folder and what is in it.
func without(tree content.Tree, dir string) content.Tree {
	var out content.Tree
	for _, e := range tree {
		if e.Path != dir && !strings.HasPrefix(e.Path, dir+"/") {
			out = append(out, e)
		}
	}
	return out
}

// kernelCopy fills an empty file system with a tree through the kernel.
func kernelCopy(t *testing.T, image, root string, options ...string) {
	t.Helper()
	dir := t.TempDir()
	must(t, exec.Command("mount", "-o", strings.Join(append(options, "loop"), ","), image, dir))
	copied := run(t, exec.Command("cp", "-a", root+"/.", dir))
	must(t, exec.Command("umount", dir))
	if copied.code != 0 {
		t.Fatal(copied.stderr)
	}
}

func TestReadExt4(t *testing.T) {
	root, want := readerTree(t)
	for name, args := range map[string][]string{
		"ext4":        {"-t", "ext4", "-b", "4096"},
		"ext4-inline": {"-t", "ext4", "-b", "1024", "-O", "inline_data,ea_inode,metadata_csum"},
		"kernel":      {"-t", "ext4", "-b", "1024"},
		"ext2":        {"-t", "ext2", "-b", "1024", "-I", "256", "-O", "^dir_index"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Dir(root)
			image := filepath.Join(dir, name)
			made := append([]string{"mke2fs", "-q", "-L", "some label"}, args...)
			if name == "kernel" {
				must(t, reference(dir, append(made, image, "128M")...))
				kernelCopy(t, image, root)
			} else {
				must(t, reference(dir, append(made, "-d", root, image, "128M")...))
			}
			got, want := without(readImage(t, image, ext4.Read), "lost+found"), want
			if name == "ext4-inline" { // mke2fs 1.47 then cuts off a hole at the end
				got, want = without(got, "opt/sparse"), without(want, "opt/sparse")
			}
			compareRead(t, want, got, func(e *content.Entry) {
				// mke2fs drops nanoseconds, and gives the top the time of now.
				if name != "kernel" {
					e.MtimeNsec = 0
				}
				if name != "kernel" && e.Path == "" {
					e.Mtime = got[0].Mtime
				}
			})
		})
	}
}

func TestReadSquashfs(t *testing.T) {
	root, want := readerTree(t)
	for name, args := range map[string][]string{
		"gzip": {"-comp", "gzip", "-b", "16K"},
		"xz":   {"-comp", "xz", "-Xbcj", "x86"},
		"zstd": {"-comp", "zstd", "-b", "1M", "-always-use-fragments"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Dir(root)
			image := filepath.Join(dir, name)
			must(t, reference(dir, append([]string{"mksquashfs", root, image, "-no-progress", "-quiet", "-xattrs"}, args...)...))
			compareRead(t, want, readImage(t, image, squashfs.Read), func(e *content.Entry) {
				e.MtimeNsec = 0
				e.Mtime = max(e.Mtime, 0) // 1965 is stored as 1970
				e.Xattrs = slices.DeleteFunc(slices.Clone(e.Xattrs), func(x content.Xattr) bool { return strings.HasPrefix(x.Name, "system.") })
			})
		})
	}
}

func TestReadXFS(t *testing.T) {
	root, want := readerTree(t)
	dir := filepath.Dir(root)
	for name, args := range map[string][]string{
		"old": {"-b", "size=1024", "-n", "size=8192,parent=0", "-m", "bigtime=0,autofsck=0", "-i", "exchange=0,nrext64=0"},
		"new": {"-n", "parent=0", "-m", "autofsck=0", "-i", "exchange=0"},
	} {
		t.Run(name, func(t *testing.T) {
			image := filepath.Join(dir, name)
			emptyImage(t, image, 320<<20)
			must(t, reference(dir, append(append([]string{"mkfs.xfs", "-q"}, args...), image)...))
			kernelCopy(t, image, root)
			got := readImage(t, image, xfs.Read)
			got[0].Xattrs = nil // mkfs.xfs adds its own
			compareRead(t, want, got, nil)
		})
	}
}

func TestReadBtrfs(t *testing.T) {
	root, want := readerTree(t)
	dir := filepath.Dir(root)
	for _, compression := range []string{"lzo", "zstd:3"} {
		t.Run(compression, func(t *testing.T) {
			image := filepath.Join(dir, compression)
			emptyImage(t, image, 256<<20)
			must(t, reference(dir, "mkfs.btrfs", "-q", image))
			kernelCopy(t, image, root, "compress-force="+compression)
			compareRead(t, want, readImage(t, image, btrfs.Read), nil)
		})
	}
}

func emptyImage(t *testing.T, path string, size int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
}
