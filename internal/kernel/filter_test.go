package kernel

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// listFiles returns the paths in a tree, directories that hold something
// excepted.
func listFiles(t testing.TB, root string) []string {
	t.Helper()
	var list []string
	must(t, fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			list = append(list, name)
			return err
		}
		if entries, err := os.ReadDir(filepath.Join(root, name)); err != nil || len(entries) == 0 {
			list = append(list, name+"/")
		}
		return nil
	}))
	return list
}

func TestFilterTree(t *testing.T) {
	root := plantModules(t)
	must(t, os.CopyFS(root, os.DirFS(plant(t, "usr/lib/modules/6.9/kernel/usb.ko | "+ko("firmware=other/z.bin"), "usr/lib/modules/6.9/kernel/old/ext4.ko | "+ko()))))
	before := listFiles(t, root)
	if done, err := FilterTree(t.Context(), root, Settings{}); err != nil || done.Versions != nil {
		t.Fatalf("without settings it removed from %v (%v)", done.Versions, err)
	}
	if diff := cmp.Diff(before, listFiles(t, root)); diff != "" {
		t.Error(diff)
	}

	done, err := FilterTree(t.Context(), root, Settings{Modules: []string{"ext4", "usb", "Snd2"}})
	must(t, err)
	want := Filtered{Versions: []string{"6.12.1-x"}, Modules: 13, Firmware: 17, Missing: []string{"Snd2 needs the module missingmod, which is not there"}}
	if diff := cmp.Diff(want, done); diff != "" {
		t.Error(diff)
	}
	kept := []string{
		"etc/passwd",
		"usr/lib/firmware/amd-ucode/microcode_amd.bin",
		"usr/lib/firmware/fw/builtin.bin",
		"usr/lib/firmware/intel-ucode/06-55-07",
		"usr/lib/firmware/other/z.bin",
		"usr/lib/modules/6.9/kernel/old/ext4.ko",
		"usr/lib/modules/6.9/kernel/usb.ko",
		"usr/lib/modules/spl.ko",
	}
	for _, name := range []string{
		"kernel/crypto/lz4-x.ko", "kernel/crypto/lzo.ko", "kernel/drivers/block/zram/", "kernel/drivers/cdrom/", "kernel/fs/ext4/ext4.ko", "kernel/fs/xfs/",
		"kernel/lib/", "kernel/mm/", "kernel/net/wifi/", "kernel/sound/Snd2.ko", "modules.alias", "modules.builtin", "modules.builtin.modinfo",
		"updates/dkms/", "vdso/vdso64.so", "vmlinuz",
	} {
		kept = append(kept, "usr/lib/modules/6.12.1-x/"+name)
	}
	slices.Sort(kept)
	got := listFiles(t, root)
	slices.Sort(got)
	if diff := cmp.Diff(kept, got); diff != "" {
		t.Error(diff)
	}
}

// TestFilterTreeBehindLinks has the directories elsewhere, and one outside that
// must not be touched.
func TestFilterTreeBehindLinks(t *testing.T) {
	outside := plant(t, "1/kernel/a.ko | "+ko(), "fw.bin")
	root := plant(t,
		"lib/modules/1/kernel/a.ko | "+ko("firmware=x.bin"),
		"lib/modules/1/kernel/b.ko | "+ko(),
		"lib/modules/2 -> "+outside+"/1",
		"usr/lib/modules -> ../../lib/modules",
		"usr/lib/firmware -> /opt/fw",
		"opt/fw/x.bin", "opt/fw/y.bin", "opt/fw/out -> "+outside,
	)
	done, err := FilterTree(t.Context(), root, Settings{Modules: []string{"a"}})
	must(t, err)
	if done.Modules != 1 || done.Firmware != 2 {
		t.Errorf("it removed %+v", done)
	}
	got := listFiles(t, root)
	want := []string{"lib/modules/1/kernel/a.ko", "lib/modules/2", "opt/fw/x.bin", "usr/lib/firmware", "usr/lib/modules"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := strings.Join(listFiles(t, outside), " "); got != "1/kernel/a.ko fw.bin" {
		t.Errorf("outside there is %s", got)
	}
}
