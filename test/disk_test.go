//go:build integration

package test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/keys"
	"github.com/mkosi-go/mkosi/internal/tree"
	"github.com/mkosi-go/mkosi/resources"
)

// diskTree makes a folder with everything that a file system has to keep.
func diskTree(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	path := func(name string) string { return filepath.Join(root, name) }
	write := func(name string, size int, mode os.FileMode) {
		t.Helper()
		do(os.WriteFile(path(name), bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size], mode))
	}
	for _, dir := range []string{"usr/lib/extension-release.d", "usr/share/many", "opt/a/b", "etc", "proc/1", "tmp", "var/tmp/x"} {
		do(os.MkdirAll(path(dir), 0o755))
	}
	do(os.WriteFile(path("usr/lib/extension-release.d/extension-release.disk"), []byte("ID=_any\n"), 0o644))
	for _, size := range []int{0, 1, 4000, 4095, 4096, 4097, 12288, 300000, 5000000} {
		write(fmt.Sprintf("usr/share/size-%d", size), size, 0o644)
	}
	for i := range 1500 {
		write(fmt.Sprintf("usr/share/many/a name that is fairly long, to fill the folder %04d", i), i%40, 0o600)
	}
	for _, name := range []string{"usr/!first", "usr/-dash", "usr/.hidden", "usr/ünï", "usr/ new\nline", "proc/1/exe", "tmp/rubbish", "etc/hostname"} {
		write(name, 10, 0o644)
	}
	write("usr/setuid", 100, 0o755)
	do(os.Chmod(path("usr/setuid"), 0o755|os.ModeSetuid))
	do(os.Link(path("usr/setuid"), path("opt/a/other-name")))
	do(os.Link(path("usr/setuid"), path("opt/third-name")))
	do(os.Symlink("../usr/setuid", path("opt/link")))
	do(os.Symlink("/"+strings.Repeat("long/", 500), path("opt/long-link")))
	do(os.Symlink(strings.Repeat("x", 60), path("opt/link-60")))
	do(unix.Mkfifo(path("opt/fifo"), 0o620))
	do(unix.Mknod(path("opt/char"), unix.S_IFCHR|0o600, int(unix.Mkdev(5, 300))))
	do(unix.Mknod(path("opt/block"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 1))))
	do(os.Lchown(path("opt/a"), 70000, 4000000000))
	do(os.Lchown(path("opt/link"), 1000, 70000))
	do(os.Chmod(path("opt/a/b"), 0o1777|os.ModeSticky))
	for name, xattrs := range map[string]map[string]string{
		"usr/setuid":       {"security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		"usr/share":        {"trusted.note": strings.Repeat("q", 300), "user.empty": ""},
		"usr/share/many":   {"user.large": strings.Repeat("z", 3000)},
		"usr/share/size-1": {"user.z": "1", "user.a": "2", "security.other": "3"},
		"opt/a":            {"system.posix_acl_default": diskACL, "system.posix_acl_access": diskACL},
	} {
		for x, value := range xattrs {
			do(unix.Lsetxattr(path(name), x, []byte(value), 0))
		}
	}
	old := time.Date(1965, 1, 1, 0, 0, 0, 0, time.UTC)
	do(os.Chtimes(path("usr/share/size-0"), old, old))
	precise := time.Unix(1700000000, 123456789)
	do(os.Chtimes(path("usr/share/size-1"), precise, precise))
	do(os.Chtimes(path("usr"), precise, precise))
	return root
}

// diskACL is an access list in the form of the system call: user:1234:r-- and
// group:70000:rw- beside owner, group, mask and others.
var diskACL = "\x02\x00\x00\x00" +
	"\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xd2\x04\x00\x00" + "\x04\x00\x05\x00\xff\xff\xff\xff" +
	"\x08\x00\x06\x00\x70\x11\x01\x00" + "\x10\x00\x07\x00\xff\xff\xff\xff" + "\x20\x00\x05\x00\xff\xff\xff\xff"

var diskSeed = uuid.MustParse("3d30965a-0981-46f6-a67a-9c6bc38538e6")

