//go:build integration

package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestVmspawnTakesItsOptions starts the systemd-vmspawn of the reference root, which has no QEMU, for machines of several
// kinds. It reads all options and credentials before it says what it spawns, and then fails: mkosi must say why.
func TestVmspawnTakesItsOptions(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "mkosi.conf"), []byte("[Output]\nFormat=disk\n[Runtime]\nVirtualMachineMonitor=vmspawn\nMachine=spawned\nCredentials=a=b\nRuntimeTrees=.\n"), 0o644)
	image := filepath.Join(dir, "image.raw")
	writeFile(t, image, nil, 0o644)
	writeFile(t, filepath.Join(dir, "kernel"), []byte("kernel"), 0o644)
	if err := os.Truncate(image, 1<<20); err != nil {
		t.Fatal(err)
	}
	vm := func(args ...string) result {
		t.Helper()
		r := run(t, mkosi(dir, append([]string{"--tools-tree", referenceRoot()}, args...)...))
		if r.code != 1 {
			t.Errorf("%v: exit code %d\n%s", args, r.code, r.stderr)
		}
		return r
	}
	for _, options := range []string{
		"",
		"--firmware=uefi --disk-type=nvme --ephemeral=yes --console=headless --runtime-network=none",
		"--firmware=linux --linux=kernel --tpm=no --kvm=no --vsock=no --vsock-cid=77 --maxmem=4G --forward-journal=journal",
	} {
		r := vm(append(strings.Fields(options), "vm")...)
		if !strings.Contains(r.stderr, "Spawning VM spawned on "+image) || strings.Count(r.stderr, "\n") < 2 {
			t.Errorf("%s: systemd-vmspawn did not come to start a machine, or does not say why it failed:\n%s", options, r.stderr)
		}
	}
	if r := vm("vm", "--", "--no-such-option"); !strings.Contains(r.stderr, "no-such-option") || strings.Contains(r.stderr, "Spawning") {
		t.Errorf("an option that does not exist:\n%s", r.stderr)
	}
}
