// Package archive writes an OS tree as a cpio or tar archive, extracts tar
// archives into a tree, and holds the compression around both.
package archive

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	xzr "github.com/therootcompany/xz"
	xzw "github.com/ulikunitz/xz"
)

// Compression is a compressor by the name that CompressOutput= has for it. The
// zero value is no compression.
type Compression string

// The compressions. BZip2 is only read; LZ4 and LZMA are known by name in
// order to be refused by it.
const (
	None  Compression = ""
	Zstd  Compression = "zstd"
	Gzip  Compression = "gz"
	XZ    Compression = "xz"
	BZip2 Compression = "bz2"
	LZ4   Compression = "lz4"
	LZMA  Compression = "lzma"
)

// ErrUnsupported is in the error about a compression that is not built in.
var ErrUnsupported = errors.New("compression is not supported")

// ParseCompression returns the compression that a name or file name extension
// stands for; "none", "uncompressed" and the empty string are None.
func ParseCompression(name string) (Compression, error) {
	switch name {
	case "", "none", "uncompressed":
		return None, nil
	case "zstd", "zst":
		return Zstd, nil
	case "gzip", "gz":
		return Gzip, nil
	case "xz":
		return XZ, nil
	case "bzip2", "bz2", "bz":
		return BZip2, nil
	case "lz4":
		return LZ4, nil
	case "lzma":
		return LZMA, nil
	}
	return None, fmt.Errorf("unknown compression %q", name)
}

// Extension returns what the compression adds to a file name, such as ".zst";
// None adds nothing.
func (c Compression) Extension() string {
	switch c {
	case Zstd:
		return ".zst"
	case None:
		return ""
	}
	return "." + string(c)
}

// zstdWindow is what every reader of zstd is asked to support (RFC 8878,
// section 3.1.1.1.2), the kernel's among them. It makes the output as small as
// that of the zstd program with 2 MiB.
const zstdWindow = 8 << 20

// defaultLevel is what the reference compresses with, whatever the compressor.
const defaultLevel = 3

// NewWriter returns a writer that compresses to w. level is that of the
// compressor's program, as CompressLevel= gives it; zero is 3. The
// bytes depend only on the input, the compression and the level. Close
// finishes the stream and does not close w; a writer that is not closed has
// written a truncated stream.
//
// Zstd output is a single frame, as the kernel needs for an initrd. Its levels
// are mapped to the few that the library has.
func NewWriter(w io.Writer, c Compression, level int) (io.WriteCloser, error) {
	if level == 0 {
		level = defaultLevel
	}
	switch c {
	case None:
		return nopCloser{w}, nil
	case Zstd:
		if level < 0 || level > 22 {
			return nil, fmt.Errorf("zstd has no level %d: choose 1 to 22", level)
		}
		return zstd.NewWriter(w,
			zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
			// Blocks wait for each other; twice as many keep every CPU busy.
			zstd.WithEncoderConcurrency(2*runtime.GOMAXPROCS(0)),
			zstd.WithWindowSize(zstdWindow))
	case Gzip:
		if level < 0 || level > 9 {
			return nil, fmt.Errorf("gzip has no level %d: choose 1 to 9", level)
		}
		return gzip.NewWriterLevel(w, level)
	case XZ:
		return newXZWriter(w, level)
	}
	return nil, fmt.Errorf("writing %s: %w", c, ErrUnsupported)
}

func newXZWriter(w io.Writer, level int) (io.WriteCloser, error) {
	if level < 0 || level > 9 {
		return nil, fmt.Errorf("xz has no level %d: choose 1 to 9", level)
	}
	// The dictionary sizes of xz(1)'s presets. The kernel checks only CRC32.
	dict := []int{256 << 10, 1 << 20, 2 << 20, 4 << 20, 4 << 20, 8 << 20, 8 << 20, 16 << 20, 32 << 20, 64 << 20}
	config := xzw.WriterConfig{DictCap: dict[level], CheckSum: xzw.CRC32}
	return config.NewWriter(w)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// maxWindow bounds the memory that a compressed stream may ask its reader for.
const maxWindow = 128 << 20

// NewReader returns a reader of what r holds, and how it was compressed, which
// its first bytes tell. Close releases the decompressor; it does not close r.
// Data after the end of the compressed stream is an error or part of it, as
// the format has it.
func NewReader(r io.Reader) (io.ReadCloser, Compression, error) {
	b := bufio.NewReaderSize(r, 128<<10)
	magic, err := b.Peek(6)
	if err != nil && err != io.EOF {
		return nil, None, err
	}
	c := detect(magic)
	rc, err := newReader(b, c)
	if err != nil {
		return nil, c, fmt.Errorf("reading %s: %w", c, err)
	}
	return rc, c, nil
}

func newReader(b *bufio.Reader, c Compression) (io.ReadCloser, error) {
	switch c {
	case None:
		return io.NopCloser(b), nil
	case Zstd:
		d, err := zstd.NewReader(b, zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case Gzip:
		return gzip.NewReader(b)
	case XZ:
		x, err := xzr.NewReader(b, maxWindow)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(x), nil
	case BZip2:
		return io.NopCloser(bzip2.NewReader(b)), nil
	}
	return nil, ErrUnsupported
}

func detect(magic []byte) Compression {
	for _, m := range []struct {
		prefix string
		c      Compression
	}{
		{"\x28\xb5\x2f\xfd", Zstd},
		{"\x1f\x8b", Gzip},
		{"\xfd7zXZ\x00", XZ},
		{"BZh", BZip2},
		{"\x04\x22\x4d\x18", LZ4},
		{"\x02\x21\x4c\x18", LZ4},
		{"\x5d\x00\x00", LZMA},
	} {
		if bytes.HasPrefix(magic, []byte(m.prefix)) {
			return m.c
		}
	}
	return None
}
