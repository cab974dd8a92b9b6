//go:build integration

package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/mkfs"
	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// runInReference runs programs of the reference root, with dir at the same path.
func runInReference(dir string) program.RunFunc {
	return func(ctx context.Context, c program.Command) error {
		cmd := reference(dir, slices.Concat([]string{"env"}, c.Env, c.Args)...)
		var said strings.Builder
		cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, &said
		if c.Stdout == nil {
			cmd.Stdout = &said
		}
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w\n%s", c.Args[0], err, said.String())
		}
		return ctx.Err()
	}
}

const (
	mkfsOffset = 1 << 20
	mkfsBuilt  = 5000000000
)

// mkfsImage makes an image with one file system in it, as large as it has to
// be or at least room bytes, and says how large it became.
func mkfsImage(t *testing.T, image string, tree content.Tree, room int64, o mkfs.Options) int64 {
	t.Helper()
	o.UUID, o.BuildTime, o.Dir = diskSeed, mkfsBuilt, filepath.Dir(image)
	if o.Run == nil {
		o.Run = runInReference(o.Dir)
	}
	if o.Label == "" {
		o.Label = "a-label"
	}
	im, err := mkfs.Plan(t.Context(), tree, o)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	size := max(im.Size(), room)
	err = errors.Join(f.Truncate(mkfsOffset+size+mkfsOffset), im.Write(t.Context(), f, mkfsOffset, size), im.Close(), f.Close())
	if err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(o.Dir, "mkfs-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return size
}

// mkfsTree reads a folder, without what a file system cannot have.
func mkfsTree(t *testing.T, root string, without ...string) content.Tree {
	t.Helper()
	for _, path := range without {
		if err := os.RemoveAll(filepath.Join(root, path)); err != nil {
			t.Fatal(err)
		}
	}
	tree, closeTree, err := content.Read(t.Context(), content.Selection{Root: root, Copies: []content.Copy{{Source: "/", Target: "/"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeTree() })
	return tree
}

// mkfsFile copies the file system out of an image, for its checker.
func mkfsFile(t *testing.T, image string, size int64) string {
	t.Helper()
	file := image + ".fs"
	must(t, exec.Command("dd", "if="+image, "of="+file, "bs=1M", "conv=sparse", "status=none", "iflag=skip_bytes,count_bytes",
		fmt.Sprintf("skip=%d", mkfsOffset), fmt.Sprintf("count=%d", size)))
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	return file
}

// mkfsSource is diskTree with what else some file systems find hard, and times
// that every file system can have.
func mkfsSource(t *testing.T) string {
	t.Helper()
	root := diskTree(t)
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(root, "usr/sparse"))
	do(err)
	_, err = f.WriteAt([]byte("in the middle"), 20<<20)
	do(errors.Join(err, f.Truncate(40<<20+1), f.Close()))
	do(os.Chmod(root, 0o751))
	do(os.Lchown(root, 5, 70000))
	do(unix.Lsetxattr(root, "user.validatefs.gpt_label", []byte("a-label\x00"), 0))
	do(os.Mkdir(filepath.Join(root, strings.Repeat("n", 255)), 0o700))
	return root
}

// mkfsIsSparse makes sure that the kernel sees the hole.
func mkfsIsSparse(t *testing.T, mount string) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(mount, "usr/sparse"), &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != 40<<20+1 || st.Blocks*512 > 1<<20 {
		t.Errorf("the sparse file has %d bytes, %d of them stored", st.Size, st.Blocks*512)
	}
}

func TestMkfsBtrfs(t *testing.T) {
	root := mkfsSource(t)
	dir := filepath.Dir(root)
	image := filepath.Join(dir, "image")
	size := mkfsImage(t, image, mkfsTree(t, root), 300<<20, mkfs.Options{Format: repart.FormatBtrfs})
	must(t, reference(dir, "btrfs", "check", mkfsFile(t, image, size)))
	mount := mountPartition(t, image, mkfsOffset)
	diskCompare(t, root, mount)
	mkfsIsSparse(t, mount)
}

func TestMkfsXFS(t *testing.T) {
	root := mkfsSource(t)
	dir := filepath.Dir(root)
	image := filepath.Join(dir, "image")
	if err := unix.Lremovexattr(filepath.Join(root, "usr/share"), "user.empty"); err != nil {
		t.Fatal(err)
	}
	// Access lists are shown to mkfs.xfs as attributes that only some see.
	trusted := false
	o := mkfs.Options{Format: repart.FormatXFS, Run: func(ctx context.Context, c program.Command) error {
		trusted = trusted || c.TrustedXattrs
		return runInReference(dir)(ctx, c)
	}}
	size := mkfsImage(t, image, mkfsTree(t, root, "opt/char", "opt/block", "opt/long-link"), 0, o)
	if !trusted {
		t.Error("mkfs.xfs is run as if there were no attributes in trusted")
	}
	must(t, reference(dir, "xfs_repair", "-n", mkfsFile(t, image, size)))
	mount := mountPartition(t, image, mkfsOffset)
	// The first has an attribute of mkfs.xfs's own; the kernel shows the access
	// list of the second as such and as the attribute that it is stored in.
	diskCompare(t, root, mount, ".", "opt/a")
	mkfsIsSparse(t, mount)
	acl := exec.Command("getfacl", "-n", "-p", "--omit-header", "opt/a")
	acl.Dir = mount
	same := exec.Command("getfacl", "-n", "-p", "--omit-header", "opt/a")
	same.Dir = root
	if diff := cmp.Diff(must(t, same), must(t, acl)); diff != "" {
		t.Errorf("access list (-tree +image):\n%s", diff)
	}
}

func TestMkfsErofs(t *testing.T) {
	root := mkfsSource(t)
	dir := filepath.Dir(root)
	image := filepath.Join(dir, "image")
	// mkfs.erofs takes a time before 1970 for one in the future.
	must(t, exec.Command("touch", "-d", "@123.456", filepath.Join(root, "usr/share/size-0")))
	size := mkfsImage(t, image, mkfsTree(t, root), 0, mkfs.Options{Format: repart.FormatErofs, Compression: "lzma", CompressionLevel: "3"})
	must(t, reference(dir, "fsck.erofs", mkfsFile(t, image, size)))
	mount := mountPartition(t, image, mkfsOffset)
	diskCompare(t, root, mount)
}

func TestMkfsSquashfs(t *testing.T) {
	root := mkfsSource(t)
	dir := filepath.Dir(root)
	image := filepath.Join(dir, "image")
	// What the format does not have.
	must(t, exec.Command("setfacl", "-b", filepath.Join(root, "opt/a")))
	must(t, exec.Command("find", root, "-exec", "touch", "-h", "-d", "2021-03-04 05:06:07Z", "{}", "+"))
	mkfsImage(t, image, mkfsTree(t, root), 0, mkfs.Options{Format: repart.FormatSquashfs, Compression: "zstd", CompressionLevel: "3"})
	mount := mountPartition(t, image, mkfsOffset)
	diskCompare(t, root, mount)
}

// This kernel has no f2fs, so that programs have to say what is in it.
func TestMkfsF2FS(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(os.MkdirAll(filepath.Join(root, "a/b"), 0o755))
	do(os.WriteFile(filepath.Join(root, "a/file"), []byte(strings.Repeat("text\n", 100000)), 0o640))
	for i := range 1000 {
		do(os.WriteFile(filepath.Join(root, "a/b", fmt.Sprint("file", i)), []byte(strings.Repeat("x", i*10)), 0o644))
	}
	do(os.Link(filepath.Join(root, "a/file"), filepath.Join(root, "a/b/other")))
	do(os.Symlink("file", filepath.Join(root, "a/link")))
	dir := filepath.Dir(root)
	image := filepath.Join(dir, "image")
	tree := mkfsTree(t, root)
	size := mkfsImage(t, image, tree, 0, mkfs.Options{Format: repart.FormatF2FS, Minimize: repart.MinimizeGuess})
	file := mkfsFile(t, image, size)
	out := must(t, reference(dir, "fsck.f2fs", "--dry-run", file))
	if strings.Contains(out, "[Fail]") || !strings.Contains(out, fmt.Sprintf("[0x%x]", len(tree)-1)) {
		t.Errorf("fsck.f2fs does not find %d inodes:\n%s", len(tree)-1, out)
	}
}
