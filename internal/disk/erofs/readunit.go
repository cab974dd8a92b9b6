package erofs

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"sync"

	"encoding/binary"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz/lzma"
)

// unitFile is the content of a compressed file.
type unitFile struct {
	x *index
	// cur is what is left of the unit that is being read.
	cur  io.ReadCloser
	left int64
}

// openUnits opens the content of a compressed file.
func (in *inode) openUnits() (io.ReadCloser, error) {
	x, err := in.index()
	if err != nil {
		return nil, err
	}
	if x.whole {
		return in.im.openFragment(x.fragment, in.size)
	}
	return &unitFile{x: x}, nil
}

func (f *unitFile) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if f.left == 0 {
		if err := f.Close(); err != nil {
			return 0, err
		}
		e, ok, err := f.x.extent()
		if err != nil {
			return 0, err
		}
		if !ok {
			return 0, io.EOF
		}
		if f.cur, err = f.x.in.im.openExtent(e); err != nil {
			return 0, err
		}
		f.left = e.length
	}
	n, err := f.cur.Read(p[:min(f.left, int64(len(p)))])
	f.left -= int64(n)
	switch {
	case n > 0 || err == nil:
		return n, nil
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		err = corrupt("a unit ends %d bytes early", f.left)
	}
	return n, err
}

func (f *unitFile) Close() error {
	if f.cur == nil {
		return nil
	}
	err := f.cur.Close()
	f.cur = nil
	return err
}

// openExtent opens what one unit holds, of which the first e.length bytes count.
func (im *image) openExtent(e extent) (io.ReadCloser, error) {
	if e.fragment {
		return im.openFragment(e.pos, e.length)
	}
	b := make([]byte, e.stored)
	if n, err := im.r.ReadAt(b, e.pos); n < len(b) {
		return nil, fmt.Errorf("reading a unit at %d: %w", e.pos, err)
	}
	if e.plain {
		if !e.turned {
			return io.NopCloser(bytes.NewReader(b)), nil
		}
		at := e.start & (im.blockSize() - 1)
		return io.NopCloser(io.MultiReader(bytes.NewReader(b[at:im.blockSize()]), bytes.NewReader(b[:at]))), nil
	}
	if im.incompat&incompatPaddedFront != 0 {
		b = bytes.TrimLeft(b, "\x00")
	}
	r, err := im.unpack(e.algorithm, b, e.length)
	if err != nil {
		return nil, fmt.Errorf("unpacking a unit at %d: %w", e.pos, err)
	}
	return r, nil
}

// maxWindow is how far back a zstd stream may refer, in bytes.
const maxWindow = 8 << 20

// unpack decompresses b, at least length bytes.
func (im *image) unpack(algorithm byte, b []byte, length int64) (io.ReadCloser, error) {
	switch algorithm {
	case algorithmLZ4:
		return io.NopCloser(&lz4Reader{in: b}), nil
	case algorithmDeflate:
		return flate.NewReader(bytes.NewReader(b)), nil
	case algorithmZstd:
		d, _ := im.zstd.Get().(*zstd.Decoder)
		if d == nil {
			var err error
			d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
			if err != nil {
				return nil, err
			}
		}
		return &zstdReader{d, im}, d.Reset(bytes.NewReader(b))
	case algorithmLZMA:
		return openLZMA(b, im.dictionary, length)
	}
	return nil, fmt.Errorf("algorithm %d is not supported", algorithm)
}

// zstdReader gives its decoder back when it is closed.
type zstdReader struct {
	*zstd.Decoder
	im *image
}

func (r *zstdReader) Close() error {
	r.im.zstd.Put(r.Decoder)
	return nil
}

// lzmaReader reads a stream that does not say where it ends: there may be an
// error behind what is wanted, which must not hide it.
type lzmaReader struct{ r io.Reader }

