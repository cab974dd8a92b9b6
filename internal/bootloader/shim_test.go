package bootloader

import (
	"testing"
)

func TestInstallShim(t *testing.T) {
	debian := []string{"usr/lib/shim/shimx64.efi", "usr/lib/shim/shimx64.efi.signed", "usr/lib/shim/mmx64.efi", "usr/lib/shim/mmx64.efi.signed"}
	ubuntu := []string{"usr/lib/shim/shimx64.efi.signed.latest", "usr/lib/shim/shimx64.efi.signed", "usr/lib/shim/mmx64.efi"}
	fedora := []string{
		"boot/efi/EFI/fedora/shimx64.efi", "boot/efi/EFI/fedora/mmx64.efi",
		"usr/share/shim/15.8-3/x64/shimx64.efi", "usr/share/shim/15.8-3/x64/mmx64.efi",
	}
	suse := []string{"usr/share/efi/x86_64/shim.efi", "usr/share/efi/x86_64/MokManager.efi"}
	share := []string{"usr/share/shim/shimx64.efi", "usr/share/shim/mmx64.efi"}
	for _, tt := range []struct {
		name         string
		have         []string
		signed, sign bool
		first, keys  string // what is installed
		keysName     string
	}{
		{"debian", debian, true, true, debian[1], debian[3], "mmx64.efi"},
		{"debian, unsigned", debian, false, false, debian[0], debian[2], "mmx64.efi"},
		{"debian, signed here", debian, false, true, "signed " + debian[0], "signed " + debian[2], "mmx64.efi"},
		{"ubuntu", ubuntu, true, false, ubuntu[0], ubuntu[2], "mmx64.efi"},
		{"fedora", fedora, true, false, fedora[0], fedora[1], "mmx64.efi"},
		{"fedora, unsigned", fedora, false, false, fedora[2], fedora[3], "mmx64.efi"},
		{"opensuse", suse, true, false, suse[0], suse[1], "MokManager.efi"},
		{"below share", share, false, false, share[0], share[1], "mmx64.efi"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{}
			for _, name := range tt.have {
				files[name] = name
			}
			o := Shim{Options: Options{Root: makeTree(t, files), Architecture: "x64"}, Signed: tt.signed}
			if tt.sign {
				o.Sign = fakeSign
			}
			if err := FindShim(o); err != nil {
				t.Error(err)
			}
			if err := InstallShim(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			sameFiles(t, readTree(t, o.Root, "efi"), map[string]string{bootDir + "BOOTX64.EFI": tt.first, bootDir + tt.keysName: tt.keys})
		})
	}

	o := Shim{Options: Options{Root: makeTree(t, map[string]string{debian[0]: "", debian[1]: "", "efi/": ""}), Architecture: "x64"}}
	isMissing(t, InstallShim(t.Context(), o), "unsigned MokManager", "/usr/share/shim/*/*/mmx64.efi", "ShimBootloader=signed")
	isMissing(t, FindShim(o), "unsigned MokManager", "/usr/share/shim/*/*/mmx64.efi")
	o.Signed = true
	isMissing(t, InstallShim(t.Context(), o), "MokManager that is signed", "/usr/lib/shim/mmx64.efi.signed", "ShimBootloader=unsigned")
	o.Architecture = "aa64"
	isMissing(t, InstallShim(t.Context(), o), "no shim", "/usr/lib/shim/shimaa64.efi.signed.latest")
	if got := readTree(t, o.Root, "efi"); len(got) > 1 {
		t.Errorf("left after errors: %v", got)
	}
}

// With shim, whatever else is to be started first goes where shim looks for it.
func TestBehindShim(t *testing.T) {
	root := makeTree(t, map[string]string{
		systemdBootDir + "/systemd-bootx64.efi":             "x64",
		systemdBootDir + "/systemd-bootaa64.efi":            "aa64",
		"usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed": "grub",
		"outside/uki.efi":          "uki",
		"etc/os-release":           "ID=a\n",
		"usr/lib/shim/shimx64.efi": "shim",
		"usr/lib/shim/mmx64.efi":   "keys",
		"usr/lib/shim/fbx64.efi":   "never",
	})
	o := Options{Root: root, Architecture: "x64", Shim: true}
	const second = bootDir + "grubx64.EFI"
	if err := InstallShim(t.Context(), Shim{Options: o}); err != nil {
		t.Fatal(err)
	}
	for content, install := range map[string]func() error{
		"x64":  func() error { return InstallSystemdBoot(t.Context(), SystemdBoot{Options: o}) },
		"grub": func() error { return InstallGrubEFI(t.Context(), Grub{Options: o, Signed: true}) },
		"uki":  func() error { return InstallUKI(t.Context(), o, root+"/outside/uki.efi") },
	} {
		if err := install(); err != nil {
			t.Fatal(err)
		}
		got := readTree(t, root, "efi/EFI/BOOT")
		if got[second] != content || got[bootDir+"BOOTX64.EFI"] != "shim" || got[bootDir+"mmx64.efi"] != "keys" {
			t.Errorf("for %s there is %v", content, got)
		}
	}
	if got := readTree(t, root, "efi/EFI/BOOT"); got[bootDir+"BOOTAA64.EFI"] != "aa64" {
		t.Errorf("for another architecture, there is %v", got)
	}
}
