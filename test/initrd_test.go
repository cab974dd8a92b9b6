//go:build integration

package test

import (
	"bytes"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/archive"
)

// initrdFiles are what the profiles of the default initrd are for: files that Debian's packages bring, and settings of the
// built-in configuration. The empty name stands for every initrd.
var initrdFiles = map[string][]string{
	"":         {"init", "etc/initrd-release", "usr/lib/systemd/systemd", "usr/lib/systemd/systemd-udevd", "usr/lib/systemd/systemd-cryptsetup", "usr/sbin/fsck.ext4"},
	"lvm":      {"usr/sbin/lvm", "usr/lib/udev/rules.d/69-lvm.rules"},
	"network":  {"usr/lib/systemd/systemd-networkd", "usr/lib/systemd/systemd-resolved", "usr/lib/systemd/network/99-mkosi-initrd.network", "etc/systemd/system/multi-user.target.wants/systemd-networkd.service", "etc/systemd/system/sysinit.target.wants/systemd-network-generator.service"},
	"nfs":      {"usr/sbin/mount.nfs", "usr/sbin/mount.nfs4"},
	"pkcs11":   {"usr/bin/p11-kit", "usr/lib/x86_64-linux-gnu/libp11-kit.so.0", "usr/lib/x86_64-linux-gnu/cryptsetup/libcryptsetup-token-systemd-pkcs11.so"},
	"plymouth": {"usr/sbin/plymouthd", "usr/share/plymouth/plymouthd.defaults", "usr/lib/systemd/system/plymouth-start.service", "usr/share/plymouth/themes/spinner/spinner.plymouth"},
	"raid":     {"usr/sbin/mdadm", "usr/lib/udev/rules.d/64-md-raid-assembly.rules", "etc/mdadm.conf.d/50-mkosi-initrd.conf", "etc/mdadm/mdadm.conf.d/50-mkosi-initrd.conf", "usr/lib/udev/rules.d/10-mkosi-initrd-raid.rules"},
}

// The default initrd has what each of its profiles is for, takes mkosi.initrd.conf into account, and comes out of the cache
// when it is built a second time.
func TestInitrdProfiles(t *testing.T) {
	dir, err := os.MkdirTemp(sharedDir, "initrd-")
	if err != nil {
		t.Fatal(err)
	}
	loaderBase(t, filepath.Join(dir, "base"))
	profiles := slices.Sorted(maps.Keys(initrdFiles))[1:]
	writeTree(t, dir, map[string]string{
		"mkosi.conf": debianDirectory + "[Content]\nBaseTrees=base\nBootable=yes\nBootloader=none\nInitrdProfiles=" + strings.Join(profiles, ",") +
			"\nSourceDateEpoch=" + testEpoch + "\n[Build]\nCacheDirectory=mkosi.cache\nIncremental=yes\n",
		"mkosi.initrd.conf": "[Output]\nCompressLevel=1\n[Content]\nExtraTrees=added:/etc/added\nRemoveFiles=/usr/bin/less\n",
		"added":             "by mkosi.initrd.conf\n",
	})
	plan := func(args ...string) string {
		t.Helper()
		_, text, found := strings.Cut(planOf(t, dir, args...), "IMAGE default-initrd\n")
		if !found {
			t.Fatal("the default initrd is not in the plan")
		}
		text, _, _ = strings.Cut(text, "\n\n")
		return strings.TrimSuffix(text, "\n")
	}
	must(t, mkosi(dir))
	initrd := filepath.Join(dir, "mkosi.output/initrd.cpio.zst")
	first := readFile(t, initrd)
	files := filesInInitrd(t, first)
	for profile, names := range initrdFiles {
		for _, name := range names {
			if !files[name] {
				t.Errorf("profile %q: there is no %s", profile, name)
			}
		}
	}
	if !files["etc/added"] || files["usr/bin/less"] {
		t.Errorf("mkosi.initrd.conf: the file that it adds is there: %v; the one that it removes: %v", files["etc/added"], files["usr/bin/less"])
	}

	if diff := cmp.Diff("  hit  system\n  run  image", plan()); diff != "" {
		t.Errorf("the plan: %s", diff)
	}
	r := run(t, mkosi(dir, "--force", "--incremental=strict"))
	if r.code != 0 || strings.Contains(r.stderr, "installing") {
		t.Errorf("the second build: exit code %d\n%s", r.code, r.stderr)
	}
	if !bytes.Equal(first, readFile(t, initrd)) {
		t.Error("the initrd from the cache differs")
	}
	if diff := cmp.Diff("  miss  system  Packages= gained nano\n  run   image", plan("--initrd-package=nano")); diff != "" {
		t.Errorf("the plan with another package: %s", diff)
	}
}

// filesInInitrd returns the names in a compressed initrd.
func filesInInitrd(t *testing.T, initrd []byte) map[string]bool {
	t.Helper()
	z, _, err := archive.NewReader(bytes.NewReader(initrd))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files := map[string]bool{}
	for r := archive.NewCPIOReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = true
	}
}
