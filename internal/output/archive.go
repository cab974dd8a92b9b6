package output

import (
	"context"
	"io"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/config"
)

// writeArchive writes the tree as a tar archive, or as a cpio archive as the kernel reads an initrd.
func (w *packer) writeArchive(ctx context.Context, path string) error {
	return w.create(path, w.compression(), func(f io.Writer) error {
		if w.Image.Format == config.FormatTar {
			return archive.WriteTar(ctx, f, w.Root)
		}
		return archive.WriteCPIO(ctx, f, w.Root, archive.CPIOOptions{})
	})
}
