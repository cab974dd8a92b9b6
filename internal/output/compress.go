package output

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/config"
)

// compressor translates CompressOutput=.
func compressor(c config.Compression) (archive.Compression, error) {
	switch c {
	case config.CompressionNone, "":
		return archive.None, nil
	case config.CompressionZstd:
		return archive.Zstd, nil
	case config.CompressionXZ:
		return archive.XZ, nil
	case config.CompressionGzip:
		return archive.Gzip, nil
	}
	return "", fmt.Errorf("CompressOutput=%s is not supported: choose zstd, xz, gz or none", c)
}

// compression is how the main output, and what is like it, is compressed.
func (w *packer) compression() config.Compression {
	if w.Image.OutputName() == w.Image.UncompressedName() {
		return config.CompressionNone
	}
	return w.Image.CompressOutput
}

// create makes a new file and has it written, through a compression if there is one.
func (w *packer) create(path string, c config.Compression, write func(io.Writer) error) error {
	compression, err := compressor(c)
	if err != nil {
		return err
	}
	return create(path, func(f *os.File) error {
		buffered := bufio.NewWriterSize(f, 1<<20)
		z, err := archive.NewWriter(buffered, compression, w.Image.CompressLevel)
		if err != nil {
			return err
		}
		return errors.Join(write(z), z.Close(), buffered.Flush())
	})
}

// copySection makes a new file of size bytes of src at offset, compressed if outputs are, else with its holes.
func (w *packer) copySection(ctx context.Context, path string, src *os.File, offset, size int64) error {
	if c := w.compression(); c.Extension() != "" {
		return w.create(path, c, func(f io.Writer) error {
			_, err := io.Copy(f, &cancelled{ctx, io.NewSectionReader(src, offset, size)})
			return err
		})
	}
	return create(path, func(f *os.File) error {
		if err := f.Truncate(size); err != nil {
			return err
		}
		return copyData(ctx, f, src, offset, size)
	})
}

// copyData copies what is not a hole of size bytes of src at offset to the start of dst.
func copyData(ctx context.Context, dst, src *os.File, offset, size int64) error {
	for at := offset; at < offset+size; {
		start, err := unix.Seek(int(src.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && start >= offset+size {
			return nil // only a hole is left
		}
		if err != nil {
			return fmt.Errorf("looking for data in %s: %w", src.Name(), err)
		}
		end, err := unix.Seek(int(src.Fd()), start, unix.SEEK_HOLE)
		if err != nil {
			return fmt.Errorf("looking for holes in %s: %w", src.Name(), err)
		}
		at = min(end, offset+size)
		data := &cancelled{ctx, io.NewSectionReader(src, start, at-start)}
		if _, err := io.Copy(io.NewOffsetWriter(dst, start-offset), data); err != nil {
			return err
		}
	}
	return nil
}

// cancelled is a reader that ends with the error of its context.
type cancelled struct {
	ctx context.Context
	io.Reader
}

func (c *cancelled) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.Reader.Read(b)
}

// create makes a new file, has it written, and closes it.
func create(path string, write func(*os.File) error) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
