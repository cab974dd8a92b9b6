package bootloader

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestInstallSystemdBoot(t *testing.T) {
	root := makeTree(t, map[string]string{
		systemdBootDir + "/systemd-bootx64.efi":         "x64",
		systemdBootDir + "/systemd-bootia32.efi":        "ia32",
		systemdBootDir + "/systemd-bootia32.efi.signed": "ia32 by somebody",
		systemdBootDir + "/linuxx64.efi.stub":           "stub",
		"etc/os-release":                                "ID=a\n",
		"boot/":                                         "",
		"efi/":                                          "",
	})
	program := filepath.Join(root, systemdBootDir, "systemd-bootx64.efi")
	if err := os.Chtimes(program, time.Time{}, time.Unix(1000, 0)); err != nil {
		t.Fatal(err)
	}
	o := SystemdBoot{
		Options: Options{Root: root, Architecture: "x64"},
		Keys: func(context.Context) (map[string][]byte, error) {
			return map[string][]byte{"PK": []byte("1"), "db": []byte("2")}, nil
		},
	}
	want := map[string]string{
		"boot/EFI/Linux/":                      "",
		"boot/loader/entries/":                 "",
		"boot/loader/entries.srel":             "type1\n",
		"efi/EFI/BOOT/BOOTX64.EFI":             "x64",
		"efi/EFI/BOOT/BOOTIA32.EFI":            "ia32 by somebody",
		"efi/EFI/systemd/systemd-bootx64.efi":  "x64",
		"efi/EFI/systemd/systemd-bootia32.efi": "ia32 by somebody",
		"efi/loader/keys/auto/PK.auth":         "1",
		"efi/loader/keys/auto/db.auth":         "2",
		"efi/loader/loader.conf":               loaderConf,
		"etc/kernel/entry-token":               "a\n",
		"etc/os-release":                       "ID=a\n",
	}
	if err := InstallSystemdBoot(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, readTree(t, root, "boot", "efi", "etc"), want)
	for name, mode := range map[string]os.FileMode{
		"efi/EFI/BOOT/BOOTX64.EFI": 0o644, "efi/loader/loader.conf": 0o640, "efi/loader/keys/auto/PK.auth": 0o640, "etc/kernel/entry-token": 0o644,
	} {
		if fi, err := os.Stat(filepath.Join(root, name)); err != nil || fi.Mode() != mode {
			t.Errorf("%s: mode %v, %v", name, fi.Mode(), err)
		}
	}
	if fi, err := os.Stat(filepath.Join(root, "efi/EFI/BOOT/BOOTX64.EFI")); err != nil || fi.ModTime().Unix() != 1000 {
		t.Errorf("the copy is of %v, %v", fi.ModTime(), err)
	}

	// Configuration stays, programs are replaced.
	o.Sign = fakeSign
	for name, content := range map[string]string{"efi/loader/loader.conf": "timeout 9\n", "boot/loader/entries.srel": "other\n"} {
		want[name] = content
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, arch := range []string{"x64", "ia32"} {
		want["efi/EFI/BOOT/BOOT"+strings.ToUpper(arch)+".EFI"], want["efi/EFI/systemd/systemd-boot"+arch+".efi"] = "signed "+arch, "signed "+arch
	}
	if err := InstallSystemdBoot(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, readTree(t, root, "boot", "efi", "etc"), want)
	if b, err := os.ReadFile(program + ".signed"); err != nil || string(b) != "signed x64" {
		t.Errorf("the signed copy is %q, %v", b, err)
	}
}

func TestInstallSystemdBootRefuses(t *testing.T) {
	signed := errors.New("no key")
	tree := map[string]string{systemdBootDir + "/systemd-bootx64.efi": "x64", "etc/os-release": "ID=a\n", "efi/": ""}
	opts := func(files map[string]string) Options { return Options{Root: makeTree(t, files), Architecture: "x64"} }
	install := func(o SystemdBoot) error {
		err := InstallSystemdBoot(t.Context(), o)
		if names, _ := os.ReadDir(filepath.Join(o.Root, "efi")); len(names) > 0 {
			t.Errorf("%v is left after: %v", names, err)
		}
		return err
	}

	isMissing(t, install(SystemdBoot{Options: opts(map[string]string{"etc/os-release": "ID=a\n"})}), "/usr/lib/systemd/boot/efi/systemd-bootx64.efi", "systemd-boot-efi of Debian")
	isMissing(t, install(SystemdBoot{Options: opts(tree), Signed: true}), "systemd-bootx64.efi.signed", "Bootloader=systemd-boot")
	o := opts(tree)
	o.Architecture = "aa64"
	isMissing(t, install(SystemdBoot{Options: o}), "systemd-bootaa64.efi")

	o = opts(tree)
	o.Sign = func(context.Context, []byte) ([]byte, error) { return nil, signed }
	if err := install(SystemdBoot{Options: o}); !errors.Is(err, signed) || !strings.Contains(err.Error(), "systemd-bootx64.efi") {
		t.Errorf("signing fails: %v", err)
	}
	o.Architecture = ""
	if err := install(SystemdBoot{Options: o}); !errors.Is(err, errNoEFI) {
		t.Errorf("no EFI: %v", err)
	}
	if err := install(SystemdBoot{Options: opts(map[string]string{systemdBootDir + "/systemd-bootx64.efi": "x64"})}); !errors.Is(err, ErrNoToken) {
		t.Errorf("no token: %v", err)
	}
}
