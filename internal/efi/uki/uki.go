// Package uki assembles unified kernel images and addons for them (UAPI.5
// Unified Kernel Image): programs for UEFI firmware that consist of a stub,
// which systemd-stub(7) describes, and of a kernel, initrds and what else the
// stub finds in sections of the file. From the same parts it writes the same
// bytes as ukify of systemd 262.
package uki

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mkosi-go/mkosi/internal/efi/pcr"
	"github.com/mkosi-go/mkosi/internal/efi/pe"
)

// Sections are what the stub finds. Each becomes a section; what is nil or
// empty becomes none. Texts are written as they are.
type Sections struct {
	// Profile has the fields of the .profile section, such as "ID=main", a
	// line each.
	Profile string
	// OSRelease is the text of an os-release(5) file, for .osrel.
	OSRelease string
	// CommandLine is for .cmdline. mkosi ends it with a zero byte, ukify does
	// not.
	CommandLine string
	// DeviceTree is for .dtb, DeviceTrees are for a .dtbauto section each: the
	// stub takes the one that fits the machine.
	DeviceTree  *io.SectionReader
	DeviceTrees []*io.SectionReader
	// HardwareIDs is the table of machines, for .hwids; see [HardwareIDs].
	HardwareIDs []byte
	// Uname is the kernel's version, for .uname.
	Uname string
	// Splash is a picture in the BMP format, for .splash.
	Splash *io.SectionReader
	// PublicKey is the key that policies are signed with, in PEM, for .pcrpkey.
	// If it is empty, the key of [Options.Policies] is taken.
	PublicKey string
	// Kernel is for .linux. A compressed one is decompressed, since firmware
	// would not do it.
	Kernel *io.SectionReader
	// Initrds are joined to the .initrd section.
	Initrds []*io.SectionReader
	// Firmware is for an .efifw section each.
	Firmware []Firmware
	// Microcode is for .ucode.
	Microcode *io.SectionReader
	// Extra are sections of other names.
	Extra []Extra
}

// Firmware is an update of firmware that the stub may load.
type Firmware struct {
	// ID is what the table of machines refers to it by.
	ID      string
	Content []byte
}

// Extra is a section that the stub does not know.
type Extra struct {
	// Name has 8 bytes at most.
	Name    string
	Content *io.SectionReader
}

// Profile is one of several ways to boot an image. Its sections take the place
// of the image's own. It cannot have devicetrees that are selected
// automatically, hardware IDs, a public key or extra sections.
type Profile struct {
	Sections
	// Unsigned is that no policies are made for it.
	Unsigned bool
}

// Options are what an image is made of.
type Options struct {
	// Stub is the program that the sections are added to.
	Stub *io.SectionReader
	// Base are the sections of the image. When there are profiles, its Profile
	// is that of the first way to boot, which uses only these sections; empty
	// is "ID=main". Without, an image with a Profile is itself one to be
	// joined to another, and gets no revocation level.
	Base Sections
	// Profiles are further ways to boot.
	Profiles []Profile
	// SBAT are the image's components for revocation, lines that begin with
	// that of the format itself; empty is that of any unified kernel image or
	// addon. Those of the stub and the kernel are added.
	SBAT string
	// Policies says which policies become the .pcrsig sections; nil is none.
	Policies *pcr.Options
	// Predict are the banks that [Result.Boots] have digests for, apart from
	// those of Policies.
	Predict []pcr.Bank
}

// Result is what was written.
type Result struct {
	// Size is the size of the file in bytes.
	Size int64
	// Sections are all of the file, in the order of their table.
	Sections []pe.Section
	// Boots are the ways to boot the image: its profiles, each with each of the
	// devicetrees that are selected automatically. Of something without a
	// kernel there are none.
	Boots []Boot
	// Policies are those of all profiles; nil when none were asked for.
	Policies pcr.Policies
	// KernelProblem says what is wrong with the kernel, so that firmware will
	// not start it; nil when it will. The image is written nevertheless.
	KernelProblem error
}

// Boot is one way to boot an image.
type Boot struct {
	// Profile is 0 for the image's own sections, and one more than the index in
	// [Options.Profiles] for the others.
	Profile int
	// DeviceTree is the index in [Sections.DeviceTrees], or -1 when there are
	// none.
	DeviceTree int
	// Image is what is measured.
	Image pcr.Image
}

// Text is a section with a text that is kept in memory.
func Text(s string) *io.SectionReader {
	return io.NewSectionReader(strings.NewReader(s), 0, int64(len(s)))
}

// Build writes an image to out, an empty file that is open for reading and
// writing. Each part is read once, in order, and never as a whole. The headers
// are written at last: until then the file is nothing that would boot. The
// caller closes out, and removes it after an error.
func Build(ctx context.Context, out *os.File, o Options) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("assembling %s: %w", out.Name(), err)
	}
	w, err := newWriter(ctx, out, o)
	if err != nil {
		return nil, fmt.Errorf("assembling %s: %w", out.Name(), err)
	}
	if err := w.build(ctx, &o); err != nil {
		return nil, fmt.Errorf("assembling %s: %w", out.Name(), err)
	}
	return w.result, nil
}

// check refuses what would not work, and fills in what follows from the rest.
func (o *Options) check() error {
	if o.Stub == nil {
		return errors.New("there is no stub")
	}
	if o.Policies != nil {
		if o.Base.Kernel == nil {
			return errors.New("without a kernel, nothing is measured that a policy could be signed for")
		}
		if len(o.Base.Firmware) > 0 {
			return errors.New("policies for an image with firmware are not supported")
		}
		public, err := o.Policies.Public()
		if err != nil {
			return err
		}
		if o.Base.PublicKey == "" {
			if o.Base.PublicKey, err = pcr.PublicKeyPEM(public); err != nil {
				return err
			}
		}
	}
	if o.SBAT != "" {
		if _, err := parseSBAT(o.SBAT); err != nil {
			return err
		}
	}
	if len(o.Profiles) > 0 && o.Base.Profile == "" {
		o.Base.Profile = "ID=main"
	}
	for i, p := range o.Profiles {
		if err := p.check(); err != nil {
			return fmt.Errorf("profile %d: %w", i+1, err)
		}
	}
	return nil
}

func (p Profile) check() error {
	switch {
	case p.Profile == "":
		return errors.New("it has no fields, at least ID= is needed")
	case len(p.DeviceTrees) > 0:
		return errors.New("devicetrees that are selected automatically belong to the whole image")
	case len(p.HardwareIDs) > 0:
		return errors.New("hardware IDs belong to the whole image")
	case p.PublicKey != "":
		return errors.New("the public key belongs to the whole image")
	case len(p.Firmware) > 0:
		return errors.New("firmware belongs to the whole image")
	case len(p.Extra) > 0:
		return errors.New("extra sections belong to the whole image")
	}
	return nil
}
