//go:build integration

package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/mkfs"
	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/tree"
)

func TestMkfsBtrfsSubvolumes(t *testing.T) {
	root := mkfsSource(t)
	dir := filepath.Dir(root)
	image := filepath.Join(dir, "image")
	size := mkfsImage(t, image, mkfsTree(t, root), 0, mkfs.Options{
		Format: repart.FormatBtrfs, Minimize: repart.MinimizeBest, Compression: "zstd", CompressionLevel: "3",
		Subvolumes: []repart.Subvolume{
			{Path: "/usr"}, {Path: "/usr/share/many", ReadOnly: true}, {Path: "/opt", NoDataCow: true}, {Path: "/new/home"},
		},
		DefaultSubvolume: "/usr",
	})
	must(t, reference(dir, "btrfs", "check", mkfsFile(t, image, size)))
	// What is mounted is the default subvolume, unless another one is named.
	diskCompare(t, filepath.Join(root, "usr"), mountPartition(t, image, mkfsOffset))
	top := t.TempDir()
	must(t, exec.Command("mount", "-o", fmt.Sprintf("loop,ro,subvolid=5,offset=%d", mkfsOffset), image, top))
	t.Cleanup(func() { must(t, exec.Command("umount", top)) })
	// A file with names in two subvolumes becomes two files.
	diskCompare(t, root, top, "new", "new/home", "usr/setuid", "opt/a/other-name", "opt/third-name")
	if out := must(t, reference(top, "btrfs", "property", "get", "usr/share/many", "ro")); strings.TrimSpace(out) != "ro=true" {
		t.Errorf("read-only subvolume: %s", out)
	}
	for _, name := range []string{"usr", "usr/share/many", "opt", "new/home"} {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(top, name), &st); err != nil || st.Ino != 256 {
			t.Errorf("%s is no subvolume: inode %d, %v", name, st.Ino, err)
		}
	}
}

