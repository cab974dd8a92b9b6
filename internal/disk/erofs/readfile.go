package erofs

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// noContent is the content of an empty file.
type noContent struct{}

func (noContent) Read([]byte) (int, error) { return 0, io.EOF }

// open opens the content of an inode.
func (in *inode) open() (io.ReadCloser, error) {
	if in.size == 0 {
		return io.NopCloser(noContent{}), nil
	}
	switch in.layout {
	case layoutPlain, layoutInline:
		return in.openFlat(0, in.size)
	case layoutFull, layoutCompact:
		return in.openUnits()
	case layoutChunks:
		return in.openChunks()
	}
	return nil, fmt.Errorf("files of layout %d are not supported", in.layout)
}

// openFlat opens a part of content that is stored as it is.
func (in *inode) openFlat(off, n int64) (io.ReadCloser, error) {
	whole := in.size
	if in.layout == layoutInline {
		whole = in.size &^ (in.im.blockSize() - 1)
	}
	start := int64(in.where) << in.im.blockBits
	if whole > 0 && (start > in.im.size || whole > in.im.size-start) || in.size-whole > in.im.size-in.data {
		return nil, corrupt("%d bytes from block %d lie outside of it", whole, in.where)
	}
	var runs []content.Run
	outer := max(0, min(n, whole-off))
	if outer > 0 {
		runs = append(runs, content.Run{Length: outer, Offset: start + off})
	}
	if n > outer {
		runs = append(runs, content.Run{At: outer, Length: n - outer, Offset: in.data + max(0, off-whole)})
	}
	if err := content.CheckRuns(runs, in.im.size); err != nil {
		return nil, err
	}
	return content.OpenRuns(in.im.r, n, runs), nil
}

// How a file that is made of chunks is described by what other inodes have the
// first block in.
const (
	chunkBits    = 0x1f   // the size of chunks, as a power of two of blocks
	chunkIndexes = 1 << 5 // entries of 8 bytes, with the number of a device
)

// chunkedFile is the content of a file that is made of chunks of equal size.
type chunkedFile struct {
	in   *inode
	w    *window
	bits int
	pos  int64
}

func (in *inode) openChunks() (io.ReadCloser, error) {
	if in.where>>6 != 0 {
		return nil, fmt.Errorf("chunks of format %#x are not supported", in.where)
	}
	return io.NopCloser(&chunkedFile{in: in, w: in.im.window(), bits: in.im.blockBits + int(in.where&chunkBits)}), nil
}

func (f *chunkedFile) Read(p []byte) (int, error) {
	in := f.in
	if f.pos >= in.size {
		return 0, io.EOF
	}
	within := f.pos & (1<<f.bits - 1)
	p = p[:min(int64(len(p)), 1<<f.bits-within, in.size-f.pos)]
	block, err := f.block(f.pos >> f.bits)
	if err != nil {
		return 0, err
	}
	if block == noBlock {
		clear(p)
	} else if n, err := in.im.r.ReadAt(p, int64(block)<<in.im.blockBits+within); n < len(p) {
		return 0, corrupt("reading a chunk at block %d: %v", block, err)
	}
	f.pos += int64(len(p))
	return len(p), nil
}

// block is where a chunk starts; noBlock says that it is a hole.
func (f *chunkedFile) block(i int64) (uint32, error) {
	if f.in.where&chunkIndexes == 0 {
		b, err := f.w.bytes((f.in.data+3)&^3+4*i, 4)
		if err != nil {
			return 0, err
		}
		return binary.LittleEndian.Uint32(b), nil
	}
	b, err := f.w.bytes((f.in.data+7)&^7+8*i, 8)
	if err != nil {
		return 0, err
	}
	if device := binary.LittleEndian.Uint16(b[2:]); device != 0 {
		return 0, fmt.Errorf("its content is on another device, number %d, which is not supported", device)
	}
	return binary.LittleEndian.Uint32(b[4:]), nil
}
