//go:build integration

package test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/bootloader"
	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/efi/pe"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// bootctl is what tells bootctl that directories of a tree stand for partitions.
const bootctl = "SYSTEMD_ESP_PATH=/efi SYSTEMD_XBOOTLDR_PATH=/boot SYSTEMD_RELAX_ESP_CHECKS=1 SYSTEMD_RELAX_XBOOTLDR_CHECKS=1 bootctl "

// bootTree makes a tree with directories of the reference root, and two kernels.
func bootTree(t *testing.T, root string, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		must(t, exec.Command("mkdir", "-p", filepath.Join(root, filepath.Dir(dir))))
		must(t, exec.Command("cp", "-a", filepath.Join(referenceRoot(), dir), filepath.Join(root, dir)))
	}
	for name, content := range map[string]string{
		"usr/lib/os-release":          "ID=system\nIMAGE_ID=image\n",
		"etc/machine-id":              "uninitialized\n",
		"usr/lib/modules/6.1/vmlinuz": "kernel",
		"usr/lib/modules/6.2/vmlinuz": "kernel",
		"usr/lib/modules/6.2/a.dtb":   "devicetree",
		"initrds/a.cpio":              "initrd",
		"initrds/b.cpio":              "initrd",
	} {
		must(t, exec.Command("mkdir", "-p", filepath.Join(root, filepath.Dir(name))))
		writeFile(t, filepath.Join(root, name), []byte(content), 0o644)
	}
	must(t, exec.Command("mkdir", "-p", root+"/efi", root+"/boot"))
}

