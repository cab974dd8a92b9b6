package output

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/config"
)

// writeCPIO writes the tree as a cpio archive, as the kernel reads an initrd.
func writeCPIO(ctx context.Context, r Request, path string) error {
	return create(path, func(f *os.File) (err error) {
		compression, err := compressor(r.Image.CompressOutput)
		if err != nil {
			return err
		}
		buffered := bufio.NewWriterSize(f, 1<<20)
		w, err := archive.NewWriter(buffered, compression, r.Image.CompressLevel)
		if err != nil {
			return err
		}
		err = archive.WriteCPIO(ctx, w, r.Root, archive.CPIOOptions{})
		return errors.Join(err, w.Close(), buffered.Flush())
	})
}

// compressor translates CompressOutput=.
func compressor(c config.Compression) (archive.Compression, error) {
	switch c {
	case config.CompressionNone:
		return archive.None, nil
	case config.CompressionZstd:
		return archive.Zstd, nil
	}
	return "", fmt.Errorf("CompressOutput=%s is not supported yet", c)
}

// create makes a new file, has it written, and closes it.
func create(path string, write func(*os.File) error) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
