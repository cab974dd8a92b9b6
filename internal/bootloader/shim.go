package bootloader

import (
	"context"
	"path"
	"strings"
)

// Shim are the options of InstallShim.
type Shim struct {
	Options
	// Signed says that programs that the distribution has signed are wanted. They are not signed again, even with Sign.
	Signed bool
}

// shimProgram is where a program of shim may be, in order of preference. EFI stands for the
// architecture.
type shimProgram struct {
	what             string
	signed, unsigned []string
}

// Debian keeps both kinds in usr/lib/shim; the names of Ubuntu's signed ones say what they are less often. Fedora and its
// relatives install signed ones where the EFI system partition is mounted, and others below usr/share/shim. openSUSE has
// signed ones only.
var (
	shimFirst = shimProgram{
		what:     "shim",
		signed:   []string{"usr/lib/shim/shimEFI.efi.signed.latest", "usr/lib/shim/shimEFI.efi.signed", "boot/efi/EFI/*/shimEFI.efi", "usr/share/efi/*/shim.efi"},
		unsigned: []string{"usr/lib/shim/shimEFI.efi", "usr/share/shim/*/*/shimEFI.efi", "usr/share/shim/shimEFI.efi"},
	}
	shimKeys = shimProgram{
		what:     "MokManager",
		signed:   []string{"usr/lib/shim/mmEFI.efi.signed", "usr/lib/shim/mmEFI.efi", "boot/efi/EFI/*/mmEFI.efi", "usr/share/efi/*/MokManager.efi"},
		unsigned: []string{"usr/lib/shim/mmEFI.efi", "usr/share/shim/*/*/mmEFI.efi", "usr/share/shim/mmEFI.efi"},
	}
)

// InstallShim puts shim into /efi of the tree under the name that firmware looks for, and MokManager, which it starts to
// have keys enrolled, beside it. What shim starts next is installed by the other functions of this package when
// [Options.Shim] is set.
//
// A tree without one of the two is a *[Missing].
func InstallShim(ctx context.Context, o Shim) error {
	i, err := o.open()
	if err != nil {
		return err
	}
	defer i.close()
	first, keys, err := o.findBoth(i)
	if err != nil {
		return err
	}
	if o.Signed {
		o.Sign = nil
	}
	if err := o.install(ctx, i, first, bootDir+o.removableName(), maxProgram); err != nil {
		return err
	}
	return o.install(ctx, i, keys, bootDir+strings.TrimSuffix(path.Base(keys), ".signed"), maxProgram)
}

// FindShim returns the error that [InstallShim] would return for a tree without shim or MokManager.
func FindShim(o Shim) error {
	i, err := o.open()
	if err != nil {
		return err
	}
	defer i.close()
	_, _, err = o.findBoth(i)
	return err
}

// findBoth returns the paths of shim and MokManager.
func (o Shim) findBoth(i *image) (first, keys string, err error) {
	if first, err = o.find(i, shimFirst); err != nil {
		return "", "", err
	}
	keys, err = o.find(i, shimKeys)
	return first, keys, err
}

// find returns the path of one of shim's programs.
func (o Shim) find(i *image, p shimProgram) (string, error) {
	what, patterns, other := "unsigned "+p.what, p.unsigned, "signed"
	if o.Signed {
		what, patterns, other = p.what+" that is signed by the distribution", p.signed, "unsigned"
	}
	patterns = o.expand(patterns)
	names, err := i.find(patterns)
	if err != nil {
		return "", err
	}
	if len(names) > 0 {
		return names[0], nil
	}
	return "", &Missing{what, patterns,
		"add the packages that have it, such as shim-signed or shim-unsigned of Debian, shim-x64 or shim-unsigned-x64 of Fedora, shim of openSUSE; or set ShimBootloader=" + other + " or none"}
}
