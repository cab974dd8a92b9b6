//go:build integration

package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// bootCase is a boot that is not part of every run.
type bootCase struct {
	name string
	run  func(t *testing.T)
}

// bootCases are the ways to boot beside those of the examples.
func bootCases() []bootCase {
	return []bootCase{
		{"newer-firmware", testNewerFirmware},
		{"bios-grub", testBIOSGrub},
		{"directory", testDirectory},
		{"uefi-grub", variantTest("uefi-grub", []string{"Bootloader=grub"}, nil,
			"test -d /sys/firmware/efi && bootctl status && ! test -e /boot/EFI/systemd && ls -R /boot")},
		{"shim", variantTest("shim",
			[]string{"Bootloader=systemd-boot-signed", "ShimBootloader=signed", "UnifiedKernelImages=unsigned", "[Validation]", "SecureBoot=yes", "[Runtime]", "FirmwareVariables=microsoft-mok"}, nil,
			"bootctl status | tee status && grep 'Secure Boot: enabled (user)' status && ls /sys/firmware/efi/efivars/MokListRT-*")},
		{"type1", variantTest("type1", []string{"Bootloader=systemd-boot", "UnifiedKernelImages=none"}, nil,
			`bootctl status --no-pager && grep initrd= /proc/cmdline && ls /boot/loader/entries/*.conf`)},
		{"initrd-profiles", variantTest("initrd-profiles",
			[]string{"Bootloader=systemd-boot", "Initrds=", "Initrds=default", "InitrdProfiles=network,lvm,raid", "KernelInitrdModules=virtio_net,raid1,dm_mod"}, nil,
			`journalctl -b --no-pager -o cat | sed '/Switching root/q' >initrd
grep 'Switching root' initrd && grep 'Started systemd-networkd' initrd && grep 'Started systemd-resolved' initrd`)},
		{"uki", variantTest("uki", []string{"Initrds=", "[Output]", "Format=uki", "[Runtime]", "RAM=3G"}, nil,
			`[ "$(findmnt --noheadings --output FSTYPE /)" = rootfs ] || [ "$(findmnt --noheadings --output FSTYPE /)" = tmpfs ]`)},
		{"addon", testAddon},
		{"profile", variantTest("profile", []string{"Bootloader=systemd-boot", "[Validation]", "SecureBoot=yes", "SignExpectedPcr=yes", "[Runtime]", "TPM=yes"}, map[string]string{
			"mkosi.uki-profiles/second.conf":     "[UKIProfile]\nProfile=ID=second\n        TITLE=The second\nCmdline=mkosi.chosen=second\n",
			"mkosi.extra/efi/loader/loader.conf": "default *@second\n",
		}, `grep -w mkosi.chosen=second /proc/cmdline
bootctl list --no-pager
echo secret | systemd-creds encrypt --name=s --with-key=tpm2-with-public-key --tpm2-public-key=/run/systemd/tpm2-pcr-public-key.pem - s
[ "$(systemd-creds decrypt --name=s --tpm2-signature=/run/systemd/tpm2-pcr-signature.json s -)" = secret ]`)},
		{"partuuid", variantTest("partuuid", []string{"Bootloader=systemd-boot", "KernelCommandLine=root=PARTUUID"}, nil,
			`grep "root=PARTUUID=$(findmnt --noheadings --output PARTUUID /)" /proc/cmdline`)},
		{"uki-loader", variantTest("uki-loader", []string{"Bootloader=uki", "[Validation]", "SecureBoot=yes", "[Runtime]", "FirmwareVariables=custom"}, nil,
			"bootctl status | tee status && grep 'Secure Boot: enabled (user)' status")},
		{"verity", variantTest("verity", []string{"Bootloader=systemd-boot", "KernelCommandLine=systemd.volatile=overlay"}, map[string]string{
			"mkosi.repart/00-esp.conf":         "[Partition]\nType=esp\nFormat=vfat\nCopyFiles=/boot:/\nCopyFiles=/efi:/\nSizeMinBytes=256M\n",
			"mkosi.repart/10-root.conf":        "[Partition]\nType=root\nFormat=erofs\nCopyFiles=/\nVerity=data\nVerityMatchKey=root\nMinimize=best\n",
			"mkosi.repart/11-root-verity.conf": "[Partition]\nType=root-verity\nVerity=hash\nVerityMatchKey=root\nMinimize=best\n",
		}, "grep -o roothash=................ /proc/cmdline && grep ^CRYPT-VERITY- /sys/block/dm-0/dm/uuid")},
	}
}

// variantPackages are what the variants need of Debian, beside what their settings bring.
var variantPackages = []string{
	"linux-image-amd64", "systemd", "systemd-boot", "systemd-boot-efi", "systemd-boot-efi-amd64-signed", "systemd-sysv", "udev", "dbus", "login",
	"libcryptsetup12", "^libtss2-(esys|mu|rc|tcti-device)[0-9.-]*(t64)?$", "grub-common", "grub-pc-bin", "grub-efi-amd64-bin", "shim-signed",
}

