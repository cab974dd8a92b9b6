//go:build integration

package test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/disk/fat"
	"github.com/mkosi-go/mkosi/internal/efi/variable"
	"github.com/mkosi-go/mkosi/internal/efi/varstore"
)

// machineRoot is where QEMU and its firmware are, a root that test/setup makes.
func machineRoot() string {
	if root := os.Getenv("MKOSI_MACHINE_ROOT"); root != "" {
		return root
	}
	return "/var/tmp/mkosi-machine"
}

const (
	firmwareCode = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
	emptyVars    = "/usr/share/OVMF/OVMF_VARS_4M.fd"
	microsoft    = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"
)

// vars writes a variable store, made from a template of the firmware, to a file.
func vars(t *testing.T, path, template string, change func(s *varstore.Store) error) {
	t.Helper()
	s, err := varstore.Open(filepath.Join(machineRoot(), template))
	if err != nil {
		t.Fatal(err)
	}
	if err := change(s); err != nil {
		t.Fatal(err)
	}
	b, err := s.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, b, 0o644)
}

// The variable stores that we write are those that virt-fw-vars writes, byte for byte: with our certificate only, and with
// ours for shim beside Microsoft's.
func TestVariableStores(t *testing.T) {
	dir := t.TempDir()
	_, cert := testPair(t, dir)
	vars(t, filepath.Join(dir, "custom.fd"), emptyVars, func(s *varstore.Store) error { return s.Enrol(cert) })
	vars(t, filepath.Join(dir, "mok.fd"), microsoft, func(s *varstore.Store) error { return s.AddMachineOwnerKey(cert) })
	vars(t, filepath.Join(dir, "microsoft.fd"), microsoft, func(*varstore.Store) error { return nil })
	for name, template := range map[string]string{"empty": emptyVars, "ms": microsoft} {
		writeFile(t, filepath.Join(dir, name), readFile(t, filepath.Join(machineRoot(), template)), 0o644)
	}
	const shim = "605dab50-e046-4300-abb6-3dd810dd8b23"
	must(t, reference(dir, "bash", "-euc", strings.Join([]string{
		"virt-fw-vars --input empty --output theirs-custom.fd --enroll-cert mkosi.crt --microsoft-kek none --add-db OvmfEnrollDefaultKeys mkosi.crt --no-microsoft --secure-boot",
		"virt-fw-vars --input ms --output theirs-mok.fd --add-mok " + shim + " mkosi.crt",
		"virt-fw-vars --input ms --output theirs-microsoft.fd --set-false CustomMode",
		"for name in custom mok microsoft; do cmp $name.fd theirs-$name.fd; done",
	}, "\n")))
}

