package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// DefaultMaxSize is how large a compressed image may become when it is
// unpacked, unless something else is said.
const DefaultMaxSize = 64 << 30

// ErrTooLarge is in the error about an image that becomes larger than allowed
// when it is unpacked.
var ErrTooLarge = errors.New("larger than allowed when it is unpacked")

// Source is an image that is open: bytes, or a tree of the host.
type Source struct {
	path        string
	size        int64
	compression archive.Compression
	r           io.ReaderAt // nil for a tree
	format      Format
	tree        content.Tree // of a tree or an archive
	close       []func() error
}

// Open opens the image at a path: a file, a block device or a folder. A file
// that is compressed is unpacked into a temporary file that has no name, in
// $TMPDIR or else /var/tmp, and which may become maxSize bytes large; zero is
// DefaultMaxSize. The caller closes the source.
func Open(ctx context.Context, path string, maxSize int64) (*Source, error) {
	s := &Source{path: path}
	if err := s.open(ctx, maxSize); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close closes the image. What was read from it must not be opened any more.
func (s *Source) Close() error {
	var err error
	for _, f := range s.close {
		err = errors.Join(err, f())
	}
	s.close = nil
	return err
}

func (s *Source) open(ctx context.Context, maxSize int64) error {
	// Without waiting for the other end of what might be a pipe.
	f, err := os.OpenFile(s.path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	s.close = append(s.close, f.Close)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		s.format = FormatTree
		tree, done, err := content.Read(ctx, content.Selection{Root: s.path, Copies: []content.Copy{{Source: "/", Target: "/"}}})
		if err != nil {
			return err
		}
		s.tree = tree
		s.close = append(s.close, done)
		return nil
	case mode.IsRegular():
		s.size = info.Size()
	case mode&os.ModeDevice != 0 && mode&os.ModeCharDevice == 0:
		if s.size, err = f.Seek(0, io.SeekEnd); err != nil {
			return fmt.Errorf("finding out the size of %s: %w", s.path, err)
		}
	default:
		return fmt.Errorf("%s is neither a file nor a folder nor a block device", s.path)
	}
	s.r = f
	if err := s.unpack(ctx, maxSize); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	if s.format = Detect(s.r, s.size); s.format == FormatCPIO || s.format == FormatTar {
		if err := s.readArchive(ctx, maxSize); err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
	}
	return nil
}

// unpack puts the content of a compressed image in its place.
func (s *Source) unpack(ctx context.Context, maxSize int64) error {
	packed := io.NewSectionReader(s.r, 0, s.size)
	r, c, err := archive.NewReader(packed)
	if err != nil {
		return err
	}
	defer r.Close()
	if c == archive.None {
		return nil
	}
	s.compression = c
	tmp, err := temporary()
	if err != nil {
		return err
	}
	s.close = append(s.close, tmp.Close)
	n, err := copySparse(ctx, tmp, 0, r, maxSize)
	if err != nil {
		return fmt.Errorf("unpacking it: %w", err)
	}
	s.r, s.size = tmp, n
	return nil
}

// temporary opens a new file that has no name.
func temporary() (*os.File, error) {
	dir := os.Getenv("TMPDIR")
	if dir == "" {
		dir = "/var/tmp"
	}
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), dir+"/(unpacked image)"), nil
	}
	f, err := os.CreateTemp(dir, "mkosi-inspect-")
	if err != nil {
		return nil, fmt.Errorf("making a temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// copySparse copies all of r to an empty place of f, and leaves holes where it
// is zero. It returns how many bytes there were.
func copySparse(ctx context.Context, f *os.File, at int64, r io.Reader, maxSize int64) (int64, error) {
	maxSize = cmp.Or(maxSize, DefaultMaxSize)
	buf := make([]byte, 1<<20)
	zeros := make([]byte, 64<<10)
	n := int64(0)
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		m, err := fill(r, buf)
		if n+int64(m) > maxSize {
			return n, fmt.Errorf("%w: the limit is %d bytes", ErrTooLarge, maxSize)
		}
		for piece := buf[:m]; len(piece) > 0; {
			k := min(len(piece), len(zeros))
			if string(piece[:k]) != string(zeros[:k]) {
				if _, err := f.WriteAt(piece[:k], at+n); err != nil {
					return n, err
				}
			}
			n += int64(k)
			piece = piece[k:]
		}
		if err == io.EOF {
			return n, f.Truncate(at + n)
		} else if err != nil {
			return n, err
		}
	}
}

// fill reads until p is full. Its error is io.EOF if r ended before; that of an
// r that ends where it should not stays what it is.
func fill(r io.Reader, p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := r.Read(p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
