//go:build integration

package test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// treeMust fails the test on an error.
func treeMust(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// treeSample makes a tree with everything that root may put in one, and times
// in the past with nanoseconds.
func treeSample(t *testing.T, root string) {
	t.Helper()
	file := func(name, content string, mode uint32, uid, gid int) {
		p := filepath.Join(root, name)
		treeMust(t, os.MkdirAll(filepath.Dir(p), 0o755))
		treeMust(t, os.WriteFile(p, []byte(content), 0o600))
		treeMust(t, os.Chown(p, uid, gid))
		treeMust(t, unix.Chmod(p, mode))
	}
	file("usr/bin/su", strings.Repeat("program", 100_000), 0o4755, 0, 0)
	file("usr/bin/ping", "capable", 0o755, 0, 0)
	file("var/mail/user", "mail", 0o600, 1234, 8)
	file("etc/shadow", "secret", 0o000, 0, 42)
	file("usr/lib/empty", "", 0o444, 0, 0)
	file("var/log/journal/x", "log", 0o640, 0, 190)
	treeMust(t, os.Link(filepath.Join(root, "usr/bin/su"), filepath.Join(root, "etc/su")))
	treeMust(t, os.Link(filepath.Join(root, "usr/bin/su"), filepath.Join(root, "usr/bin/also")))
	treeMust(t, os.Symlink("/usr/bin", filepath.Join(root, "bin")))
	treeMust(t, os.Lchown(filepath.Join(root, "bin"), 5, 6))
	treeMust(t, os.MkdirAll(filepath.Join(root, "tmp"), 0o755))
	treeMust(t, unix.Chmod(filepath.Join(root, "tmp"), 0o1777))
	treeMust(t, os.MkdirAll(filepath.Join(root, "dev"), 0o755))
	treeMust(t, unix.Mknod(filepath.Join(root, "dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	treeMust(t, unix.Mknod(filepath.Join(root, "dev/vda"), unix.S_IFBLK|0o660, int(unix.Mkdev(254, 300))))
	treeMust(t, unix.Mkfifo(filepath.Join(root, "dev/initctl"), 0o600))
	// VFS_CAP_REVISION_2 with CAP_NET_RAW permitted and effective.
	capability := []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	treeMust(t, unix.Setxattr(filepath.Join(root, "usr/bin/ping"), "security.capability", capability, 0))
	treeMust(t, unix.Setxattr(filepath.Join(root, "usr/lib"), "user.note", []byte("on a directory"), 0))
	treeMust(t, unix.Lsetxattr(filepath.Join(root, "bin"), "trusted.note", []byte("on a link"), 0))
	for _, name := range []string{"dev/null", "dev/vda", "dev/initctl", "bin", "usr/bin/su", "usr/bin/ping", "usr/lib/empty", "usr/bin", "usr/lib", "usr", "."} {
		ts := []unix.Timespec{{Sec: 1_234_567_890, Nsec: 987_654_321}, {Sec: 1_234_567_890, Nsec: 987_654_321}}
		treeMust(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root, name), ts, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// treeACL gives var/log/journal the access lists that systemd gives it.
func treeACL(t *testing.T, root string) {
	t.Helper()
	entry := func(tag, perm byte, id uint32) []byte {
		return []byte{tag, 0, perm, 0, byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24)}
	}
	const none = 0xffffffff
	acl := slices.Concat([]byte{2, 0, 0, 0}, entry(1, 7, none), entry(4, 5, none), entry(8, 5, 4), entry(16, 5, none), entry(32, 5, none))
	for _, name := range []string{"system.posix_acl_access", "system.posix_acl_default"} {
		treeMust(t, unix.Setxattr(filepath.Join(root, "var/log/journal"), name, acl, 0))
	}
}

func treeEqual(t *testing.T, a, b string, o tree.CompareOptions) {
	t.Helper()
	found, err := tree.Compare(t.Context(), a, b, o)
	treeMust(t, err)
	for _, d := range found {
		t.Error(d)
	}
}

// treeDir is a directory on a file system with extended attributes.
func treeDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "mkosi-test-")
	treeMust(t, err)
	t.Cleanup(func() { treeMust(t, tree.RemoveAll(context.Background(), dir)) })
	return dir
}

func TestTreeCopyLikeCp(t *testing.T) {
	dir := treeDir(t)
	src, theirs, ours := filepath.Join(dir, "src"), filepath.Join(dir, "theirs"), filepath.Join(dir, "ours")
	treeMust(t, os.Mkdir(src, 0o711))
	treeSample(t, src)
	treeACL(t, src)
	must(t, exec.Command("cp", "-a", src, theirs))
	treeMust(t, tree.Copy(t.Context(), src, ours, tree.CopyOptions{}))
	treeEqual(t, theirs, ours, tree.CompareOptions{})
	treeEqual(t, src, ours, tree.CompareOptions{})
}

// TestTreeLikeReference lets the reference install skeleton and extra trees
// and remove files, and does the same here.
func TestTreeLikeReference(t *testing.T) {
	dir := treeDir(t)
	write := func(name, content string, mode os.FileMode) {
		p := filepath.Join(dir, name)
		treeMust(t, os.MkdirAll(filepath.Dir(p), 0o755))
		treeMust(t, os.WriteFile(p, []byte(content), mode))
		treeMust(t, os.Chown(p, 1234, 4321))
	}
	link := func(target, name string) { treeMust(t, os.Symlink(target, filepath.Join(dir, name))) }
	patterns := []string{"/opt/rm/*.txt", "/opt/deep/**/x", "opt/relative", "/opt/all/**", "/opt/dirs/**/", "/opt/linkdir/secret", "/opt/a[!b]", "/opt/?y", "/opt/absent", "/opt/br{a,b}", "/opt/["}
	extra := []tree.Tree{{Source: "extra"}, {Source: "file", Target: "/usr/local/bin/kubectl"}, {Source: "file", Target: "/opt/trailing/"}, {Source: "second", Target: "/usr/lib"}, {Source: "file"}}
	write("skeleton/usr/lib/os-release", "ID=debian\nVERSION_ID=13\n", 0o644)
	treeMust(t, os.MkdirAll(filepath.Join(dir, "skeleton/boot"), 0o755))
	treeMust(t, os.MkdirAll(filepath.Join(dir, "skeleton/usr/bin"), 0o755))
	link("usr/lib", "skeleton/lib")
	write("extra/lib/modules/x", "module", 0o644)
	write("extra/etc/shadow", "secret", 0o600)
	write("extra/usr/bin/su", "su", 0o755)
	treeMust(t, unix.Chmod(filepath.Join(dir, "extra/usr/bin/su"), 0o4755))
	treeMust(t, os.Link(filepath.Join(dir, "extra/usr/bin/su"), filepath.Join(dir, "extra/usr/bin/too")))
	for _, name := range []string{"rm/a.txt", "rm/.h.txt", "rm/keep", "rm/sub/c.txt", "deep/x", "deep/a/b/x/f", "relative", "all/.h/f", "dirs/a/f", "secrets/secret", "ab", "ac", "xy", "bra", "["} {
		write("extra/opt/"+name, name, 0o644)
	}
	link("secrets", "extra/opt/linkdir")
	link("nowhere", "extra/opt/dangling")
	write("file", "kubectl", 0o751)
	write("second/systemd/unit", "unit", 0o640)
	var pairs []string
	for _, e := range extra {
		pairs = append(pairs, strings.TrimSuffix(e.Source+":"+e.Target, ":"))
	}
	write("mkosi.conf", "[Distribution]\nDistribution=custom\n[Output]\nFormat=directory\nOutput=theirs\n[Content]\nBootable=no\nSkeletonTrees=skeleton\nSourceDateEpoch=1000000000\nExtraTrees="+
		strings.Join(pairs, ",")+"\nRemoveFiles="+strings.Join(patterns[:2], ",")+"\n"+"RemoveFiles="+strings.Join(patterns[2:], "\nRemoveFiles=")+"\n", 0o644)
	must(t, reference(dir, "mkosi", "-f", "build"))

	ours := filepath.Join(dir, "ours")
	treeMust(t, os.Mkdir(ours, 0o755))
	for _, e := range append([]tree.Tree{{Source: "skeleton"}}, extra...) {
		e.Source = filepath.Join(dir, e.Source)
		treeMust(t, tree.Install(t.Context(), ours, e))
	}
	treeMust(t, tree.Remove(t.Context(), ours, patterns...))
	treeMust(t, tree.ClampTimes(t.Context(), ours, time.Unix(1_000_000_000, 0)))
	found, err := tree.Compare(t.Context(), filepath.Join(dir, "theirs"), ours, tree.CompareOptions{})
	treeMust(t, err)
	for _, d := range found {
		// What the reference's other steps write.
		others := []string{"boot/loader", "boot/loader/entries.srel", "efi", "etc/.pwd.lock", "usr/lib/clock-epoch"}
		if d.What == "existence" && slices.Contains(others, d.Path) {
			continue
		}
		t.Error(d)
	}
}

func TestTreeRemoveAllKeepsMounts(t *testing.T) {
	dir := treeDir(t)
	at := filepath.Join(dir, "victim/a/mount")
	treeMust(t, os.MkdirAll(at, 0o755))
	treeMust(t, unix.Mount("tmpfs", at, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { treeMust(t, unix.Unmount(at, 0)) })
	treeMust(t, os.WriteFile(filepath.Join(at, "kept"), nil, 0o600))
	treeMust(t, os.Mkdir(filepath.Join(at, "empty"), 0o700))
	if err := tree.RemoveAll(t.Context(), filepath.Join(dir, "victim")); !errors.Is(err, tree.ErrMountPoint) || !strings.Contains(err.Error(), at) {
		t.Errorf("error is %v", err)
	}
	if _, err := os.Stat(filepath.Join(at, "kept")); err != nil {
		t.Error(err)
	}
}