// The keys to enrol are those of bootctl, but for the form of the signature.
func TestEnrolmentLikeBootctl(t *testing.T) {
	dir := t.TempDir()
	key, cert := testPair(t, dir)
	must(t, reference(dir, "bash", "-euc", strings.Join([]string{
		"mkdir -p root/efi root/usr/lib/systemd/boot root/etc",
		"cp -r /usr/lib/systemd/boot/efi root/usr/lib/systemd/boot",
		"echo ID=test >root/etc/os-release",
		"SYSTEMD_RELAX_ESP_CHECKS=1 SOURCE_DATE_EPOCH=1760000000 bootctl install --root=root --esp-path=/efi --install-source=image --no-variables --random-seed=no --secure-boot-auto-enroll=yes --certificate=mkosi.crt --private-key=mkosi.key",
		"cp root/efi/loader/keys/auto/*.auth .",
	}, "\n")))
	files, err := variable.Enrol(key, cert, time.Unix(1760000000, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		ours, err := variable.ParseUpdate(f.Update)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := variable.ParseUpdate(readFile(t, filepath.Join(dir, f.Name)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(theirs.Data, ours.Data); diff != "" || !bytes.HasSuffix(theirs.PKCS7, ours.PKCS7) {
			t.Errorf("%s: %s, signed with %x, not %x", f.Name, diff, ours.PKCS7, theirs.PKCS7)
		}
		id := map[string]variable.ID{"PK.auth": variable.PlatformKey(), "KEK.auth": variable.ExchangeKeys(), "db.auth": variable.Allowed()}[f.Name]
		for _, u := range []*variable.Update{ours, theirs} {
			if _, err := u.Verify(id, variable.KeyAttributes, []*x509.Certificate{cert}); err != nil {
				t.Errorf("%s: %v", f.Name, err)
			}
		}
	}
}

// bootDisk makes a disk with these files, a FAT file system without partitions.
func bootDisk(t *testing.T, path string, files map[string][]byte) {
	t.Helper()
	root := t.TempDir()
	for name, b := range files {
		writeFile(t, filepath.Join(root, name), b, 0o644)
	}
	fatWrite(t, fatPlan(t, root, fat.Options{VolumeID: 1, Label: "ESP", SectorSize: 512}), path, 8<<20)
}

// startMachine starts a machine with Secure Boot, the variable store in dir/vars.fd, and disks of dir, and returns what its
// serial console says. It ends with the context.
func startMachine(ctx context.Context, t *testing.T, dir string, disks ...string) (console io.Reader, wait func() error) {
	t.Helper()
	args := []string{"--share", dir, machineRoot(), "qemu-system-x86_64",
		"-machine", "q35,smm=on,accel=tcg", "-global", "driver=cfi.pflash01,property=secure,value=on", "-m", "256", "-nodefaults", "-no-reboot",
		"-display", "none", "-serial", "stdio",
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=" + firmwareCode,
		"-drive", "if=pflash,format=raw,unit=1,file=" + filepath.Join(dir, "vars.fd")}
	for _, disk := range disks {
		args = append(args, "-drive", "if=virtio,format=raw,file="+filepath.Join(dir, disk))
	}
	cmd := exec.CommandContext(ctx, filepath.Join(project, "test/machine"), args...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return stdout, func() error {
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%w: %s", err, &stderr)
		}
		return nil
	}
}

// A firmware with our variable store has Secure Boot on: it refuses a boot loader without a signature and one with a flipped
// bit, and starts the one that we signed.
func TestSecureBoot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, cert := testPair(t, dir)
	vars(t, filepath.Join(dir, "vars.fd"), emptyVars, func(s *varstore.Store) error { return s.Enrol(cert) })
	unsigned := readFile(t, filepath.Join(referenceRoot(), "usr/lib/systemd/boot/efi/systemd-bootx64.efi"))
	path := filepath.Join(dir, "signed.efi")
	writeFile(t, path, unsigned, 0o644)
	signProgram(t, path, key, cert)
	signed := readFile(t, path)
	flipped := bytes.Clone(signed)
	flipped[len(flipped)/2] ^= 1
	for name, program := range map[string][]byte{"unsigned.raw": unsigned, "flipped.raw": flipped, "signed.raw": signed} {
		bootDisk(t, filepath.Join(dir, name), map[string][]byte{"EFI/BOOT/BOOTX64.EFI": program})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	console, wait := startMachine(ctx, t, dir, "unsigned.raw", "flipped.raw", "signed.raw")
	refused, started := 0, false
	var said strings.Builder
	lines := bufio.NewScanner(console)
	for lines.Scan() && !started {
		line := lines.Text()
		said.WriteString(line + "\n")
		if strings.Contains(line, "failed to load Boot") && strings.Contains(line, "Access Denied") {
			refused++
		}
		started = strings.Contains(line, "starting Boot")
	}
	cancel()
	err := wait()
	if refused != 2 || !started {
		t.Errorf("refused %d boot loaders, started one: %v\n%s%v", refused, started, &said, err)
	}
}

// systemd-boot enrols the keys that we prepare, and the firmware, which is in setup mode, checks their signatures.
func TestEnrolmentBySystemdBoot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, cert := testPair(t, dir)
	vars(t, filepath.Join(dir, "vars.fd"), emptyVars, func(*varstore.Store) error { return nil })
	path := filepath.Join(dir, "signed.efi")
	writeFile(t, path, readFile(t, filepath.Join(referenceRoot(), "usr/lib/systemd/boot/efi/systemd-bootx64.efi")), 0o644)
	signProgram(t, path, key, cert)
	files := map[string][]byte{"EFI/BOOT/BOOTX64.EFI": readFile(t, path), "loader/loader.conf": []byte("secure-boot-enroll force\nsecure-boot-enroll-timeout-sec 0\n")}
	updates, err := variable.Enrol(key, cert, time.Unix(1760000000, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range updates {
		files["loader/keys/auto/"+u.Name] = u.Update
	}
	bootDisk(t, filepath.Join(dir, "esp.raw"), files)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	console, wait := startMachine(ctx, t, dir, "esp.raw")
	// It restarts the machine once the keys are there, which ends it here.
	said, err := io.ReadAll(console)
	if err := errors.Join(err, wait()); err != nil {
		t.Fatalf("%s%v", said, err)
	}
	s, err := varstore.Open(filepath.Join(dir, "vars.fd"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []variable.ID{variable.PlatformKey(), variable.ExchangeKeys(), variable.Allowed()} {
		v, _ := s.Get(id)
		lists, err := variable.ParseLists(v.Data)
		certs := variable.Certificates(lists)
		if err != nil || len(certs) != 1 || !certs[0].Equal(cert) || v.Time.Unix() != 1760000000 {
			t.Errorf("%s has %+v of %v, %v\n%s", id.Name, certs, v.Time, err, said)
		}
	}
}
