package build

import (
	"fmt"
	"slices"

	"github.com/mkosi-go/mkosi/internal/bootloader"
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/kernel"
)

// usesPrebuilt reports whether kernels are started from unified kernel images that the distribution has built and signed.
// What holds the tree itself can only be made here.
func usesPrebuilt(img *config.Image) bool {
	if !onlySigned(img) || !boots(img) || img.Format == config.FormatUKI || img.Format == config.FormatAddon {
		return false
	}
	return img.UnifiedKernelImages == config.UKIAuto || img.UnifiedKernelImages == config.UKISigned
}

// findKernels returns the kernels of the tree that can be started, the newest first.
func (m *image) findKernels() ([]kernel.Kernel, error) {
	if usesPrebuilt(m.Image) {
		return kernel.FindPrebuilt(m.root)
	}
	return kernel.Find(m.root)
}

func (m *image) missingPrebuilt() error {
	return &bootloader.Missing{What: "unified kernel image that the distribution has built", Tried: []string{"usr/lib/modules/VERSION/vmlinuz*.efi"},
		Hint: fmt.Sprintf("add the package that has it, such as kernel-uki-virt of Fedora, or set UnifiedKernelImages=unsigned to have one built here in spite of Bootloader=%s", m.Bootloader)}
}

// copyPrebuilt copies the unified kernel image of a kernel out of the tree, and the kernel itself, "" if it is nowhere else.
// See copyOut.
func (m *image) copyPrebuilt(k kernel.Kernel) (uki, image string, err error) {
	if uki, err = m.copyOut(k.Image, "prebuilt-"+k.Version+".efi"); err != nil {
		return "", "", err
	}
	separate, err := m.findSeparate(k)
	if err != nil || separate == nil {
		return uki, "", err
	}
	image, err = m.copyKernel(*separate)
	return uki, image, err
}

// findSeparate returns the kernel of a version with an image that is not unified, nil if there is none.
func (m *image) findSeparate(k kernel.Kernel) (*kernel.Kernel, error) {
	kernels, err := kernel.Find(m.root)
	i := slices.IndexFunc(kernels, func(other kernel.Kernel) bool { return other.Version == k.Version })
	if err != nil || i < 0 {
		return nil, err
	}
	return &kernels[i], nil
}

// separateImage returns the path in the tree of a kernel that starts without a unified kernel image.
func (m *image) separateImage(k kernel.Kernel) (string, error) {
	if !usesPrebuilt(m.Image) {
		return k.Image, nil
	}
	separate, err := m.findSeparate(k)
	if err == nil && separate == nil {
		err = fmt.Errorf("kernel %s is only in a unified kernel image, which PC firmware does not start: add the package with /usr/lib/modules/%s/vmlinuz, or unset BiosBootloader=", k.Version, k.Version)
	}
	if err != nil {
		return "", err
	}
	return separate.Image, nil
}
