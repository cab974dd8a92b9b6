//go:build integration

package test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// everything is an image with a partition of each kind.
var everything = map[string]string{
	"00-esp":      "Type=esp\nFormat=vfat\nCopyFiles=/boot:/\n",
	"10-usr":      "Type=usr\nFormat=erofs\nCopyFiles=/usr:/\nCompression=zstd\nMinimize=best\nVerity=data\nVerityMatchKey=usr\n",
	"11-verity":   "Type=usr-verity\nVerity=hash\nVerityMatchKey=usr\nMinimize=best\n",
	"12-sig":      "Type=usr-verity-sig\nVerity=signature\nVerityMatchKey=usr\n",
	"20-root":     "Type=root\nFormat=ext4\nCopyFiles=/\nExcludeFiles=/usr/share/many/\nMinimize=guess\nMakeSymlinks=/link-of-the-image:usr\n",
	"30-home":     "Type=home\nFormat=btrfs\nCopyFiles=/usr:/\nMinimize=guess\n",
	"40-srv":      "Type=srv\nFormat=xfs\nCopyFiles=/usr/share/many:/\n",
	"50-var":      "Type=var\nFormat=squashfs\nCopyFiles=/usr:/\nMinimize=best\nUUID=11111111-2222-4333-8444-555555555555\n",
	"60-swap":     "Type=swap\nFormat=swap\nSizeMinBytes=1M\nSizeMaxBytes=1M\n",
	"70-secret":   "Type=tmp\nFormat=ext4\nCopyFiles=/usr:/\nExcludeFiles=/usr/share/many\nEncrypt=key-file\nEncryptKDF=minimal\nMinimize=guess\n",
	"80-reserved": "Type=linux-generic\nFormat=empty\nSizeMaxBytes=10M\n",
}

// buildEverything builds that image of a tree.
func buildEverything(t *testing.T, dir, root string) (disk.Options, *disk.Result) {
	t.Helper()
	files := fstest.MapFS{}
	for name, text := range everything {
		files[name+".conf"] = &fstest.MapFile{Data: []byte("[Partition]\n" + text)}
	}
	defs, err := repart.ParseDefinitions(files, "x86-64")
	if err != nil {
		t.Fatal(err)
	}
	o := diskOptions(t, dir, root, disk.VeritySigned)
	o.Definitions, o.Defer, o.Passphrase = defs, nil, []byte("secret")
	o.Run = runInReference(dir)
	o.ElTorito = &disk.ElTorito{Volume: "EVERYTHING"}
	return o, diskBuild(t, o)
}

