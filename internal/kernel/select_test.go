package kernel

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/archive"
)

func compressed(t testing.TB, c archive.Compression, text string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := archive.NewWriter(&b, c, 0)
	must(t, err)
	_, err = w.Write([]byte(text))
	must(t, err)
	must(t, w.Close())
	return b.String()
}

// plantModules makes a tree with a kernel called 6.12.1-x, modules of every kind
// and firmware.
func plantModules(t testing.TB) string {
	t.Helper()
	const m, f = "usr/lib/modules/6.12.1-x/", "usr/lib/firmware/"
	return plant(t,
		m+"kernel/drivers/block/loop.ko | "+ko("depends=cdrom"),
		m+"kernel/drivers/cdrom/cdrom.ko | "+ko("depends="),
		m+"kernel/drivers/block/brd.ko.xz | "+compressed(t, archive.XZ, ko("depends=")),
		m+"kernel/drivers/block/zram/zram.ko.zst | "+compressed(t, archive.Zstd, ko("depends=zsm-alloc", "softdep=pre: lzo post: lz4_x")),
		m+"kernel/mm/zsm_alloc.ko.gz | "+compressed(t, archive.Gzip, ko()),
		m+"kernel/crypto/lzo.ko | "+ko(),
		m+"kernel/crypto/lz4-x.ko | "+ko(),
		m+"kernel/crypto/weak.ko | "+ko("weakdep=lzo zweak absent"),
		m+"kernel/crypto/zweak.ko | "+ko(),
		m+"kernel/fs/xfs/xfs.ko | "+ko("depends=libx", "firmware=fw/a.bin"),
		m+"kernel/lib/libx.ko | "+ko("firmware=fw/b.bin", "firmware=fw/deep/c*.bin", "firmware=fw/comp.bin", "firmware=fw/lnk.bin",
			"firmware=fw/missing.bin", "firmware=fw/upd.bin", "firmware=fw/dirlnk/e.bin", "firmware=../../../etc/passwd", "firmware=fw/ver.bin"),
		m+"kernel/fs/ext4/ext4.ko | "+ko("softdep=pre: crypto-lzo platform:lz4-x"),
		m+"kernel/net/sock_diag.ko | "+ko("depends=bltin"),
		m+"kernel/net/wifi/foo-bar.ko | "+ko("depends=libx"),
		m+"kernel/sound/Snd2.ko | "+ko("depends=missingmod"),
		m+"updates/dkms/zfs.ko | "+ko("depends=spl"),
		m+"updates/dkms/spl.ko -> ../../../spl.ko",
		"usr/lib/modules/spl.ko | "+ko(),
		m+"modules.builtin | kernel/drivers/base/bltin.ko\n",
		m+"modules.builtin.modinfo | bltin.firmware=fw/builtin.bin\x00bltin.license=GPL\x00",
		m+"modules.alias | # Aliases\nalias pci:v* xfs\nalias crypto-lzo lzo\nalias platform:lz4_x lz4_x\n",
		m+"vmlinuz",
		m+"vdso/vdso64.so",
		f+"fw/a.bin", f+"fw/b.bin", f+"fw/deep/c1.bin", f+"fw/deep/c2.bin.xz", f+"fw/deep/d.bin", f+"fw/deep/c/c.bin",
		f+"fw/comp.bin.zst", f+"fw/builtin.bin", f+"fw/real.bin", f+"fw/lnk.bin -> real.bin",
		f+"updates/fw/upd.bin", f+"6.12.1-x/fw/ver.bin", f+"fw/unused.bin",
		f+"fw/realdir/e.bin", f+"fw/dirlnk -> realdir", f+"other/z.bin", f+"fw/viaother.bin -> /usr/lib/firmware/other/z.bin",
		f+"fw/nowhere.bin -> gone", f+"fw/round -> round",
		f+"intel-ucode/06-55-07", f+"amd-ucode/microcode_amd.bin",
		"etc/passwd",
	)
}

// What xfs needs besides itself, what libx needs, and what the kernel does.
const (
	libx    = "M/kernel/lib/libx.ko F/6.12.1-x/fw/ver.bin F/fw/b.bin F/fw/builtin.bin F/fw/comp.bin.zst F/fw/deep/c1.bin F/fw/deep/c2.bin.xz F/fw/dirlnk F/fw/lnk.bin F/fw/real.bin F/fw/realdir/e.bin F/updates/fw/upd.bin"
	needXFS = libx + " F/fw/a.bin"
	builtin = "F/fw/builtin.bin"
)