// Sizes that follow from the content are about those of systemd-repart.
func TestMkfsSizes(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	dir := filepath.Dir(root)
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := os.WriteFile(filepath.Join(root, fmt.Sprint(i)), make([]byte, 2000000+i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	entries := mkfsTree(t, root)
	for _, format := range []string{repart.FormatBtrfs, repart.FormatXFS} {
		ours := mkfsImage(t, filepath.Join(dir, format), entries, 0, mkfs.Options{Format: format, Minimize: repart.MinimizeGuess})
		definitions := filepath.Join(dir, format+".repart.d")
		text := fmt.Sprintf("[Partition]\nType=linux-generic\nFormat=%s\nCopyFiles=/\nMinimize=guess\n", format)
		writeFile(t, filepath.Join(definitions, "10-fs.conf"), []byte(text), 0o644)
		theirs := filepath.Join(dir, format+".raw")
		diskRepart(t, dir, root, definitions, theirs)
		want := partitions(t, theirs)[0].Size * sector
		if ours < want*9/10 || ours > want*11/10 {
			t.Errorf("%s: %d bytes, systemd-repart's has %d", format, ours, want)
		}
	}
}

// The versions of this machine, which are older than those of the reference,
// make the same of a tree, or say that they cannot.
func TestMkfsHostVersions(t *testing.T) {
	root := mkfsSource(t)
	dir := filepath.Dir(root)
	must(t, exec.Command("setfacl", "-b", filepath.Join(root, "opt/a")))
	if err := unix.Lremovexattr(filepath.Join(root, "usr/share"), "user.empty"); err != nil {
		t.Fatal(err)
	}
	// mkfs.erofs 1.5 takes no names that are as long as names can be.
	complete := mkfsTree(t, root, strings.Repeat("n", 255))
	if err := unix.Lremovexattr(root, "user.validatefs.gpt_label"); err != nil {
		t.Fatal(err)
	}
	must(t, exec.Command("find", root, "-exec", "touch", "-h", "-d", "2021-03-04 05:06:07Z", "{}", "+"))
	for _, tt := range []struct {
		format, compression string
		program, option     string
		// minimum is the first version for all of the tree.
		minimum program.Version
		room    int64
	}{
		{repart.FormatBtrfs, "", "mkfs.btrfs", "--version", program.Version{6, 5, 3}, 300 << 20},
		{repart.FormatXFS, "", "mkfs.xfs", "-V", program.Version{6, 17}, 0},
		{repart.FormatErofs, "lz4hc", "mkfs.erofs", "-V", nil, 0},
		{repart.FormatSquashfs, "", "mksquashfs", "-version", nil, 0},
	} {
		t.Run(tt.format, func(t *testing.T) {
			version, err := program.QueryVersion(t.Context(), program.Run, tt.program, tt.option)
			if err != nil {
				t.Fatal(err)
			}
			o := mkfs.Options{Format: tt.format, Compression: tt.compression, Run: program.Run}
			im, err := mkfs.Plan(t.Context(), complete, mkfs.Options{Format: tt.format, Compression: tt.compression, Dir: dir, Run: program.Run})
			var old *program.TooOldError
			if tooOld := errors.As(err, &old); tooOld != version.Less(tt.minimum) {
				t.Errorf("%s %s: %v", tt.program, version, err)
			}
			if err == nil {
				if err := im.Close(); err != nil {
					t.Error(err)
				}
			}
			entries := mkfsTree(t, root)
			if tt.format == repart.FormatXFS {
				entries = entries[:1] // without anything in it, any version does
			}
			image := filepath.Join(dir, tt.format)
			mkfsImage(t, image, entries, tt.room, o)
			mount := mountPartition(t, image, mkfsOffset)
			if tt.format != repart.FormatXFS {
				diskCompare(t, root, mount)
				return
			}
			const format = "%a %u:%g %y"
			want := must(t, exec.Command("stat", "-c", format, root))
			if got := must(t, exec.Command("stat", "-c", format, mount)); got != want {
				t.Errorf("the top is %s, not %s", got, want)
			}
		})
	}
}

// userDir is in the environment of the test program when it runs as an ordinary
// user, and is where that is to work.
const userDir = "MKFS_TEST_DIR"

// An ordinary user makes the same file systems, in a user namespace that has
// nobody else.
func TestMkfsAsUser(t *testing.T) {
	formats := map[string]int64{repart.FormatBtrfs: 300 << 20, repart.FormatErofs: 0, repart.FormatSquashfs: 0}
	if dir := os.Getenv(userDir); dir != "" {
		entries := mkfsTree(t, filepath.Join(dir, "root"))
		for format, room := range formats {
			o := mkfs.Options{Format: format, Run: program.Run}
			if format == repart.FormatErofs {
				o.Compression = "lz4hc"
			}
			mkfsImage(t, filepath.Join(dir, format), entries, room, o)
		}
		return
	}
	dir, err := os.MkdirTemp("/var/tmp", "mkosi-mkfs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const nobody = 65534
	test := filepath.Join(dir, "test")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	must(t, exec.Command("cp", self, test))
	must(t, exec.Command("chown", "-R", fmt.Sprint(nobody), dir))
	must(t, exec.Command("setpriv", "--reuid", fmt.Sprint(nobody), "--regid", fmt.Sprint(nobody), "--clear-groups",
		"unshare", "--map-root-user", "sh", "-ec", `
			cd "$1"
			mkdir -p root/a/b
			echo text >root/a/file
			ln root/a/file root/a/b/other
			ln -s nowhere root/link
			mkfifo root/pipe
			setfattr -n user.note -v value root/a/file
			truncate -s 3M root/sparse
			chmod 4711 root/a/file
			find root -exec touch -h -d "2021-03-04 05:06:07Z" {} +
			env TMPDIR="$1" MKFS_TEST_DIR="$1" "$0" -test.run='^TestMkfsAsUser$'`, test, dir))
	for format := range formats {
		mount := mountPartition(t, filepath.Join(dir, format), mkfsOffset)
		diffs, err := tree.Compare(t.Context(), filepath.Join(dir, "root"), mount, tree.CompareOptions{IgnoreOwners: true})
		if err != nil || len(diffs) > 0 {
			t.Errorf("%s: %v, %v", format, diffs, err)
		}
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(mount, "a/file"), &st); err != nil || st.Uid != 0 || st.Gid != 0 {
			t.Errorf("%s: owner %d:%d, %v", format, st.Uid, st.Gid, err)
		}
	}
}

// Two runs make the same bytes of the same tree, where that is promised.
func TestMkfsTwice(t *testing.T) {
	root := mkfsSource(t)
	dir := filepath.Dir(root)
	if err := unix.Lremovexattr(filepath.Join(root, "usr/share"), "user.empty"); err != nil {
		t.Fatal(err)
	}
	must(t, exec.Command("touch", "-d", "@123.456", filepath.Join(root, "usr/share/size-0")))
	var entries content.Tree = mkfsTree(t, root, "opt/char", "opt/block", "opt/long-link")
	for _, o := range []mkfs.Options{{Format: repart.FormatErofs, Compression: "deflate"}, {Format: repart.FormatSquashfs}, {Format: repart.FormatXFS}} {
		first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
		mkfsImage(t, first, entries, 0, o)
		mkfsImage(t, second, entries, 0, o)
		if r := run(t, exec.Command("cmp", first, second)); r.code != 0 {
			t.Errorf("%s: %s%s", o.Format, r.stdout, r.stderr)
		}
	}
}
