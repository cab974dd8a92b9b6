package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/mkosi-go/mkosi/internal/bootloader"
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/kernel"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// savedBootFiles are copies of what a tree is started with, for formats in which the tree is the initrd: there it is of no
// use, and RemoveFiles= may take it out.
type savedBootFiles struct {
	stub       string
	kernel     *kernel.Kernel
	kernelFile string
	uki        string // that the distribution has built, see usesPrebuilt
}

// stubName is the name of the stub that is made into what firmware starts.
func (m *image) stubName() string {
	kind := "linux"
	if m.Format == config.FormatAddon {
		kind = "addon"
	}
	return kind + m.Architecture.EFI() + ".efi.stub"
}

// treeIsInitrd reports whether the tree of an image becomes the initrd of what firmware starts.
func treeIsInitrd(f config.Format) bool {
	return f == config.FormatUKI || f == config.FormatESP || f == config.FormatAddon
}

// saveStub keeps the stub, which may be in a base tree.
func (m *image) saveStub(context.Context) (err error) {
	if !treeIsInitrd(m.Format) {
		return nil
	}
	m.saved.stub, err = m.copyStub()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // whoever needs it says so
	}
	return err
}

// saveKernel keeps the newest kernel.
func (m *image) saveKernel(context.Context) error {
	if !treeIsInitrd(m.Format) || m.Format == config.FormatAddon {
		return nil
	}
	kernels, err := m.findKernels()
	if err != nil || len(kernels) == 0 {
		return err
	}
	m.saved.kernel = &kernels[0]
	if usesPrebuilt(m.Image) {
		m.saved.uki, err = m.copyPrebuilt(kernels[0])
		return err
	}
	m.saved.kernelFile, err = m.copyKernel(kernels[0])
	return err
}

// maxBootProgram is more than any kernel or stub has, in bytes. A tree may come from anywhere, and its files may be large for
// nothing but holes.
const maxBootProgram = 1 << 30

// copyOut copies a kernel or a stub of the tree to the workspace, where it may be changed, and returns its path there. Links
// lead no further up than the root of the tree. A file that does not exist is fs.ErrNotExist.
func (m *image) copyOut(name, to string) (file string, err error) {
	root, err := os.Open(m.root)
	if err != nil {
		return "", err
	}
	defer root.Close()
	in, err := tree.OpenRegularIn(int(root.Fd()), name)
	if err != nil {
		return "", err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return "", err
	}
	if fi.Size() > maxBootProgram {
		return "", fmt.Errorf("%s of the image has %d bytes, more than the %d of any kernel or stub", name, fi.Size(), maxBootProgram)
	}
	file = filepath.Join(m.work, to)
	if err := writePrivate(file, io.LimitReader(in, fi.Size())); err != nil {
		return "", fmt.Errorf("copying %s out of the image: %w", name, err)
	}
	return file, nil
}

// writePrivate writes what r has to a file of the workspace.
func writePrivate(file string, r io.Reader) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// copyStub copies the stub that systemd-stub(7) describes, see copyOut.
func (m *image) copyStub() (string, error) {
	return m.copyOut(path.Join(stubDir, m.stubName()), m.stubName())
}

// findStub returns the path of the stub for unified kernel images; "" if none are to be made.
func (m *image) findStub() (string, error) {
	if m.saved.stub != "" {
		return m.saved.stub, nil
	}
	always := m.hasOneKernel()
	if !always && (m.UnifiedKernelImages == config.UKINone || m.Bootloader == config.BootloaderNone) {
		return "", nil
	}
	stub, err := m.copyStub()
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		return stub, err
	case m.UnifiedKernelImages != config.UKIAuto:
		return "", m.missingStub()
	case always:
		return "", m.orAuto(m.missingStub())
	}
	return "", nil
}

func (m *image) missingStub() error {
	if m.Architecture.EFI() == "" {
		return &bootloader.Missing{What: "stub for unified kernel images", Hint: "there is no UEFI firmware for Architecture=" + string(m.Architecture)}
	}
	return &bootloader.Missing{What: "stub for unified kernel images", Tried: []string{path.Join(stubDir, m.stubName())},
		Hint: "add the package with the stubs of systemd to Packages=, systemd-boot-efi in Debian"}
}

// copyKernel copies a kernel, see copyOut.
func (m *image) copyKernel(k kernel.Kernel) (string, error) {
	return m.copyOut(k.Image, "vmlinuz-"+k.Version)
}
