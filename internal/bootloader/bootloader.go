// Package bootloader makes firmware start a kernel from an image: it puts boot loaders, what configures them and what
// they offer to start into the tree of an image, and grub's boot sector onto a disk. One file a boot loader.
//
// Everything lies where the firmware finds it once the tree's /boot and /efi have become an EFI system partition. What
// a tree holds is not trusted: links lead no further up than its root, and sizes are bounded.
package bootloader

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Options are what the boot loaders of one image have in common.
type Options struct {
	// Root is the tree of the image.
	Root string
	// Architecture is that of the image as EFI file names have it, such as "x64".
	Architecture string
	// Shim says that [InstallShim] puts shim where the firmware looks, and the boot loader goes where shim looks.
	Shim bool
	// Sign returns an EFI program with a signature for Secure Boot added. It is nil unless programs that are not signed
	// yet are to be signed.
	Sign func(ctx context.Context, program []byte) ([]byte, error)
}

// Missing is the error for a file that a boot loader is made from and the tree does not have.
type Missing struct {
	// What is missing, such as "systemd-boot".
	What string
	// Tried are the paths and patterns, relative to the tree, where it was looked for.
	Tried []string
	// Hint says what to do, such as which packages have it.
	Hint string
}

func (e *Missing) Error() string {
	text := "the image has no " + e.What
	for i, path := range e.Tried {
		if i == 0 {
			text += ": there is no "
		} else {
			text += ", nor "
		}
		text += "/" + path
	}
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// maxProgram is more than any boot loader has, in bytes. Their programs are read into memory to be signed.
const maxProgram = 64 << 20

// bootDir is the directory of a tree that becomes the one where firmware looks on a disk that it knows nothing about, see
// the UEFI specification, section 3.5.1.1.
const bootDir = "efi/EFI/BOOT/"

// errNoEFI is what an architecture gets that has no EFI firmware.
var errNoEFI = errors.New("there is no EFI firmware for the image's architecture: set Bootloader=none")

// removableName is the name that firmware looks for in that directory.
func (o Options) removableName() string { return "BOOT" + strings.ToUpper(o.Architecture) + ".EFI" }

// firstProgram is the path of the first program that is not shim. shim takes what it starts for grub, and takes small
// letters for capitals.
func (o Options) firstProgram() string {
	if o.Shim {
		return bootDir + "grub" + o.Architecture + ".EFI"
	}
	return bootDir + o.removableName()
}

// open opens the tree, for a boot loader that is an EFI program.
func (o Options) open() (*image, error) {
	if o.Architecture == "" {
		return nil, errNoEFI
	}
	return openImage(o.Root)
}

// install puts a program of the tree into another place of it, signed if that is wanted. Only one of at most limit bytes
// is signed.
func (o Options) install(ctx context.Context, i *image, from, to string, limit int64) error {
	if o.Sign == nil {
		return i.copy(ctx, from, to)
	}
	signed, err := o.sign(ctx, i, from, limit)
	if err != nil {
		return err
	}
	return i.write(to, signed, 0o644)
}

// sign returns a program of the tree, of at most limit bytes, with a signature.
func (o Options) sign(ctx context.Context, i *image, name string, limit int64) ([]byte, error) {
	program, err := i.read(name, limit)
	if err != nil {
		return nil, err
	}
	signed, err := o.Sign(ctx, program)
	if err != nil {
		return nil, fmt.Errorf("signing /%s of the image: %w", name, err)
	}
	return signed, nil
}

// expand puts the architecture into patterns.
func (o Options) expand(patterns []string) []string {
	expanded := make([]string, len(patterns))
	for n, p := range patterns {
		expanded[n] = strings.ReplaceAll(p, "EFI.efi", o.Architecture+".efi")
	}
	return expanded
}
