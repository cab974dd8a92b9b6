package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/mkosi-go/mkosi/internal/bootloader"
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// boots reports whether an image is to be made bootable. With Bootable=auto it depends on what is in its tree, too.
func boots(img *config.Image) bool {
	switch img.Bootable {
	case config.Disabled:
		return false
	case config.Auto:
		return img.Format != config.FormatCPIO && !isExtension(img.Format) && !img.Overlay
	}
	return true
}

// usesBootLoader reports whether an image gets boot loaders. That of an ESP is what it is for.
func usesBootLoader(img *config.Image) bool {
	switch img.Format {
	case config.FormatUKI, config.FormatAddon:
		return false
	case config.FormatESP:
		return true
	}
	return boots(img)
}

// bootsPC reports whether an image gets grub for firmware that is not UEFI. Only a disk has room for it.
func bootsPC(img *config.Image) bool {
	return boots(img) && img.BiosBootloader == config.BiosBootloaderGrub && img.Format == config.FormatDisk
}

// usesGrub reports whether an image has a menu of grub.
func usesGrub(img *config.Image) bool {
	return bootsPC(img) || usesBootLoader(img) && (img.Bootloader == config.BootloaderGrub || img.Bootloader == config.BootloaderGrubSigned)
}

// onlySigned reports whether only what the distribution has signed is wanted. A signed shim alone does not ask for that: it
// starts what is signed here too, once the machine's owner has enrolled the key.
func onlySigned(img *config.Image) bool {
	switch img.Bootloader {
	case config.BootloaderUKISigned, config.BootloaderSystemdBootSigned, config.BootloaderGrubSigned:
		return true
	}
	return false
}

// installBootLoaders puts the boot loaders into the tree. With Bootable=auto a tree without kernels gets none.
func (m *image) installBootLoaders(ctx context.Context) error {
	if !usesBootLoader(m.Image) {
		return nil
	}
	if kernels, err := m.findKernels(); err != nil || len(kernels) == 0 && m.Bootable == config.Auto && m.Format != config.FormatESP {
		return err
	}
	if err := m.checkToken(); err != nil || m.nameless {
		return err
	}
	if bootsPC(m.Image) {
		_, err := m.installOptional("grub for BIOS", func() (err error) {
			m.bootSector, err = bootloader.MakeBootSector(ctx, m.grub())
			return err
		})
		if err != nil {
			return err
		}
	}
	if m.Bootloader == config.BootloaderNone || m.Architecture.EFI() == "" && m.Bootable == config.Auto {
		return nil
	}
	// What shim starts depends on whether there is one, and shim by itself starts nothing.
	if err := m.findShim(); err != nil {
		return err
	}
	installed, err := m.installBootLoader(ctx)
	if err != nil || !installed || !m.shim {
		return err
	}
	return m.step("installing shim", func() error { return bootloader.InstallShim(ctx, m.shimOptions()) })
}

// installBootLoader puts the boot loader for EFI into the tree and reports whether there is one.
func (m *image) installBootLoader(ctx context.Context) (bool, error) {
	switch m.Bootloader {
	case config.BootloaderSystemdBoot, config.BootloaderSystemdBootSigned:
		return m.installOptional("systemd-boot", func() error { return m.installSystemdBoot(ctx) })
	case config.BootloaderGrub, config.BootloaderGrubSigned:
		return m.installOptional("grub", func() error { return bootloader.InstallGrubEFI(ctx, m.grub()) })
	}
	// It is a unified kernel image, and follows later.
	if m.Bootable == config.Disabled {
		return false, nil
	}
	if usesPrebuilt(m.Image) {
		return true, nil
	}
	stub, err := m.findStub()
	return stub != "", err
}

// installOptional runs fn, which installs something, and reports whether it did: with Bootable=auto it is left out if the tree does
// not have it.
func (m *image) installOptional(what string, fn func() error) (installed bool, err error) {
	err = m.step("installing "+what, func() error {
		err := fn()
		installed = err == nil
		return m.orAuto(err)
	})
	return installed, err
}

// orAuto leaves out with Bootable=auto what the tree does not have.
func (m *image) orAuto(err error) error {
	var missing *bootloader.Missing
	if m.Bootable == config.Auto && !treeIsInitrd(m.Format) && errors.As(err, &missing) {
		m.b.UI.Debugf(m.Image.Image, "%v", err)
		return nil
	}
	return err
}

// needsToken reports whether anything on the boot partition has a name that begins with the entry token. What firmware
// starts by itself has not.
func (m *image) needsToken() bool {
	return m.Format != config.FormatUKI && (!m.startsUKI() || bootsPC(m.Image))
}

// checkToken looks for the entry token before anything is installed.
func (m *image) checkToken() error {
	if !m.needsToken() {
		return nil
	}
	_, err := bootloader.EntryToken(m.root)
	if errors.Is(err, bootloader.ErrNoToken) && m.Bootable == config.Auto && m.Format != config.FormatESP {
		m.nameless = true
		m.b.UI.Warnf(m.Image.Image, "the image is not made bootable: %v", err)
		return nil
	}
	return err
}

// findShim looks for shim if it is wanted.
func (m *image) findShim() error {
	if m.ShimBootloader == config.ShimNone {
		return nil
	}
	missing := bootloader.FindShim(m.shimOptions())
	m.shim = missing == nil
	err := m.orAuto(missing)
	if err == nil && !m.shim {
		m.b.UI.Warnf(m.Image.Image, "the boot loader is installed without shim: %v", missing)
	}
	return err
}

func (m *image) shimOptions() bootloader.Shim {
	return bootloader.Shim{Options: m.bootOptions(), Signed: m.ShimBootloader == config.ShimSigned}
}

func (m *image) bootOptions() bootloader.Options {
	o := bootloader.Options{Root: m.root, Architecture: m.Architecture.EFI(), Shim: m.shim}
	if m.SecureBoot {
		o.Sign = m.signProgram
	}
	return o
}

func (m *image) installSystemdBoot(ctx context.Context) error {
	o := bootloader.SystemdBoot{Options: m.bootOptions(), Signed: onlySigned(m.Image)}
	if m.SecureBoot && m.SecureBootAutoEnroll {
		o.Keys = m.enrolments
	}
	return bootloader.InstallSystemdBoot(ctx, o)
}

func (m *image) grub() bootloader.Grub {
	o := bootloader.Grub{Options: m.bootOptions(), Signed: onlySigned(m.Image), Distribution: string(m.Distribution), Run: m.runHostTool}
	if string(m.Architecture) == m.b.Host.Architecture {
		o.RunInImage = m.runImageTool
	}
	return o
}

// finishDisk puts grub's boot sector in front of the partitions.
func (m *image) finishDisk(_ context.Context, path string) (err error) {
	if m.bootSector == nil {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	return m.bootSector.Install(f, fi.Size())
}

// rootOption is what tells a kernel that grub loads where its root file system is.
func rootOption(cmdline []string, partitions []disk.Partition) string {
	for _, word := range cmdline {
		name, _, _ := strings.Cut(word, "=")
		if name == "root" || name == "mount.usr" || name == "roothash" || name == "usrhash" {
			return ""
		}
	}
	for _, v := range []struct {
		role repart.Role
		name string
	}{{repart.RoleRoot, "root"}, {repart.RoleUsr, "mount.usr"}} {
		if p := findPartition(partitions, v.role); p != nil {
			return fmt.Sprintf("%s=PARTUUID=%s", v.name, p.UUID)
		}
	}
	return ""
}
