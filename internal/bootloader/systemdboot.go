package bootloader

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// systemdBootDir holds systemd-boot in a tree, together with the stubs of unified kernel images.
const systemdBootDir = "usr/lib/systemd/boot/efi"

// SystemdBoot are the options of InstallSystemdBoot.
type SystemdBoot struct {
	Options
	// Signed says that only programs that the distribution has signed are wanted.
	Signed bool
	// Keys returns authenticated variables for the firmware to take when it boots for the first time in setup mode, by the
	// names PK, KEK and db; nil unless they are to be enrolled. See systemd-boot(7), "secure-boot-enroll".
	Keys func(ctx context.Context) (map[string][]byte, error)
}

// InstallSystemdBoot puts systemd-boot(7) from /usr/lib/systemd/boot/efi of the tree into its /efi, under its own name
// and under the one that firmware looks for, for every architecture that is there; and what it reads: loader.conf in
// /efi, and directories for boot loader entries in /boot. With Sign, signed copies are left beside the programs, where
// systemd-boot-update.service of the image finds them. Configuration that is there is left alone.
//
// This is what bootctl(1) does with --root=. As there, no random seed is written: one seed in all copies of an image is a
// secret to nobody. systemd-boot-random-seed.service of the booted system makes one of its own.
//
// A tree without systemd-boot for its architecture is a *[Missing].
func InstallSystemdBoot(ctx context.Context, o SystemdBoot) error {
	i, err := o.open()
	if err != nil {
		return err
	}
	defer i.close()
	programs, err := o.systemdBoot(i)
	if err != nil {
		return err
	}
	if err := o.signSystemdBoot(ctx, i, programs); err != nil {
		return err
	}
	token, machineID, err := i.entryToken()
	if err != nil {
		return err
	}
	for _, dir := range []string{"efi/EFI/systemd", "efi/EFI/BOOT", "efi/loader/keys", "boot/loader/entries", "boot/EFI/Linux"} {
		if err := i.mkdir(dir); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		from := systemdBootDir + "/" + programs[name]
		if err := i.copy(ctx, from, "efi/EFI/systemd/"+name); err != nil {
			return err
		}
		arch, ok := strings.CutPrefix(strings.TrimSuffix(name, ".efi"), "systemd-boot")
		if !ok {
			continue
		}
		to := bootDir + Options{Architecture: arch}.removableName()
		if arch == o.Architecture {
			to = o.firstProgram()
		}
		if err := i.copy(ctx, from, to); err != nil {
			return err
		}
	}
	return o.configureSystemdBoot(ctx, i, token, machineID)
}

// systemdBoot returns the files of systemdBootDir that are to be installed, by the names without ".signed" that they get.
func (o SystemdBoot) systemdBoot(i *image) (map[string]string, error) {
	names, err := i.list(systemdBootDir)
	if err != nil {
		return nil, err
	}
	programs := map[string]string{}
	for _, name := range names {
		plain, signed := strings.CutSuffix(name, ".signed")
		switch {
		case !strings.HasSuffix(plain, ".efi"), !i.isFile(systemdBootDir + "/" + name), o.Signed && !signed:
		default:
			programs[plain] = name // the signed one comes later, and is preferred
		}
	}
	wanted := "systemd-boot" + o.Architecture + ".efi"
	if programs[wanted] != "" {
		return programs, nil
	}
	if o.Signed {
		return nil, &Missing{"systemd-boot that is signed by the distribution", []string{systemdBootDir + "/" + wanted + ".signed"},
			"add the package that has it, such as systemd-boot-efi-amd64-signed of Debian, or set Bootloader=systemd-boot"}
	}
	return nil, &Missing{"systemd-boot", []string{systemdBootDir + "/" + wanted},
		"add the package that has it: systemd-boot-efi of Debian and Ubuntu, systemd-boot of Fedora and openSUSE, systemd of Arch Linux; or set Bootable=no"}
}

// signSystemdBoot makes signed copies of all programs that come unsigned too, in place of older ones.
func (o SystemdBoot) signSystemdBoot(ctx context.Context, i *image, programs map[string]string) error {
	if o.Sign == nil || o.Signed {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		from := systemdBootDir + "/" + name
		if !i.isFile(from) {
			continue // there is only somebody else's signed one
		}
		signed, err := o.sign(ctx, i, from, maxProgram)
		if err != nil {
			return err
		}
		programs[name] = name + ".signed"
		if err := i.write(from+".signed", signed, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// loaderConf is what bootctl(1) writes: the defaults of loader.conf(5), as comments.
const loaderConf = "#timeout 3\n#console-mode keep\n"

// configureSystemdBoot writes the files beside the programs.
func (o SystemdBoot) configureSystemdBoot(ctx context.Context, i *image, token string, machineID bool) error {
	if err := i.writeNew("efi/loader/loader.conf", []byte(loaderConf), 0o640); err != nil {
		return err
	}
	if err := i.writeNew("boot/loader/entries.srel", []byte("type1\n"), 0o640); err != nil {
		return err
	}
	// Later kernels get entries of the same name. A machine ID is looked up again instead.
	if old, err := i.firstLine(tokenFiles[0]); err != nil {
		return err
	} else if !machineID && old != token {
		if err := i.mkdir(path.Dir(tokenFiles[0])); err != nil {
			return err
		}
		if err := i.write(tokenFiles[0], []byte(token+"\n"), 0o644); err != nil {
			return err
		}
	}
	if o.Keys == nil {
		return nil
	}
	keys, err := o.Keys(ctx)
	if err != nil {
		return fmt.Errorf("making the keys that the firmware is to enrol: %w", err)
	}
	const dir = "efi/loader/keys/auto"
	if err := i.mkdir(dir); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		if err := i.write(dir+"/"+name+".auth", keys[name], 0o640); err != nil {
			return err
		}
	}
	return nil
}