func TestSelect(t *testing.T) {
	root := plantModules(t)
	for name, test := range map[string]struct {
		s    Settings
		want string
	}{
		"loop":     {Settings{Modules: []string{"loop"}}, "M/kernel/drivers/block/loop.ko M/kernel/drivers/cdrom/cdrom.ko " + builtin},
		"xfs":      {Settings{Modules: []string{"xfs"}}, "M/kernel/fs/xfs/xfs.ko " + needXFS},
		"nothing":  {Settings{Modules: []string{"-loop"}}, builtin},
		"excluded": {Settings{Modules: []string{"sound/", "-Snd2"}}, builtin},
		"again":    {Settings{Modules: []string{"-brd", "block/", "-zram", "-loop"}}, "M/kernel/drivers/block/brd.ko.xz " + builtin},
		"needed although excluded": {Settings{Modules: []string{"xfs", "-libx"}},
			"M/kernel/fs/xfs/xfs.ko " + needXFS},
		"soft dependencies": {Settings{Modules: []string{"zram"}},
			"M/kernel/drivers/block/zram/zram.ko.zst M/kernel/mm/zsm_alloc.ko.gz M/kernel/crypto/lzo.ko M/kernel/crypto/lz4-x.ko " + builtin},
		"weak dependencies": {Settings{Modules: []string{"weak"}}, "M/kernel/crypto/weak.ko M/kernel/crypto/zweak.ko M/kernel/crypto/lzo.ko " + builtin},
		"alias":             {Settings{Modules: []string{"ext4"}}, "M/kernel/fs/ext4/ext4.ko M/kernel/crypto/lzo.ko M/kernel/crypto/lz4-x.ko " + builtin},
		"built in":          {Settings{Modules: []string{"sock-diag"}}, "M/kernel/net/sock_diag.ko " + builtin},
		"link":              {Settings{Modules: []string{"zfs"}}, "M/updates/dkms/zfs.ko M/updates/dkms/spl.ko usr/lib/modules/spl.ko " + builtin},
		"host": {Settings{Modules: []string{"host", "-cdrom"}, Loaded: func() ([]string, error) { return []string{"sock_diag", "brd", "cdrom"}, nil }},
			"M/kernel/net/sock_diag.ko M/kernel/drivers/block/brd.ko.xz " + builtin},
		"host besides": {Settings{Modules: []string{"brd"}, HostModules: true, Loaded: func() ([]string, error) { return []string{"sock_diag"}, nil }},
			"M/kernel/net/sock_diag.ko M/kernel/drivers/block/brd.ko.xz " + builtin},
		"old exclusion": {Settings{Modules: []string{"re:^net/sock", "re:xfs"}, ModulesExclude: []string{"re:.", "re:xfs"}},
			"M/kernel/net/sock_diag.ko M/kernel/fs/xfs/xfs.ko " + needXFS},
		"old exclusion alone": {Settings{ModulesExclude: []string{"re:^(drivers|crypto|net|sound|fs|updates)/"}},
			"M/kernel/mm/zsm_alloc.ko.gz " + libx},
		"firmware": {Settings{Modules: []string{"brd"}, Firmware: []string{"via*", "/fw/unused.bin"}},
			"M/kernel/drivers/block/brd.ko.xz F/fw/viaother.bin F/other/z.bin F/fw/unused.bin " + builtin},
		"firmware that is needed, and not wanted": {Settings{Modules: []string{"xfs"}, Firmware: []string{"-fw/", "fw/a.bin"}},
			"M/kernel/fs/xfs/xfs.ko M/kernel/lib/libx.ko F/fw/a.bin"},
		"old exclusion of firmware": {Settings{Modules: []string{"brd"}, Firmware: []string{"re:unus"}, FirmwareExclude: []string{"re:fw/", "re:unused"}},
			"M/kernel/drivers/block/brd.ko.xz F/fw/unused.bin"},
		"regular expressions of firmware": {Settings{Modules: []string{"brd"}, Firmware: []string{`re:c2.bin.xz$`, "re:^fw/realdir/e", "re:^usr", "re:^deep", "re:^fw/deep/d.bin$"}},
			"M/kernel/drivers/block/brd.ko.xz F/fw/deep/c2.bin.xz F/fw/realdir/e.bin F/fw/deep/d.bin " + builtin},
		"links to nowhere": {Settings{Modules: []string{"brd"}, Firmware: []string{"nowhere.bin", "round"}}, "M/kernel/drivers/block/brd.ko.xz " + builtin},
	} {
		sel, err := Select(t.Context(), root, Kernel{Version: "6.12.1-x"}, test.s)
		must(t, err)
		want, got := map[string]bool{}, map[string]bool{}
		for _, p := range strings.Fields(test.want) {
			p = strings.Replace(p, "M/", "usr/lib/modules/6.12.1-x/", 1)
			want[strings.Replace(p, "F/", "usr/lib/firmware/", 1)] = true
		}
		for _, p := range append(sel.Modules, sel.Firmware...) {
			got[p] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSelectAll(t *testing.T) {
	root := plantModules(t)
	sel, err := Select(t.Context(), root, Kernel{Version: "6.12.1-x"}, Settings{})
	must(t, err)
	if len(sel.Modules) != 18 {
		t.Errorf("selected %d modules of 17 and one behind a link: %q", len(sel.Modules), sel.Modules)
	}
	if diff := cmp.Diff([]string{"Snd2 needs the module missingmod, which is not there"}, sel.Missing); diff != "" {
		t.Error(diff)
	}
	// Without firmware nothing has to be read.
	must(t, os.RemoveAll(filepath.Join(root, "usr/lib/firmware")))
	must(t, os.WriteFile(filepath.Join(root, "usr/lib/modules/6.12.1-x/kernel/broken.ko"), []byte("no module"), 0o644))
	if sel, err := Select(t.Context(), root, Kernel{Version: "6.12.1-x"}, Settings{}); err != nil || len(sel.Modules) != 19 || sel.Firmware != nil {
		t.Errorf("without firmware: %d modules, %q (%v)", len(sel.Modules), sel.Firmware, err)
	}
}

// plantBroken makes a tree whose kernel 1 has one module that is sound, beside
// what is left of modules in real ones.
func plantBroken(t testing.TB) string {
	t.Helper()
	const m = "usr/lib/modules/1/"
	sound := compressed(t, archive.XZ, ko())
	return plant(t,
		m+"kernel/sound.ko.xz | "+sound, m+"weak-updates/sound.ko.xz -> ../kernel/sound.ko.xz",
		m+"weak-updates/gone.ko -> /lib/modules/0/extra/gone.ko", m+"weak-updates/round.ko -> round.ko",
		m+"updates/empty.ko | ", m+"updates/empty_xz.ko.xz | ", m+"updates/cut.ko.xz | "+sound[:len(sound)/2],
		m+"updates/text.ko | no module", m+"updates/place.ko -> ..", m+"updates/dir.ko/",
		"usr/lib/firmware/a.bin",
	)
}

func TestSelectPassesOverBrokenModules(t *testing.T) {
	root := plantBroken(t)
	sel, err := Select(t.Context(), root, Kernel{Version: "1"}, Settings{})
	must(t, err)
	const m = "usr/lib/modules/1/"
	want := Selection{
		Modules: []string{m + "kernel/sound.ko.xz", m + "updates/cut.ko.xz", m + "updates/empty.ko", m + "updates/empty_xz.ko.xz", m + "updates/text.ko", m + "weak-updates/sound.ko.xz"},
		Missing: []string{m + "updates/place.ko is a link to a module that is not there",
			m + "weak-updates/gone.ko is a link to a module that is not there", m + "weak-updates/round.ko is a link to a module that is not there"},
		Broken: []string{
			m + "updates/cut.ko.xz: xz: data is truncated or corrupt",
			m + "updates/empty.ko: not a kernel module",
			m + "updates/empty_xz.ko.xz: not a kernel module",
			m + "updates/text.ko: not a kernel module",
		},
	}
	if diff := cmp.Diff(want, sel); diff != "" {
		t.Error(diff)
	}
	// A pattern of them all leaves the tree as it is, but for the links to nowhere.
	done, err := FilterTree(t.Context(), root, Settings{Modules: []string{"*"}, Firmware: []string{"a.bin"}})
	must(t, err)
	if diff := cmp.Diff(Filtered{Versions: []string{"1"}, Modules: 3, Missing: want.Missing, Broken: want.Broken}, done); diff != "" {
		t.Error(diff)
	}
	// What no pattern is about is not looked at.
	sel, err = Select(t.Context(), root, Kernel{Version: "1"}, Settings{Modules: []string{"/sound"}})
	must(t, err)
	if diff := cmp.Diff(Selection{Modules: want.Modules[:1]}, sel); diff != "" {
		t.Error(diff)
	}
}

func TestSelectHostWithoutModules(t *testing.T) {
	root := plantModules(t)
	loaded := func() ([]string, error) { return nil, errors.New("no modules here") }
	_, err := Select(t.Context(), root, Kernel{Version: "6.12.1-x"}, Settings{Modules: []string{"host"}, Loaded: loaded})
	if err == nil || !strings.Contains(err.Error(), "no modules here") {
		t.Errorf("got %v", err)
	}
}

func TestLoadedModules(t *testing.T) {
	const text = "snd_hda 45056 1 - Live 0x0000000000000000\nloop 40960 0 - Live 0x0\n"
	if diff := cmp.Diff([]string{"snd_hda", "loop"}, LoadedModules(text)); diff != "" {
		t.Error(diff)
	}
}
