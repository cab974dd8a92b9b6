package output

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk"
)

// BootInput is what is known when the boot files of an image are made.
type BootInput struct {
	// Partitions are those of a disk image that are written already.
	Partitions []disk.Partition
	// Initrd is the path of the tree as an initrd, for formats in which it is one; "" for others.
	Initrd string
}

// BootFiles are the files that start an image: those of the kernel that is started by default. Paths are of this machine,
// and "" where there is no such file. They are only read, until the image is written.
type BootFiles struct {
	// UKI is the unified kernel image, or the addon.
	UKI string
	// Kernel is the kernel, Initrds are what is joined into its initrd, and ModulesInitrd is the one among them with the
	// kernel's modules.
	Kernel        string
	Initrds       []string
	ModulesInitrd string
	// PCRs is JSON with the policies to be signed for the image's PCR values, nil when that was not asked for.
	PCRs []byte
}

// boot has the boot files made, once.
func (w *packer) boot(ctx context.Context, in BootInput) error {
	if w.Boot == nil {
		return nil
	}
	files, err := w.Boot(ctx, in)
	if files != nil {
		w.bootFiles = *files
	}
	return err
}

// writeUKI writes a unified kernel image, or an addon to one, with the tree as its initrd.
func (w *packer) writeUKI(ctx context.Context, path string) error {
	if err := w.bootFromTree(ctx); err != nil {
		return err
	}
	if w.bootFiles.UKI == "" {
		return errors.New("nothing was made of the tree")
	}
	return w.copyFile(ctx, path, w.bootFiles.UKI)
}

// bootFromTree has the boot files made with the tree as the initrd.
func (w *packer) bootFromTree(ctx context.Context) error {
	initrd := filepath.Join(w.TempDir, "initrd")
	err := w.create(initrd, w.Image.CompressOutput, func(f io.Writer) error {
		return archive.WriteCPIO(ctx, f, w.Root, archive.CPIOOptions{})
	})
	if err != nil {
		return fmt.Errorf("packing the tree as an initrd: %w", err)
	}
	return w.boot(ctx, BootInput{Initrd: initrd})
}

// splitBootFiles writes the files that start the image beside the output, as far as SplitArtifacts= names them.
func (w *packer) splitBootFiles(ctx context.Context) error {
	for i, a := range w.Image.SplitArtifacts {
		if slices.Contains(w.Image.SplitArtifacts[:i], a) {
			continue
		}
		if err := w.splitBoot(ctx, a); err != nil {
			return fmt.Errorf("writing what SplitArtifacts=%s asks for: %w", a, err)
		}
	}
	return nil
}

// splitBoot copies one of the files that start the image.
func (w *packer) splitBoot(ctx context.Context, a config.Artifact) error {
	f := w.bootFiles
	switch a {
	case config.ArtifactUKI:
		if w.Image.Format == config.FormatUKI || w.Image.Format == config.FormatAddon {
			return nil // it is the main output
		}
		return w.splitJoined(ctx, "efi", f.UKI)
	case config.ArtifactKernel:
		return w.splitJoined(ctx, "vmlinuz", f.Kernel)
	case config.ArtifactInitrd:
		if len(f.Initrds) == 1 && f.Initrds[0] == f.ModulesInitrd {
			return nil // it is split off by itself, if it is asked for
		}
		return w.splitJoined(ctx, "initrd", f.Initrds...)
	case config.ArtifactKernelModulesInitrd:
		return w.splitJoined(ctx, "kernel-modules-initrd", f.ModulesInitrd)
	case config.ArtifactPCRs:
		if f.PCRs == nil {
			return nil
		}
		return w.splitFile("pcrs", f.PCRs)
	}
	return nil
}

// splitJoined writes a file beside the output that is made of several, as the kernel reads several initrds.
func (w *packer) splitJoined(ctx context.Context, suffix string, paths ...string) error {
	if len(paths) == 0 || paths[0] == "" {
		return nil
	}
	path, err := w.place(w.Image.SplitName(suffix))
	if err != nil {
		return err
	}
	return w.copyFile(ctx, path, paths...)
}

// initrdAlignment is what the start of an archive in an initrd is aligned to, see the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst.
const initrdAlignment = 4

// copyFile copies files one after the other into a new one, each at an aligned place.
func (w *packer) copyFile(ctx context.Context, path string, from ...string) (err error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for i, name := range from {
		if err := ctx.Err(); err != nil {
			return err
		}
		in, err := os.Open(name)
		if err != nil {
			return err
		}
		n, err := out.ReadFrom(in)
		if err := errors.Join(err, in.Close()); err != nil {
			return fmt.Errorf("copying %s: %w", name, err)
		}
		if pad := -n & (initrdAlignment - 1); i < len(from)-1 && pad > 0 {
			if _, err := out.Write(make([]byte, pad)); err != nil {
				return err
			}
		}
	}
	return nil
}
