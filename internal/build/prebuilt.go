package build

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/mkosi-go/mkosi/internal/bootloader"
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/efi/pe"
	"github.com/mkosi-go/mkosi/internal/kernel"
	"github.com/mkosi-go/mkosi/internal/output"
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

// collectPrebuilt finds what a kernel with a unified kernel image that the distribution has built is started with: what is in
// that, but for PC firmware, which starts none.
func (b *bootFiles) collectPrebuilt(ctx context.Context, k kernel.Kernel) (files *output.BootFiles, err error) {
	uki := b.saved.uki
	if uki == "" {
		if uki, err = b.copyPrebuilt(k); err != nil {
			return nil, err
		}
	}
	files = &output.BootFiles{UKI: uki}
	if bootsPC(b.Image) {
		image, err := b.separateImage(k)
		if err != nil {
			return nil, err
		}
		if files.Kernel, err = b.copyKernel(kernel.Kernel{Version: k.Version, Image: image}); err != nil {
			return nil, err
		}
		return files, b.collectInitrds(ctx, k, files)
	}
	if files.Kernel, err = extractSection(uki, ".linux", filepath.Join(b.work, "vmlinuz-"+k.Version)); err != nil {
		return nil, err
	}
	initrd, err := extractSection(uki, ".initrd", filepath.Join(b.work, "prebuilt-"+k.Version+".initrd"))
	if err != nil {
		return nil, err
	}
	if initrd != "" {
		files.Initrds = []string{initrd}
	}
	return files, nil
}

// copyPrebuilt copies the unified kernel image of a kernel out of the tree, see copyOut.
func (m *image) copyPrebuilt(k kernel.Kernel) (string, error) {
	return m.copyOut(k.Image, "prebuilt-"+k.Version+".efi")
}

// extractSection writes a section of a program for firmware to a file and returns that, "" if there is no such section.
func extractSection(program, section, to string) (file string, err error) {
	in, err := os.Open(program)
	if err != nil {
		return "", err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return "", err
	}
	f, err := pe.Parse(in, fi.Size())
	if err != nil {
		return "", fmt.Errorf("reading a unified kernel image: %w", err)
	}
	s, ok := f.Section(section)
	if !ok {
		return "", nil
	}
	if err := writePrivate(to, io.NewSectionReader(in, s.Offset, s.Used())); err != nil {
		return "", fmt.Errorf("reading the section %s of a unified kernel image: %w", section, err)
	}
	return to, nil
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
