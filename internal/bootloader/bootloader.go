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
)

// Options are what the boot loaders of one image have in common.
type Options struct {
	// Root is the tree of the image.
	Root string
	// Architecture is that of the image as EFI file names have it, such as "x64".
	Architecture string
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

// errNoEFI is what an architecture gets that has no EFI firmware.
var errNoEFI = errors.New("there is no EFI firmware for the image's architecture: set Bootloader=none")

// removableName is the name that firmware looks for on a disk that it knows nothing about, see the UEFI specification,
// section 3.5.1.1.
func (o Options) removableName() string { return "BOOT" + upper(o.Architecture) + ".EFI" }

// open opens the tree, for a boot loader that is an EFI program.
func (o Options) open() (*image, error) {
	if o.Architecture == "" {
		return nil, errNoEFI
	}
	return openImage(o.Root)
}

// sign signs a program if that is wanted.
func (o Options) sign(ctx context.Context, name string, program []byte) ([]byte, error) {
	if o.Sign == nil {
		return program, nil
	}
	signed, err := o.Sign(ctx, program)
	if err != nil {
		return nil, fmt.Errorf("signing /%s of the image: %w", name, err)
	}
	return signed, nil
}