// bootEntries installs the kernels of bootTree.
func bootEntries(t *testing.T, root string) []bootloader.Entry {
	t.Helper()
	entries, err := bootloader.InstallKernels(t.Context(), bootloader.Options{Root: root, Architecture: "x64"},
		[]bootloader.Initrd{{Path: root + "/initrds/a.cpio", Name: "a.cpio"}},
		[]bootloader.Kernel{
			{
				Version: "6.2", Image: "usr/lib/modules/6.2/vmlinuz", Options: `root=LABEL=x a="b $c;d" e{f}g`,
				Initrds:    []bootloader.Initrd{{Path: root + "/initrds/b.cpio", Name: "b c.cpio"}},
				Devicetree: "usr/lib/modules/6.2/a.dtb", DevicetreeName: "vendor/a.dtb",
			},
			{Version: "6.1", Image: "usr/lib/modules/6.1/vmlinuz"},
		})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// What is installed is what bootctl installs, to the mode of every file, and bootctl finds the entries.
func TestSystemdBootLikeBootctl(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
	for _, root := range []string{ours, theirs} {
		bootTree(t, root, "usr/lib/systemd/boot/efi")
	}
	install := "umask 022; " + bootctl + "install --root=" + theirs + " --install-source=image --all-architectures --no-variables"
	list := bootctl + "list --json=short --esp-path=" + ours + "/efi --boot-path=" + ours + "/boot"
	must(t, reference(dir, "bash", "-c", install))
	o := bootloader.Options{Root: ours, Architecture: "x64"}
	if err := bootloader.InstallSystemdBoot(t.Context(), bootloader.SystemdBoot{Options: o}); err != nil {
		t.Fatal(err)
	}
	diffs, err := tree.Compare(t.Context(), theirs, ours, tree.CompareOptions{IgnoreTimes: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range diffs {
		t.Error(d)
	}

	entries := bootEntries(t, ours)
	var found []struct {
		ID, Title, Version, Options, Linux, Devicetree string
		Initrd                                         []string
	}
	text := must(t, reference(dir, "bash", "-c", list))
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if len(found) != len(entries) {
		t.Fatalf("bootctl lists %s", text)
	}
	for n, e := range entries {
		f := found[n]
		if f.ID != e.ID+".conf" || f.Title != e.Title || f.Version != e.Version || f.Options != e.Options || f.Linux != e.Linux ||
			f.Devicetree != e.Devicetree || !slices.Equal(f.Initrd, e.Initrds) {
			t.Errorf("bootctl lists %+v, not %+v", f, e)
		}
	}
}

// grubOptions are for a tree whose grub is made by the grub-mkimage of the reference root.
func grubOptions(root string) bootloader.Grub {
	return bootloader.Grub{
		Options: bootloader.Options{
			Root: root, Architecture: "x64", Shim: true,
			Sign: func(_ context.Context, program []byte) ([]byte, error) { return program, nil },
		},
		Distribution: "debian",
		Run: func(_ context.Context, c program.Command) error {
			cmd := reference(root, c.Args...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, os.Stderr
			return cmd.Run()
		},
	}
}

// What makes a disk start is what grub-bios-setup writes.
func TestGrubLikeBIOSSetup(t *testing.T) {
	dir := t.TempDir()
	bootTree(t, dir, "usr/lib/grub/i386-pc")
	sector, err := bootloader.MakeBootSector(t.Context(), grubOptions(dir))
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := filepath.Join(dir, "theirs.raw"), filepath.Join(dir, "ours.raw")
	const size = 8 << 20
	table := gpt.Table{
		UUID: uuid.UUID{1}, SectorSize: 512, Sectors: size / 512, FirstUsable: 2048, LastUsable: size/512 - 34,
		Partitions: []gpt.Partition{
			{Type: uuid.MustParse("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"), UUID: uuid.UUID{2}, First: 2048, Last: 4095},
			{Type: uuid.MustParse("21686148-6449-6e6f-744e-656564454649"), UUID: uuid.UUID{3}, First: 4096, Last: 8191},
		},
	}
	f, err := os.Create(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if err := table.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	// What an old boot sector holds where a file system would be described, and the signature of the disk, are kept.
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, 446), 0); err != nil {
		t.Fatal(err)
	}
	must(t, exec.Command("cp", ours, theirs))
	if err := sector.Install(f, size); err != nil {
		t.Fatal(err)
	}

	writeFile(t, filepath.Join(dir, "core.img"), sector.Core, 0o644)
	// It looks for the device that its files lie on, and finds no other than those of a kernel's own.
	setup := `set -e; cd ` + dir + `
truncate -s 8M files.raw; mke2fs -q -t ext4 files.raw; mkdir files
disk=$(losetup --find --show theirs.raw); files=$(losetup --find --show files.raw)
trap 'umount files; losetup --detach $disk $files' EXIT
mount -t ext4 $files files; cp core.img usr/lib/grub/i386-pc/boot.img files
/usr/lib/grub/i386-pc/grub-bios-setup --no-rs-codes --directory=files $disk`
	must(t, reference(dir, "bash", "-c", setup))
	want, got := readFile(t, theirs), readFile(t, ours)
	if !bytes.Equal(want, got) {
		for n := range want {
			if want[n] != got[n] {
				t.Fatalf("grub-bios-setup writes %#x at %#x, not %#x", want[n], n, got[n])
			}
		}
	}
}

// grub for EFI is a program that shim starts, and its configuration is in its language.
func TestGrubEFI(t *testing.T) {
	dir := t.TempDir()
	bootTree(t, dir, "usr/lib/grub/x86_64-efi")
	if err := bootloader.InstallGrubEFI(t.Context(), grubOptions(dir)); err != nil {
		t.Fatal(err)
	}
	sections := func(name string) map[string]string {
		b := readFile(t, filepath.Join(dir, name))
		f, err := pe.Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		found := map[string]string{}
		for _, s := range f.Sections {
			found[s.Name] = string(bytes.TrimRight(b[s.Offset:][:s.Used()], "\x00"))
		}
		return found
	}
	made, built := sections("efi/EFI/BOOT/grubx64.EFI"), sections("usr/lib/grub/x86_64-efi/monolithic/grubx64.efi")
	if made[".sbat"] != built[".sbat"] || !strings.HasPrefix(made[".sbat"], "sbat,") {
		t.Errorf("grub has the section .sbat %q, and the distribution's %q", made[".sbat"], built[".sbat"])
	}
	if !strings.Contains(made["mods"], "search --no-floppy --set=root --file /grub/grub.cfg\n") {
		t.Error("grub does not look for its configuration")
	}

	entries := bootEntries(t, dir)
	menus := bootloader.GrubMenus{
		EFI:        append([]bootloader.Entry{{ID: `"$x"`, UKI: "/EFI/Linux/a b.efi"}}, entries...),
		BIOS:       entries,
		RootOption: "root=PARTUUID=x",
	}
	if err := bootloader.WriteGrubConfig(dir, menus); err != nil {
		t.Fatal(err)
	}
	must(t, reference(dir, "grub-script-check", dir+"/efi/grub/grub.cfg"))
}
