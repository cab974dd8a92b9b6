//go:build integration

package test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// The outputs that the tutorial promises, under the names that it promises.
func TestTutorialOutputs(t *testing.T) {
	out := filepath.Join(tutorialDir(t), "mkosi.output")
	var got []string
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		if target, err := os.Readlink(filepath.Join(out, name)); err == nil {
			name += " -> " + target
		}
		got = append(got, name)
	}
	want := []string{"base", "btrfs -> btrfs.raw", "btrfs.raw", "image -> image.raw", "image.raw", "initrd -> initrd.cpio.zst", "initrd.cpio.zst"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// partition is one line of a partition table as sfdisk tells it.
type partition struct {
	Start, Size      int64
	Type, UUID, Name string
}

func partitions(t *testing.T, image string) []partition {
	t.Helper()
	var table struct {
		PartitionTable struct{ Partitions []partition }
	}
	out := must(t, reference(filepath.Dir(image), "sfdisk", "--json", image))
	if err := json.Unmarshal([]byte(out), &table); err != nil {
		t.Fatal(err)
	}
	return table.PartitionTable.Partitions
}

const sector = 512

// extract copies one partition of an image into a file of its own.
func extract(t *testing.T, image string, p partition, name string) {
	t.Helper()
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b[p.Start*sector:(p.Start+p.Size)*sector], 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTutorialExtension(t *testing.T) {
	tutorial := tutorialDir(t)
	image := filepath.Join(tutorial, "mkosi.output/btrfs.raw")
	dir := filepath.Dir(image)
	if r := run(t, reference(dir, "sfdisk", "--verify", image)); r.code != 0 || !strings.Contains(r.stdout, "No errors detected") {
		t.Errorf("sfdisk --verify: %d %s%s", r.code, r.stdout, r.stderr)
	}
	if out := must(t, reference(dir, "sgdisk", "--verify", image)); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk --verify: %s", out)
	}

	parts := partitions(t, image)
	var types []string
	for _, p := range parts {
		types = append(types, p.Type)
	}
	// The Discoverable Partitions Specification's root, verity and verity signature for x86-64.
	want := []string{"4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5", "41092B05-9FC8-4523-994F-2DEF0408B176"}
	if diff := cmp.Diff(want, types); diff != "" {
		t.Fatal(diff)
	}

	work := t.TempDir()
	files := []string{filepath.Join(work, "root"), filepath.Join(work, "verity"), filepath.Join(work, "signature")}
	for i, p := range parts {
		extract(t, image, p, files[i])
	}
	var sig struct{ RootHash, CertificateFingerprint, Signature string }
	b, err := os.ReadFile(files[2])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(bytes.TrimRight(b, "\x00"), &sig); err != nil {
		t.Fatal(err)
	}
	must(t, reference(work, "veritysetup", "verify", files[0], files[1], sig.RootHash))
	if want := strings.ReplaceAll(strings.ToLower(parts[0].UUID+parts[1].UUID), "-", ""); want != sig.RootHash {
		t.Errorf("the partitions' identifiers spell %s, the root hash is %s", want, sig.RootHash)
	}
	checkSignature(t, work, sig.Signature, sig.RootHash, filepath.Join(tutorial, "mkosi.crt"))
	must(t, reference(work, "fsck.erofs", files[0]))
	must(t, reference(dir, "systemd-dissect", "--validate", image))
}

// checkSignature has openssl verify the signature of a root hash.
func checkSignature(t *testing.T, dir, signature, rootHash, certificate string) {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := os.ReadFile(certificate)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"sig.der": der, "hash": []byte(rootHash), "cert.pem": cert} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	verify := func(content string) result {
		return run(t, reference(dir, "openssl", "smime", "-verify", "-binary", "-inform", "DER", "-in", "sig.der", "-content", content,
			"-certfile", "cert.pem", "-nointern", "-CAfile", "cert.pem", "-purpose", "any"))
	}
	if r := verify("hash"); r.code != 0 {
		t.Errorf("openssl does not accept the signature: %s", r.stderr)
	}
	if err := os.WriteFile(filepath.Join(dir, "other"), []byte(strings.Repeat("0", len(rootHash))), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := verify("other"); r.code == 0 {
		t.Error("openssl accepts the signature for another root hash")
	}
}

// listing lists the files of a tree.
func listing(t *testing.T, root string) []string {
	t.Helper()
	var names []string
	err := tree.Walk(t.Context(), root, func(e *tree.Entry) error {
		names = append(names, fmt.Sprintf("%s %o", e.Path, e.Stat.Mode))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// The kernel mounts the extension, and it holds the same files as the reference's, none of which was in the base.
func TestTutorialExtensionFiles(t *testing.T) {
	dir, ref := comparedDirs(t)
	mount := func(image string) string {
		return mountPartition(t, image, partitions(t, image)[0].Start*sector)
	}
	ours := mount(filepath.Join(dir, "mkosi.output/btrfs.raw"))
	theirs := mount(filepath.Join(ref, "mkosi.output/btrfs.raw"))
	if diff := cmp.Diff(listing(t, theirs), listing(t, ours)); diff != "" {
		t.Errorf("the reference's extension (-) and ours (+) differ:\n%s", diff)
	}
	for _, name := range []string{"usr/bin/btrfs", "usr/lib/extension-release.d/extension-release.btrfs"} {
		if _, err := os.Stat(filepath.Join(ours, name)); err != nil {
			t.Error(err)
		}
	}
	err := tree.Walk(t.Context(), ours, func(e *tree.Entry) error {
		inBase, err := os.Lstat(filepath.Join(dir, "mkosi.output/base", e.Path))
		if err == nil && !inBase.IsDir() {
			t.Errorf("%s was already in the base", e.Path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The initrd is the base tree with what makes it an initrd, and nothing else.
func TestTutorialInitrd(t *testing.T) {
	dir, ref := comparedDirs(t)
	list := func(initrd string) []string {
		out := must(t, reference(filepath.Dir(initrd), "sh", "-c", "zstd -dc $0 | cpio -t --quiet", initrd))
		return slices.Sorted(strings.SplitSeq(strings.TrimSpace(out), "\n"))
	}
	ours, theirs := list(filepath.Join(dir, "mkosi.output/initrd.cpio.zst")), list(filepath.Join(ref, "mkosi.output/initrd.cpio.zst"))
	// It holds inode numbers of the build, so a repeatable one is without; ldconfig makes it anew.
	theirs = slices.DeleteFunc(theirs, func(name string) bool { return name == "var/cache/ldconfig/aux-cache" })
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("the reference's initrd (-) and ours (+) hold different files:\n%s", diff)
	}
	unpacked := t.TempDir()
	must(t, reference(filepath.Dir(unpacked), "sh", "-c", "cd $0 && zstd -dc $1 | cpio -idm --quiet", unpacked, copyInto(t, filepath.Dir(unpacked), filepath.Join(dir, "mkosi.output/initrd.cpio.zst"))))
	if target, err := os.Readlink(filepath.Join(unpacked, "etc/initrd-release")); err != nil || target != "/etc/os-release" {
		t.Errorf("initrd-release points to %q (%v)", target, err)
	}
}

func copyInto(t *testing.T, dir, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// The first stage's main image has a root file system that e2fsck and the kernel accept.
func TestTutorialDisk(t *testing.T) {
	image := filepath.Join(tutorialDir(t), "mkosi.output/image.raw")
	parts := partitions(t, image)
	if len(parts) != 1 {
		t.Fatalf("%d partitions", len(parts))
	}
	file := filepath.Join(t.TempDir(), "root")
	extract(t, image, parts[0], file)
	must(t, exec.Command("e2fsck", "-fn", file))
	root := mountPartition(t, image, parts[0].Start*sector)
	if _, err := os.Stat(filepath.Join(root, "usr/bin/bash")); err != nil {
		t.Error(err)
	}
	must(t, reference(filepath.Dir(image), "systemd-dissect", "--validate", image))
}

// The second example: an extension of plain files, with the names that ImageId= and ImageVersion= ask for.
func TestExtensionOfFiles(t *testing.T) {
	dir := t.TempDir()
	if err := copyExample("sysext-files", dir); err != nil {
		t.Fatal(err)
	}
	must(t, mkosi(dir, "genkey"))
	must(t, mkosi(dir, "--force"))
	image := filepath.Join(dir, "mkosi.output/kubernetes_1.30.7.raw")
	must(t, reference(filepath.Dir(image), "systemd-dissect", "--validate", image))
	root := mountPartition(t, image, partitions(t, image)[0].Start*sector)
	for name, mode := range map[string]os.FileMode{
		"usr/local/bin/kubectl": 0o755, "usr/local/bin/kubelet": 0o755,
		"usr/lib/extension-release.d/extension-release.kubernetes_1.30.7": 0o644,
	} {
		fi, err := os.Stat(filepath.Join(root, name))
		if err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, fi, err)
		}
	}
}

// Builds of the same inputs are the same bytes, each of the outputs, whether or not the system comes from the cache.
func TestTutorialIsReproducible(t *testing.T) {
	first := tutorialDir(t)
	dir := filepath.Join(t.TempDir(), "again")
	if err := prepareTutorial(dir); err != nil {
		t.Fatal(err)
	}
	again := func(t *testing.T, options ...string) {
		for _, args := range [][]string{{"--force"}, {"--profile", "initrd"}} {
			cmd := mkosi(dir, slices.Concat(args, []string{"--source-date-epoch", testEpoch}, options)...)
			// Nor does the user's umask make a difference to what is in an image.
			must(t, exec.Command("sh", append([]string{"-c", `umask 077; exec "$@"`, "sh"}, cmd.Args...)...))
		}
		diffs, err := tree.Compare(t.Context(), filepath.Join(first, "mkosi.output"), filepath.Join(dir, "mkosi.output"), tree.CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range diffs {
			// The outputs themselves are files of today and of this user; what is in them is what counts.
			if (d.What == "mtime" || d.What == "mode") && !strings.Contains(d.Path, "/") && d.Path != "base" {
				continue
			}
			t.Errorf("%s: %s: %s, then %s", d.Path, d.What, d.A, d.B)
		}
	}
	t.Run("again", func(t *testing.T) { again(t) })
	t.Run("cached", func(t *testing.T) { again(t, "--incremental=yes") })
	t.Run("from the cache", func(t *testing.T) { again(t, "--incremental=strict") })
}
