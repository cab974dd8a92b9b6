package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/mkosi-go/mkosi/internal/bootloader"
	"github.com/mkosi-go/mkosi/internal/efi/pe"
	"github.com/mkosi-go/mkosi/internal/efi/uki"
	"github.com/mkosi-go/mkosi/internal/kernel"
)

// signKernel signs the copy of the kernel of a unified kernel image with SecureBoot=yes: firmware checks it once more when
// the stub starts it. A compressed one becomes what the stub starts first.
func (m *image) signKernel(ctx context.Context, k kernel.Kernel, file string) (err error) {
	if !m.SecureBoot {
		return nil
	}
	if err := decompressKernel(file); err != nil {
		return fmt.Errorf("decompressing the kernel %s: %w", k.Version, err)
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := m.signFile(ctx, f); err != nil {
		return fmt.Errorf("kernel %s: %w", k.Version, err)
	}
	return nil
}

// decompressKernel replaces a kernel that is compressed as a whole by its content.
func decompressKernel(file string) (err error) {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	compressed, err := uki.DecompressKernel(out, io.NewSectionReader(in, 0, fi.Size()))
	if err := errors.Join(err, out.Close()); err != nil || !compressed {
		return errors.Join(err, os.Remove(out.Name()))
	}
	return os.Rename(out.Name(), file)
}

// kernelOptions are bootOptions for kernels that a boot loader starts by themselves. Those for firmware are signed, unless
// only the distribution's signatures are wanted; others start without Secure Boot, if at all.
func (m *image) kernelOptions() bootloader.Options {
	o := m.bootOptions()
	if o.Sign == nil || onlySigned(m.Image) {
		o.Sign = nil
		return o
	}
	o.Sign = func(ctx context.Context, program []byte) ([]byte, error) {
		signed, err := m.signProgram(ctx, program)
		if errors.Is(err, pe.ErrFormat) {
			m.b.UI.Warnf(m.Image.Image, "a kernel is not signed for Secure Boot: it is %v, perhaps since it is compressed", pe.ErrFormat)
			return program, nil
		}
		return signed, err
	}
	return o
}