// wholeSeconds gives everything in a tree a time that every file system has: squashfs has no nanoseconds.
func wholeSeconds(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		times := []unix.Timespec{{Sec: 1700000000}, {Sec: 1700000000}}
		return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Whoever reads disk images accepts one with everything in it, and finds the tree in each file system.
func TestDiskEverything(t *testing.T) {
	root := diskTree(t)
	if err := os.MkdirAll(filepath.Join(root, "boot/EFI/Linux"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(root, "boot/EFI/Linux/a kernel.efi"), bytes.Repeat([]byte("kernel "), 100000), 0o644)
	wholeSeconds(t, root)
	dir := t.TempDir()
	o, r := buildEverything(t, dir, root)
	diskTable(t, o.Path, r)
	parts := map[string]disk.Partition{}
	extracted := func(name string) string {
		file := filepath.Join(dir, name)
		extract(t, o.Path, partition{Start: parts[name].Offset / sector, Size: parts[name].Size / sector}, file)
		return file
	}
	for _, p := range r.Partitions {
		parts[strings.TrimSuffix(p.File, ".conf")] = p
	}

	must(t, reference(dir, "fsck.vfat", "-n", extracted("00-esp")))
	if got := must(t, reference(dir, "mtype", "-i", filepath.Join(dir, "00-esp"), "::EFI/Linux/a kernel.efi")); len(got) != 700000 {
		t.Errorf("the kernel in the ESP has %d bytes", len(got))
	}
	must(t, reference(dir, "fsck.erofs", extracted("10-usr")))
	must(t, reference(dir, "veritysetup", "verify", filepath.Join(dir, "10-usr"), extracted("11-verity"), hex.EncodeToString(parts["10-usr"].RootHash)))
	must(t, reference(dir, "systemd-dissect", "--validate", "--image-policy=usr=signed:root=unprotected:esp=unprotected:home=unprotected:srv=unprotected:var=unprotected:swap=unprotected:tmp=encrypted:=ignore", o.Path))
	diskCheckExt4(t, o.Path, parts["20-root"])
	must(t, reference(dir, "btrfs", "check", "--readonly", extracted("30-home")))
	must(t, reference(dir, "xfs_repair", "-n", extracted("40-srv")))
	must(t, reference(dir, "unsquashfs", "-s", extracted("50-var")))
	writeFile(t, filepath.Join(dir, "key"), o.Passphrase, 0o600)
	must(t, reference(dir, "cryptsetup", "open", "--test-passphrase", "--key-file", filepath.Join(dir, "key"), extracted("70-secret")))
	if out := must(t, reference(dir, "cryptsetup", "luksDump", filepath.Join(dir, "70-secret"))); !strings.Contains(out, "luks-tmp") {
		t.Errorf("luksDump: %s", out)
	}
	if out := must(t, reference(dir, "xorriso", "-indev", o.Path, "-report_el_torito", "plain")); !strings.Contains(out, "UEFI") {
		t.Errorf("xorriso: %s", out)
	}
	if out := must(t, exec.Command("blkid", "-p", "-o", "value", "-s", "TYPE", extracted("60-swap"))); out != "swap\n" {
		t.Errorf("blkid of the swap space: %q", out)
	}

	for name, copied := range map[string]string{"10-usr": "usr", "30-home": "usr", "40-srv": "usr/share/many", "50-var": "usr"} {
		// The top has the attributes of AddValidateFS=.
		diskCompare(t, filepath.Join(root, copied), mountPartition(t, filepath.Join(dir, name), 0), "", ".")
	}
	mount := mountPartition(t, extracted("20-root"), 0)
	if target, err := os.Readlink(filepath.Join(mount, "link-of-the-image")); err != nil || target != "usr" {
		t.Errorf("link: %q, %v", target, err)
	}
	for _, covered := range []string{"boot", "usr"} {
		entries, err := os.ReadDir(filepath.Join(mount, covered))
		if err != nil || len(entries) != 0 {
			t.Errorf("/%s, over which another partition is mounted: %v, %v", covered, entries, err)
		}
	}
}

// The example is built, and what it says is signed is signed.
func TestDiskExample(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	if err := copyExample("disk", dir); err != nil {
		t.Fatal(err)
	}
	mirror, err := hostMirror()
	if err != nil {
		t.Fatal(err)
	}
	must(t, mkosi(dir, "genkey"))
	must(t, mkosi(dir, "--local-mirror", mirror))
	image := filepath.Join(dir, "mkosi.output/appliance.raw")
	if out := must(t, mkosi(dir, "verify", image)); !strings.Contains(out, "signature") || strings.Contains(out, "wrong") {
		t.Errorf("verify: %s", out)
	}
	must(t, reference(dir, "systemd-dissect", "--validate", "--image-policy=usr=signed:root=unprotected", image))
}

// What is written natively, and ext4, is the same for the same tree, in whatever order its folders are listed.
func TestDiskDeterministic(t *testing.T) {
	root := diskTree(t)
	// A file system in memory lists what was made last first.
	memory := t.TempDir()
	must(t, exec.Command("mount", "-t", "tmpfs", "tmpfs", memory))
	t.Cleanup(func() { must(t, exec.Command("umount", memory)) })
	other := filepath.Join(memory, "root")
	must(t, exec.Command("cp", "-a", root, other))
	diskCompare(t, root, other)
	want := buildNative(t, root)
	got := buildNative(t, other)
	for name, sum := range want {
		if got[name] != sum {
			t.Errorf("%s differs", name)
		}
	}
}

// buildNative builds the partitions that do not depend on the host's programs, and returns a digest of each.
func buildNative(t *testing.T, root string) map[string][32]byte {
	t.Helper()
	files := fstest.MapFS{}
	for name, text := range everything {
		switch name {
		case "30-home", "40-srv", "50-var", "70-secret":
			continue
		}
		files[name+".conf"] = &fstest.MapFile{Data: []byte("[Partition]\n" + text)}
	}
	defs, err := repart.ParseDefinitions(files, "x86-64")
	if err != nil {
		t.Fatal(err)
	}
	o := diskOptions(t, t.TempDir(), root, disk.VerityDefer)
	o.Definitions, o.Defer = defs, []string{"usr-verity-sig"}
	r := diskBuild(t, o)
	b, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string][32]byte{"the table": sha256.Sum256(b[:r.Partitions[0].Offset])}
	for _, p := range r.Partitions {
		sums[p.File] = sha256.Sum256(b[p.Offset : p.Offset+p.Size])
	}
	return sums
}
