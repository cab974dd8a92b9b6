package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// copySize is how much is copied at a time.
const copySize = 1 << 20

// blocks is the bytes of CopyBlocks=, from a file, a block device, or a
// character device such as /dev/urandom, which fills the partition.
type blocks struct {
	file   *os.File
	length int64
	// endless says that the source has no end.
	endless bool
}

// openBlocks opens a source of CopyBlocks=.
func openBlocks(path string) (_ source, err error) {
	if path == repart.CopyBlocksAuto {
		return nil, fmt.Errorf("CopyBlocks=auto copies from a running system, which an image is not made from; name the file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening CopyBlocks=: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s := &blocks{file: f}
	switch mode := fi.Mode(); {
	case mode&fs.ModeCharDevice != 0:
		s.endless = true
		return s, nil
	case mode.IsRegular(), mode&fs.ModeDevice != 0:
	default:
		return nil, fmt.Errorf("CopyBlocks=%s is neither a file nor a device", path)
	}
	// The size of a device is where its end is.
	if s.length, err = f.Seek(0, io.SeekEnd); err != nil {
		return nil, fmt.Errorf("finding the size of CopyBlocks=%s: %w", path, err)
	}
	if s.length == 0 || s.length%512 != 0 {
		return nil, fmt.Errorf("CopyBlocks=%s has %d bytes, which is no number of whole sectors", path, s.length)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *blocks) size() int64 { return s.length }

func (s *blocks) write(ctx context.Context, image *os.File, offset, room int64) error {
	if s.endless {
		return copyBytes(ctx, image, offset, s.file, room)
	}
	if err := checkRoom(s.length, room); err != nil {
		return err
	}
	return copyData(ctx, image, offset, s.file, s.length)
}

func (s *blocks) close() error { return s.file.Close() }

// copyData copies the first size bytes of a file to an offset of the image,
// where there are zeros, and leaves its holes out.
func copyData(ctx context.Context, image *os.File, offset int64, file *os.File, size int64) error {
	err := tree.CopySparse(ctx, int(file.Fd()), int(image.Fd()), size, offset)
	if errors.Is(err, unix.EINVAL) { // a device, which has no holes
		err = copyBytes(ctx, image, offset, file, size)
	}
	if err != nil {
		return fmt.Errorf("copying %s: %w", file.Name(), err)
	}
	return nil
}

// copyBytes copies size bytes of a file from where it stands.
func copyBytes(ctx context.Context, image *os.File, offset int64, file *os.File, size int64) error {
	buf := make([]byte, min(size, copySize))
	for size > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(file, buf[:min(size, int64(len(buf)))])
		if err != nil {
			return fmt.Errorf("reading %s: %w", file.Name(), err)
		}
		if _, err := image.WriteAt(buf[:n], offset); err != nil {
			return err
		}
		offset, size = offset+int64(n), size-int64(n)
	}
	return nil
}