// openLZMA opens an LZMA stream as EROFS has it: instead of a header, the
// stream's first byte, which is always zero, holds the inverted properties.
func openLZMA(b []byte, dictionary uint32, length int64) (io.ReadCloser, error) {
	if len(b) == 0 {
		return nil, corrupt("an empty unit")
	}
	h := make([]byte, lzma.HeaderLen, lzma.HeaderLen+1)
	h[0] = ^b[0]
	// Nothing refers to what precedes the content.
	binary.LittleEndian.PutUint32(h[1:], uint32(min(int64(dictionary), max(length, lzma.MinDictCap), maxWindow)))
	binary.LittleEndian.PutUint64(h[5:], math.MaxUint64)
	r, err := lzma.NewReader(io.MultiReader(bytes.NewReader(append(h, 0)), bytes.NewReader(b[1:]), zeros{}))
	if err != nil {
		return nil, err
	}
	return io.NopCloser(&lzmaReader{r}), nil
}

func (l *lzmaReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if n == 0 && err != nil {
		// What was decoded before the error is still there.
		n, _ = l.r.Read(p)
	}
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// zeros is an endless row of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// packedInode is the inode that small files and the ends of others are parts
// of. As neighbours are usually read one after the other, it keeps the unit
// that was unpacked last.
type packedInode struct {
	*inode

	mu      sync.Mutex
	indexed bool
	extents []extent
	kept    int
	data    []byte
}

// maxFragmentUnit is how much of the packed inode may be in one unit, in bytes.
const maxFragmentUnit = 16 << 20

// fragmentFile is a part of the packed inode.
type fragmentFile struct {
	p         *packedInode
	pos, left int64
}

// openFragment opens a part of the packed inode.
func (im *image) openFragment(off, n int64) (io.ReadCloser, error) {
	if im.packed == nil {
		return nil, corrupt("a fragment without a packed inode")
	}
	return im.packed.openAt(off, n)
}

// openAt opens a part of the packed inode.
func (p *packedInode) openAt(off, n int64) (io.ReadCloser, error) {
	if off < 0 || n < 0 || off > p.size || n > p.size-off {
		return nil, corrupt("a fragment of %d bytes at %d, of %d", n, off, p.size)
	}
	switch p.layout {
	case layoutPlain, layoutInline:
		return p.openFlat(off, n)
	case layoutFull, layoutCompact:
		return &fragmentFile{p, off, n}, nil
	}
	return nil, fmt.Errorf("a packed inode of layout %d is not supported", p.layout)
}

func (f *fragmentFile) Read(b []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n, err := f.p.readAt(b[:min(int64(len(b)), f.left)], f.pos)
	f.pos, f.left = f.pos+int64(n), f.left-int64(n)
	return n, err
}

func (f *fragmentFile) Close() error { return nil }

// readAt reads up to the end of a unit.
func (p *packedInode) readAt(b []byte, off int64) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.readIndex(); err != nil {
		return 0, err
	}
	i := sort.Search(len(p.extents), func(i int) bool { return p.extents[i].start > off }) - 1
	e := p.extents[i]
	if p.data == nil || p.kept != i {
		p.data = nil
		if e.length > maxFragmentUnit {
			return 0, fmt.Errorf("a packed inode with a unit of %d bytes is not supported", e.length)
		}
		r, err := p.im.openExtent(e)
		if err != nil {
			return 0, err
		}
		data, err := io.ReadAll(io.LimitReader(r, e.length))
		r.Close()
		if err != nil {
			return 0, fmt.Errorf("unpacking a unit at %d: %w", e.pos, err)
		}
		if int64(len(data)) < e.length {
			return 0, corrupt("a unit at %d holds %d bytes instead of %d", e.pos, len(data), e.length)
		}
		p.data, p.kept = data, i
	}
	return copy(b, p.data[off-e.start:]), nil
}

// readIndex reads where all units are, once.
func (p *packedInode) readIndex() error {
	if p.indexed {
		return nil
	}
	x, err := p.index()
	if err != nil {
		return err
	}
	p.extents = nil
	for !x.whole {
		e, ok, err := x.extent()
		if err != nil {
			return err
		}
		if !ok {
			p.indexed = true
			return nil
		}
		if e.fragment {
			break
		}
		p.extents = append(p.extents, e)
	}
	return corrupt("the packed inode is a part of itself")
}