// diskKeys makes a key pair in a folder and returns where it is.
func diskKeys(t *testing.T, dir string) (keyPath, certPath string) {
	t.Helper()
	key, cert, err := keys.Generate(keys.GenerateOptions{CommonName: "disk test", ValidDays: 10, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	keyPath, certPath = filepath.Join(dir, "mkosi.key"), filepath.Join(dir, "mkosi.crt")
	if err := keys.WriteFiles(keyPath, certPath, key, cert, true); err != nil {
		t.Fatal(err)
	}
	return keyPath, certPath
}

// diskOptions builds an extension of a tree, with a key pair in dir.
func diskOptions(t *testing.T, dir, root string, mode disk.VerityMode) disk.Options {
	t.Helper()
	keyPath, certPath := diskKeys(t, dir)
	name := "sysext"
	if mode == disk.VerityDisabled {
		name = "sysext-unsigned"
	}
	files, err := resources.Repart(name)
	if err != nil {
		t.Fatal(err)
	}
	defs, err := repart.ParseDefinitions(files, "x86-64")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := disk.PlanVerity(defs, mode, true)
	if err != nil {
		t.Fatal(err)
	}
	o := disk.Options{
		Path: filepath.Join(dir, "image.raw"), Root: root, Seed: diskSeed,
		Definitions: plan.Definitions, Defer: plan.Defer,
	}
	if plan.Sign {
		if o.Key, o.Certificate, err = keys.LoadPair(keyPath, certPath); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func diskBuild(t *testing.T, o disk.Options) *disk.Result {
	t.Helper()
	r, err := disk.Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// diskTable has sfdisk and sgdisk check the partition table and compares it
// with what Build says.
func diskTable(t *testing.T, image string, r *disk.Result) {
	t.Helper()
	dir := filepath.Dir(image)
	if v := run(t, reference(dir, "sfdisk", "--verify", image)); v.code != 0 || !strings.Contains(v.stdout, "No errors detected") {
		t.Errorf("sfdisk --verify: %d %s%s", v.code, v.stdout, v.stderr)
	}
	if out := must(t, reference(dir, "sgdisk", "--verify", image)); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk --verify: %s", out)
	}
	var want []partition
	for _, p := range r.Partitions {
		if !p.Deferred {
			want = append(want, partition{
				p.Offset / sector, p.Size / sector,
				strings.ToUpper(p.Type.UUID.String()), strings.ToUpper(p.UUID.String()), p.Label,
			})
		}
	}
	if diff := cmp.Diff(want, partitions(t, image)); diff != "" {
		t.Errorf("partition table (-result +sfdisk):\n%s", diff)
	}
}

// diskCompare compares a tree with what the kernel shows of a file system.
// Only these paths may differ.
func diskCompare(t *testing.T, want, got string, allowed ...string) {
	t.Helper()
	diffs, err := tree.Compare(t.Context(), want, got, tree.CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
next:
	for _, d := range diffs {
		for _, a := range allowed {
			if d.Path == a {
				continue next
			}
		}
		t.Errorf("tree and image: %s", d)
	}
}

func TestDiskExtension(t *testing.T) {
	root := diskTree(t)
	for _, mode := range []disk.VerityMode{disk.VeritySigned, disk.VerityHash, disk.VerityDefer, disk.VerityDisabled} {
		t.Run(string(mode), func(t *testing.T) {
			dir := t.TempDir()
			o := diskOptions(t, dir, root, mode)
			r := diskBuild(t, o)
			diskTable(t, o.Path, r)
			parts := partitions(t, o.Path)
			data := filepath.Join(dir, "root")
			extract(t, o.Path, parts[0], data)
			must(t, reference(dir, "fsck.erofs", data))
			mount := mountPartition(t, o.Path, r.Partitions[0].Offset)
			diskCompare(t, filepath.Join(root, "usr"), filepath.Join(mount, "usr"))
			diskCompare(t, filepath.Join(root, "opt"), filepath.Join(mount, "opt"))
			entries, err := os.ReadDir(mount)
			if err != nil || len(entries) != 2 {
				t.Errorf("the extension holds %v, %v", entries, err)
			}
			must(t, reference(dir, "systemd-dissect", "--validate", o.Path))
			if mode == disk.VerityDisabled {
				return
			}
			hash := filepath.Join(dir, "hash")
			extract(t, o.Path, parts[1], hash)
			rootHash := hex.EncodeToString(r.Partitions[0].RootHash)
			must(t, reference(dir, "veritysetup", "verify", data, hash, rootHash))
			if mode != disk.VeritySigned {
				return
			}
			file := filepath.Join(dir, "sig")
			extract(t, o.Path, parts[2], file)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var sig struct{ RootHash, CertificateFingerprint, Signature string }
			if err := json.Unmarshal(bytes.TrimRight(b, "\x00"), &sig); err != nil {
				t.Fatal(err)
			}
			if sig.RootHash != rootHash {
				t.Errorf("signed root hash %s, not %s", sig.RootHash, rootHash)
			}
			checkSignature(t, dir, sig.Signature, rootHash, filepath.Join(dir, "mkosi.crt"))
		})
	}
}

// The signature partition is what openssl and systemd-repart make of the same
// root hash, byte for byte.
func TestDiskSignatureLikeOpenssl(t *testing.T) {
	dir := t.TempDir()
	o := diskOptions(t, dir, dir, disk.VeritySigned)
	text := []byte(strings.Repeat("0123456789abcdef", 4))
	if err := os.WriteFile(filepath.Join(dir, "hash"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	want := must(t, reference(dir, "openssl", "smime", "-sign", "-noattr", "-binary", "-in", "hash",
		"-inkey", "mkosi.key", "-signer", "mkosi.crt", "-outform", "der"))
	got, err := keys.SignPKCS7Detached(o.Key, o.Certificate, text)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("signature of %d bytes differs from openssl's of %d", len(got), len(want))
	}
}

// What genkey writes is what openssl takes, and looks like what the reference
// has openssl make, which it hides the configuration from.
func TestDiskGeneratedKeyForOpenssl(t *testing.T) {
	dir := t.TempDir()
	diskOptions(t, dir, dir, disk.VeritySigned)
	must(t, reference(dir, "openssl", "rsa", "-in", "mkosi.key", "-check", "-noout"))
	must(t, reference(dir, "openssl", "verify", "-CAfile", "mkosi.crt", "mkosi.crt"))
	must(t, reference(dir, "env", "OPENSSL_CONF=/dev/null", "openssl", "req", "-new", "-x509", "-key", "mkosi.key", "-out", "other.crt", "-days", "10", "-subj", "/CN=disk test/"))
	describe := func(name string) string {
		return must(t, reference(dir, "openssl", "x509", "-in", name, "-noout", "-subject", "-issuer", "-pubkey", "-ext", "subjectKeyIdentifier,basicConstraints,keyUsage"))
	}
	if diff := cmp.Diff(describe("other.crt"), describe("mkosi.crt")); diff != "" {
		t.Errorf("certificate of openssl (-) and ours (+):\n%s", diff)
	}
}

// diskRepart builds the same image with systemd-repart.
func diskRepart(t *testing.T, dir, root, definitions, image string, args ...string) {
	t.Helper()
	base := []string{
		"systemd-repart", "--root=" + root, "--dry-run=no", "--json=off", "--no-pager", "--offline=yes",
		"--seed=" + diskSeed.String(), "--empty=create", "--size=auto", "--definitions=" + definitions,
	}
	must(t, reference(dir, append(append(base, args...), image)...))
}

// Places, sizes, labels, attributes and identifiers are those that
// systemd-repart gives the same definitions, except where they follow from the
// content of the file system.
func TestDiskLayoutLikeRepart(t *testing.T) {
	dir := t.TempDir()
	definitions := filepath.Join(dir, "repart.d")
	if err := os.Mkdir(definitions, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"10-a": "Type=linux-generic\n",
		"20-b": "Type=linux-generic\nWeight=333\nPaddingMinBytes=1M\nPaddingMaxBytes=3M\n",
		"30-c": "Type=home\nSizeMaxBytes=20M\n",
		"40-d": "Type=swap\nPaddingWeight=100\nNoAuto=yes\n",
		"50-e": "Type=usr-arm64-verity\nFlags=0x1000000000000\n",
		"60-f": "Type=linux-generic\nLabel=foo-%a\n",
		"70-g": "Type=linux-generic\nLabel=foo\nUUID=null\n",
		"80-h": "Type=root\nReadOnly=yes\n",
		"90-i": "Type=tmp\nWeight=0\n",
		"91-j": "Type=home\nReadOnly=yes\nGrowFileSystem=yes\n",
		"92-k": "Type=root-verity\nReadOnly=no\n",
		"93-l": "Type=esp\nNoAuto=yes\n",
	} {
		if err := os.WriteFile(filepath.Join(definitions, name+".conf"), []byte("[Partition]\n"+text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// What has no effect on a type is told, and nothing more.
	defs, _, err := repart.Parse(os.DirFS(definitions), repart.Options{Architecture: "x86-64"})
	if err != nil {
		t.Fatal(err)
	}
	dump := func(image string) string {
		out := must(t, reference(dir, "sfdisk", "--dump", image))
		return strings.ReplaceAll(out, image, "image")
	}
	for _, size := range []int64{0, 1 << 30, 1024004096} {
		theirs, ours := filepath.Join(dir, fmt.Sprint("theirs-", size)), filepath.Join(dir, fmt.Sprint("ours-", size))
		var args []string
		if size != 0 {
			args = []string{fmt.Sprint("--size=", size)}
		}
		diskRepart(t, dir, dir, definitions, theirs, args...)
		diskBuild(t, disk.Options{Path: ours, Definitions: defs, Root: dir, Seed: diskSeed, Size: size})
		if diff := cmp.Diff(dump(theirs), dump(ours)); diff != "" {
			t.Errorf("size %d: systemd-repart (-) and ours (+):\n%s", size, diff)
		}
	}
}

// A verity image of the same content is laid out as systemd-repart does it,
// with the same identifiers in the superblocks, for a tiny image and for one
// that is not.
func TestDiskExtensionLikeRepart(t *testing.T) {
	full := diskTree(t)
	tiny := filepath.Join(t.TempDir(), "tiny")
	if err := os.MkdirAll(filepath.Join(tiny, "usr/lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{full, tiny} {
		dir := filepath.Dir(root)
		o := diskOptions(t, dir, root, disk.VeritySigned)
		r := diskBuild(t, o)
		theirs := filepath.Join(dir, "theirs.raw")
		diskRepart(t, dir, root, diskDefinitions(t, dir, "sysext"), theirs,
			"--private-key="+filepath.Join(dir, "mkosi.key"), "--certificate="+filepath.Join(dir, "mkosi.crt"))
		ours, ref := partitions(t, o.Path), partitions(t, theirs)
		for i := range ref {
			if ref[i].Type != ours[i].Type || ref[i].Name != ours[i].Name {
				t.Errorf("partition %d is %v, systemd-repart's %v", i+1, ours[i], ref[i])
			}
		}
		if ours[0].Start != ref[0].Start || ours[2].Size != ref[2].Size || ours[2].UUID != ref[2].UUID {
			t.Errorf("partitions %v, systemd-repart's %v", ours, ref)
		}
		// The two EROFS writers pack inodes differently, by a few blocks.
		if a, b := ours[0].Size, ref[0].Size; a > b+b/20+64 {
			t.Errorf("the root takes %d sectors, systemd-repart's %d", a, b)
		}
		image := func(path string, p partition) []byte {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return b[p.Start*sector : (p.Start+p.Size)*sector]
		}
		fsUUID := func(path string, p partition) []byte { return image(path, p)[1024+48 : 1024+64] }
		if a, b := fsUUID(o.Path, ours[0]), fsUUID(theirs, ref[0]); !bytes.Equal(a, b) {
			t.Errorf("EROFS %x, systemd-repart's %x", a, b)
		}
		// All of the verity superblock but the number of data blocks.
		super := func(path string, p partition) []byte {
			b := bytes.Clone(image(path, p)[:512])
			clear(b[72:80])
			return b
		}
		if diff := cmp.Diff(super(theirs, ref[1]), super(o.Path, ours[1])); diff != "" {
			t.Errorf("verity superblock (-systemd-repart +ours):\n%s", diff)
		}
		xattrs := func(path string, p partition) map[string]string {
			dir := mountPartition(t, path, p.Start*sector)
			found := map[string]string{}
			for _, name := range []string{"user.validatefs.gpt_label", "user.validatefs.gpt_type_uuid", "user.validatefs.mount_point"} {
				b := make([]byte, 1000)
				n, err := unix.Lgetxattr(dir, name, b)
				if err != nil {
					t.Errorf("%s of %s: %v", name, path, err)
				}
				found[name] = string(b[:max(0, n)])
			}
			return found
		}
		if diff := cmp.Diff(xattrs(theirs, ref[0]), xattrs(o.Path, ours[0])); diff != "" {
			t.Errorf("root attributes (-systemd-repart +ours):\n%s", diff)
		}
		if !bytes.Equal(r.Partitions[0].RootHash[:16], r.Partitions[0].UUID[:]) {
			t.Errorf("root hash %x, partition %s", r.Partitions[0].RootHash, r.Partitions[0].UUID)
		}
	}
}

// diskDefinitions copies built-in definitions to where a program finds them.
func diskDefinitions(t *testing.T, dir, name string) string {
	t.Helper()
	to := filepath.Join(dir, name+".repart.d")
	if err := os.CopyFS(to, os.DirFS(filepath.Join(project, "resources/repart", name+".repart.d"))); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestDiskExtensionTwice(t *testing.T) {
	root, dir := diskTree(t), t.TempDir()
	o := diskOptions(t, dir, root, disk.VeritySigned)
	diskBuild(t, o)
	first, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "copy")
	must(t, exec.Command("cp", "-a", root, copied))
	o.Root, o.Path = copied, filepath.Join(dir, "second.raw")
	diskBuild(t, o)
	second, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("two images of the same content differ")
	}
}

// A full disk is an error that says so, wherever it strikes, and says which
// file could not be written.
func TestDiskFull(t *testing.T) {
	root := diskTree(t)
	for _, size := range []string{"64k", "2m", "5m"} {
		dir := t.TempDir()
		must(t, exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir))
		t.Cleanup(func() { must(t, exec.Command("umount", dir)) })
		o := diskOptions(t, t.TempDir(), root, disk.VeritySigned)
		o.Path = filepath.Join(dir, "image.raw")
		if _, err := disk.Build(t.Context(), o); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), o.Path) {
			t.Errorf("%s for the extension: %v", size, err)
		}
		if err := os.Remove(o.Path); err != nil {
			t.Error(err)
		}
		e := diskExt4Options(t, dir, root)
		if _, err := disk.Build(t.Context(), e); err == nil || !strings.Contains(err.Error(), "space left") || !strings.Contains(err.Error(), e.Path) {
			t.Errorf("%s for ext4: %v", size, err)
		}
	}
}

// A build that is cancelled in the middle of a large file stops at once.
func TestDiskCancelled(t *testing.T) {
	// A ramfs does not tell where the holes of its files are.
	root := t.TempDir()
	must(t, exec.Command("mount", "-t", "ramfs", "ramfs", root))
	t.Cleanup(func() { must(t, exec.Command("umount", root)) })
	if err := os.MkdirAll(filepath.Join(root, "usr"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(root, "usr/large"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(64<<30), f.Close()); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]disk.Options{
		"erofs": diskOptions(t, t.TempDir(), root, disk.VeritySigned),
		"ext4":  diskExt4Options(t, t.TempDir(), root),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		start := time.Now()
		_, err := disk.Build(ctx, o)
		cancel()
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 5*time.Second {
			t.Errorf("%s: stopped after %s: %v", name, took, err)
		}
		if err := os.Remove(o.Path); err != nil {
			t.Error(err)
		}
	}
}

// A whole operating system's /usr, in either file system.
func TestDiskWholeSystem(t *testing.T) {
	root := os.Getenv("MKOSI_REFERENCE_ROOT")
	if root == "" {
		root = "/var/tmp/mkosi-reference"
	}
	o := diskOptions(t, t.TempDir(), root, disk.VerityHash)
	r := diskBuild(t, o)
	data := filepath.Join(filepath.Dir(o.Path), "root")
	extract(t, o.Path, partitions(t, o.Path)[0], data)
	must(t, reference(filepath.Dir(data), "fsck.erofs", data))
	diskCompare(t, filepath.Join(root, "usr"), filepath.Join(mountPartition(t, o.Path, r.Partitions[0].Offset), "usr"))

	e := diskExt4Options(t, t.TempDir(), root)
	e.Definitions[0].CopyFiles = []repart.CopyFiles{{Source: "/usr", Target: "/usr"}}
	r = diskBuild(t, e)
	diskCheckExt4(t, e.Path, r.Partitions[0])
	diskCompare(t, filepath.Join(root, "usr"), filepath.Join(mountPartition(t, e.Path, r.Partitions[0].Offset), "usr"))
}
