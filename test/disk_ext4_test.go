//go:build integration

package test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/resources"
)

// diskExt4Options builds the default disk image of a tree.
func diskExt4Options(t *testing.T, dir, root string) disk.Options {
	t.Helper()
	fsys, err := resources.Repart("disk")
	if err != nil {
		t.Fatal(err)
	}
	defs, err := repart.ParseDefinitions(fsys, "x86-64")
	if err != nil {
		t.Fatal(err)
	}
	return disk.Options{Path: filepath.Join(dir, "image.raw"), Root: root, Definitions: defs, Seed: diskSeed}
}

// diskCheckExt4 has e2fsck look for anything that is not as it should be, that
// of the reference and the one of this machine.
func diskCheckExt4(t *testing.T, image string, p disk.Partition) {
	t.Helper()
	dir := filepath.Dir(image)
	args := []string{"e2fsck", "-f", "-n", fmt.Sprintf("%s?offset=%d", image, p.Offset)}
	for _, cmd := range []*exec.Cmd{reference(dir, args...), exec.Command("/usr/sbin/"+args[0], args[1:]...)} {
		if r := run(t, cmd); r.code != 0 {
			t.Errorf("e2fsck: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	}
}

func TestDiskExt4(t *testing.T) {
	root := diskTree(t)
	dir := filepath.Dir(root)
	o := diskExt4Options(t, dir, root)
	r := diskBuild(t, o)
	diskTable(t, o.Path, r)
	diskCheckExt4(t, o.Path, r.Partitions[0])
	mount := mountPartition(t, o.Path, r.Partitions[0].Offset)
	// The top has attributes and lost+found beside what it had; the content of
	// these folders does not belong into an image.
	diskCompare(t, root, mount, "", ".", "lost+found", "proc/1", "proc/1/exe", "tmp/rubbish", "var/tmp/x")
	for _, name := range []string{"proc", "tmp", "var/tmp"} {
		if entries, err := os.ReadDir(filepath.Join(mount, name)); err != nil || len(entries) != 0 {
			t.Errorf("%s holds %v, %v", name, entries, err)
		}
	}
	// As many bytes as systemd-repart would set aside, but for what its
	// scattering of inodes over a file system of 1 TiB costs.
	theirs := filepath.Join(dir, "theirs.raw")
	diskRepart(t, dir, root, diskDefinitions(t, dir, "disk"), theirs)
	a, b := partitions(t, o.Path)[0], partitions(t, theirs)[0]
	if a.Start != b.Start || a.Type != b.Type || a.UUID != b.UUID || a.Name != b.Name || a.Size < b.Size*9/10 || a.Size > b.Size*11/10 {
		t.Errorf("partition %v, systemd-repart's %v", a, b)
	}
}

// Files and folders that need more than the simplest forms of everything: many
// groups, many extents, folders of many blocks.
func TestDiskExt4Large(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	many := filepath.Join(root, "many")
	if err := os.MkdirAll(many, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 20000 {
		name := fmt.Sprintf("%05d-%s", i, strings.Repeat("n", i%100))
		if err := os.WriteFile(filepath.Join(many, name), []byte(name[:i%5]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(root, "large"))
	if err != nil {
		t.Fatal(err)
	}
	chunk := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for i := range 700 {
		copy(chunk, fmt.Sprint(i, "-------"))
		if _, err := f.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	o := diskExt4Options(t, dir, root)
	r := diskBuild(t, o)
	diskCheckExt4(t, o.Path, r.Partitions[0])
	mount := mountPartition(t, o.Path, r.Partitions[0].Offset)
	diskCompare(t, root, mount, "", ".", "lost+found")
}

func TestDiskExt4Twice(t *testing.T) {
	root, dir := diskTree(t), t.TempDir()
	epoch := int64(1690000000)
	o := diskExt4Options(t, dir, root)
	o.SourceDateEpoch = &epoch
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

// A mke2fs that fails, and one that does nothing, are errors.
func TestDiskExt4BadMke2fs(t *testing.T) {
	o := diskExt4Options(t, t.TempDir(), diskTree(t))
	o.Run = func(ctx context.Context, c program.Command) error {
		c.Args = []string{c.Args[0], "--no-such-option"}
		return program.Run(ctx, c)
	}
	if _, err := disk.Build(t.Context(), o); err == nil || !strings.Contains(err.Error(), "mke2fs") || !strings.Contains(err.Error(), "option") {
		t.Errorf("failing mke2fs: %v", err)
	}
	o.Path += ".second"
	o.Run = func(context.Context, program.Command) error { return nil }
	if _, err := disk.Build(t.Context(), o); err == nil || !strings.Contains(err.Error(), "mke2fs") {
		t.Errorf("mke2fs that does nothing: %v", err)
	}
}

// A newer mke2fs, that of the reference, makes the same bytes.
func TestDiskExt4OtherMke2fs(t *testing.T) {
	root, dir := diskTree(t), t.TempDir()
	o := diskExt4Options(t, dir, root)
	diskBuild(t, o)
	first, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	o.Path = filepath.Join(dir, "second.raw")
	o.Run = func(_ context.Context, c program.Command) error {
		must(t, reference(dir, append(append([]string{"env"}, c.Env...), c.Args...)...))
		return nil
	}
	r := diskBuild(t, o)
	diskCheckExt4(t, o.Path, r.Partitions[0])
	second, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	if i := diskFirstDifference(first, second); i >= 0 {
		t.Errorf("the images differ from byte %d of the file system on", int64(i)-r.Partitions[0].Offset)
	}
}

// diskFirstDifference is where two images of the same size differ; -1 when
// they are the same.
func diskFirstDifference(a, b []byte) int {
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// The kernel can work in the file system: write to it, fill folders up and
// empty them, through the journal that mke2fs made.
func TestDiskExt4Writable(t *testing.T) {
	root, dir := diskTree(t), t.TempDir()
	o := diskExt4Options(t, dir, root)
	// With room to work in: the file system is as large as the partition.
	size := uint64(400 << 20)
	o.Definitions[0].Minimize, o.Definitions[0].SizeMin = repart.MinimizeOff, &size
	r := diskBuild(t, o)
	at := filepath.Join(dir, "mount")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	must(t, exec.Command("mount", "-o", fmt.Sprintf("loop,offset=%d", r.Partitions[0].Offset), o.Path, at))
	work := exec.Command("sh", "-ec", `
		cd "$0"
		mkdir new lost+found/x
		i=0
		while [ $i -lt 300 ]; do echo $i >"usr/share/many/another fairly long name $i"; i=$((i+1)); done
		rm usr/share/many/*007* opt/block usr/share/size-5000000
		cp -a usr/share/many new/
		head -c 3000000 /dev/zero >new/zero
		touch usr/share/size-0
		rm -r opt/a/other-name new/many`, at)
	result := run(t, work)
	must(t, exec.Command("umount", at))
	if result.code != 0 {
		t.Fatalf("working in the file system: %s", result.stderr)
	}
	diskCheckExt4(t, o.Path, r.Partitions[0])
}
