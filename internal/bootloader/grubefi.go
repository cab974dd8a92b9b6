package bootloader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/efi/pe"
)

// grubPlatforms are grub's names of EFI platforms by the architecture in EFI file names.
var grubPlatforms = map[string]string{
	"x64":         "x86_64-efi",
	"ia32":        "i386-efi",
	"aa64":        "arm64-efi",
	"arm":         "arm-efi",
	"riscv64":     "riscv64-efi",
	"loongarch64": "loongarch64-efi",
	"ia64":        "ia64-efi",
}

// grubSigned is where distributions keep a signed grub: Debian and its relatives, Fedora and its relatives, openSUSE.
// PLATFORM stands for grub's name of the platform, EFI for the architecture.
var grubSigned = []string{"usr/lib/grub/PLATFORM-signed/grubEFI.efi.signed", "boot/efi/EFI/*/grubEFI.efi", "usr/share/efi/*/grub.efi"}

// InstallGrubEFI makes grub the program in /efi of the tree that firmware or shim starts: the distribution's signed one,
// or one made from the modules in the tree, and signed with Sign. It also leads a signed one to the configuration, which
// is written by [WriteGrubConfig], and copies the font that grub draws menus with.
//
// A tree without grub for its architecture is a *[Missing].
func InstallGrubEFI(ctx context.Context, o Grub) error {
	i, err := o.open()
	if err != nil {
		return err
	}
	defer i.close()
	platform, ok := grubPlatforms[o.Architecture]
	if !ok {
		return errors.New("there is no grub for EFI firmware of the image's architecture: set Bootloader= to something else")
	}
	if o.Signed {
		err = o.installSigned(ctx, i, platform)
	} else {
		err = o.installMade(ctx, i, platform)
	}
	if err != nil {
		return err
	}
	if o.Distribution != "" {
		redirect := "configfile " + grubPrefix + "/grub.cfg\n"
		if err := i.write("efi/EFI/"+o.Distribution+"/grub.cfg", []byte(redirect), 0o644); err != nil {
			return err
		}
	}
	return installGrubFont(ctx, i)
}

// installMade makes grub and installs it.
func (o Grub) installMade(ctx context.Context, i *image, platform string) error {
	dir, err := findGrub(i, platform)
	if err != nil {
		return err
	}
	var sbat string
	if o.Shim && o.Sign != nil {
		content, err := o.generations(i, platform)
		if err != nil {
			return err
		}
		sbat = bootDir + ".mkosi-sbat.csv"
		if err := i.write(sbat, content, 0o644); err != nil {
			return err
		}
	}
	grub, err := o.mkimage(ctx, i, dir, platform, sbat, "chain")
	if sbat != "" {
		err = errors.Join(err, i.remove(sbat))
	}
	if err != nil {
		return err
	}
	if o.Sign != nil {
		if grub, err = o.Sign(ctx, grub); err != nil {
			return fmt.Errorf("signing grub: %w", err)
		}
	}
	return i.write(o.firstProgram(), grub, 0o644)
}

// generations returns the section .sbat of the distribution's grub. With Secure Boot, shim wants one of every program that
// it starts: it says of which generation the program is, so that those with known holes can be revoked together.
func (o Grub) generations(i *image, platform string) ([]byte, error) {
	name, err := o.findBuilt(i, platform, "usr/lib/grub/PLATFORM/monolithic/grubEFI.efi")
	if err != nil {
		return nil, err
	}
	b, err := i.read(name, maxProgram)
	if err != nil {
		return nil, err
	}
	f, err := pe.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("/%s of the image: %w", name, err)
	}
	s, ok := f.Section(".sbat")
	if !ok {
		return nil, fmt.Errorf("/%s of the image has no section .sbat, without which shim starts no grub: take one of a newer version", name)
	}
	return b[s.Offset:][:s.Used()], nil
}

// findBuilt returns the path of a grub that the distribution has built, signed or at one of the paths in more.
func (o Grub) findBuilt(i *image, platform string, more ...string) (string, error) {
	patterns := o.expand(slices.Concat(grubSigned, more))
	for n, p := range patterns {
		patterns[n] = strings.ReplaceAll(p, "PLATFORM", platform)
	}
	found, err := i.find(patterns)
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", &Missing{"grub that is built and signed by the distribution", patterns,
			"add the package that has it, such as grub-efi-amd64-signed of Debian or grub2-efi-x64 of Fedora, or set Bootloader=grub and ShimBootloader=none"}
	}
	return found[0], nil
}

// installSigned installs the distribution's grub.
func (o Grub) installSigned(ctx context.Context, i *image, platform string) error {
	name, err := o.findBuilt(i, platform)
	if err != nil {
		return err
	}
	return i.copy(ctx, name, o.firstProgram())
}

// installGrubFont copies the font for menus if there is one: without, grub shows them in the firmware's.
func installGrubFont(ctx context.Context, i *image) error {
	found, err := i.find(grubFonts)
	if err != nil || len(found) == 0 {
		return err
	}
	return i.copy(ctx, found[0], "efi"+grubPrefix+"/fonts/unicode.pf2")
}