// variantBase is a tree with these packages, built once.
var variantBase = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(sharedDir, "boot-base")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	args := []string{"--distribution=debian", "--release=trixie", "--format=directory", "--output=base", "--bootable=no", "--clean-package-metadata=no", "--source-date-epoch", testEpoch}
	for _, p := range variantPackages {
		args = append(args, "--package", p)
	}
	if out, err := mkosi(dir, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the tree to boot: %w\n%s", err, out)
	}
	return filepath.Join(dir, "base"), nil
})

// variant builds an image from the shared tree and the example's initrd and keys. settings go to the section [Content]
// until they name another. It returns the directory of the configuration.
func variant(t *testing.T, name string, settings []string, files map[string]string) string {
	t.Helper()
	example := bootableDir(t)
	base, err := variantBase()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(sharedDir, "boot-"+name)
	conf := `[Distribution]
Distribution=debian
Release=trixie

[Output]
ImageId=` + name + `
OutputDirectory=mkosi.output

[Content]
BaseTrees=` + base + `
Bootable=yes
Initrds=` + example + `/mkosi.output/initrd.cpio.zst
KernelInitrdModules=efivarfs,ext4,erofs,dm_verity,overlay,virtio_blk,virtio_scsi
Locale=C.UTF-8
Keymap=us
Timezone=UTC
Hostname=` + name + `
RootPassword=hashed:
Autologin=yes

[Runtime]
CPUs=2
TPM=no

[Content]
` + strings.Join(settings, "\n") + "\n"
	writeTree(t, dir, map[string]string{"mkosi.conf": conf})
	writeTree(t, dir, files)
	for _, key := range []string{"mkosi.key", "mkosi.crt"} {
		writeFile(t, filepath.Join(dir, key), readFile(t, filepath.Join(example, key)), 0o600)
	}
	must(t, mkosi(dir, "--force", "--source-date-epoch", testEpoch))
	return dir
}

// writeTree writes files into a directory that it makes.
func writeTree(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, []byte(content), 0o644)
	}
}

// variantTest is a test that boots a variant and runs shell commands in it, all of which have to succeed.
func variantTest(name string, settings []string, files map[string]string, commands string) func(t *testing.T) {
	return func(t *testing.T) {
		inGuest(t, onMachine(variant(t, name, settings, files), "--json", "test", "--", "sh", "-euc", "cd /run\n"+commands))
	}
}

// inGuest runs mkosi test with a command.
func inGuest(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	_, said := testImage(t, cmd)
	t.Log(said)
}

// The newer firmware enrols the keys and boots what the one of the release before does, and says so.
func testNewerFirmware(t *testing.T) {
	report, _ := testImage(t, onMachine(bootableDir(t), "--json", "test"))
	hasTests(t, report, "10-units", "20-secure-boot", "30-sealed-secret")
	console := string(readFile(t, report.ConsoleLog))
	for _, text := range []string{"Enrolling secure boot keys", "UEFI Secure Boot is enabled"} {
		if !strings.Contains(console, text) {
			t.Errorf("the console lacks %q:\n%s", text, console)
		}
	}
}

// mkosi vm has no BIOS, so this is QEMU as it is.
func testBIOSGrub(t *testing.T) {
	dir := variant(t, "bios-grub", []string{"Bootloader=none", "BiosBootloader=grub", "KernelCommandLine=console=ttyS0"}, nil)
	args := []string{"--share", dir, machineRoot(), "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-m", "2G", "-smp", "2", "-nographic", "-nic", "none",
		"-drive", "file=" + dir + "/mkosi.output/bios-grub.raw,format=raw,if=virtio,snapshot=on"}
	printed := watchMachine(t, exec.Command(filepath.Join(project, "test/machine"), args...), "bios-grub login:", "Kernel panic", "grub rescue>")
	if !strings.HasSuffix(printed, "login:") {
		t.Error(printed)
	}
}

// An addon beside the kernel changes the command line where only what is signed may. It is made from a tree with nothing
// but the stubs, all of which is in it.
func testAddon(t *testing.T) {
	example := bootableDir(t)
	base, err := variantBase()
	if err != nil {
		t.Fatal(err)
	}
	words := filepath.Join(sharedDir, "boot-words")
	writeTree(t, words, map[string]string{
		"mkosi.conf": "[Distribution]\nDistribution=debian\nRelease=trixie\n\n[Output]\nFormat=addon\nOutput=words\n\n" +
			"[Content]\nBootable=no\nBaseTrees=stubs\nKernelCommandLine=mkosi.addon=yes\n\n[Validation]\nSecureBoot=yes\n",
		"stubs/" + efiDir + "/addonx64.efi.stub": string(readFile(t, filepath.Join(base, efiDir, "addonx64.efi.stub"))),
	})
	for _, key := range []string{"mkosi.key", "mkosi.crt"} {
		writeFile(t, filepath.Join(words, key), readFile(t, filepath.Join(example, key)), 0o600)
	}
	must(t, mkosi(words, "--source-date-epoch", testEpoch))
	dir := variant(t, "addon", []string{"Bootloader=systemd-boot", "ExtraTrees=" + words + "/words.efi:/boot/loader/addons/words.addon.efi", "[Validation]", "SecureBoot=yes"}, nil)
	inGuest(t, onMachine(dir, "--json", "test", "--", "grep", "-w", "mkosi.addon=yes", "/proc/cmdline"))
}
