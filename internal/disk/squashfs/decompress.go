package squashfs

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"

	"github.com/mkosi-go/mkosi/internal/disk/lzo"
)

// compressions are the names of the numbers in the superblock.
func compressions() []string { return []string{"", "gzip", "lzma", "lzo", "xz", "lz4", "zstd"} }

// decompressor unpacks one block into room for the largest that there can be,
// and returns the part that it filled.
type decompressor func(src, room []byte) ([]byte, error)

// maxDictionary is how much memory an xz block may ask for: mksquashfs has
// dictionaries as large as a block at most.
const maxDictionary = maxBlock

func newDecompressor(name string) (decompressor, error) {
	switch name {
	case "gzip":
		return func(src, room []byte) ([]byte, error) {
			z, err := zlib.NewReader(bytes.NewReader(src))
			if err != nil {
				return nil, err
			}
			return readInto(z, room)
		}, nil
	case "xz":
		return func(src, room []byte) ([]byte, error) {
			x, err := xz.NewReader(bytes.NewReader(src), maxDictionary)
			if err != nil {
				return nil, err
			}
			return readInto(x, room)
		}, nil
	case "lzo":
		return lzo.Decompress, nil
	case "lz4":
		return func(src, room []byte) ([]byte, error) {
			n, err := lz4.UncompressBlock(src, room)
			if err != nil {
				return nil, err
			}
			return room[:n], nil
		}, nil
	case "zstd":
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxBlock), zstd.WithDecoderMaxWindow(2*maxBlock))
		if err != nil {
			return nil, err
		}
		return func(src, room []byte) ([]byte, error) {
			out, err := d.DecodeAll(src, room[:0:len(room)])
			if err == nil && len(out) > len(room) {
				err = errTooLong
			}
			return out, err
		}, nil
	}
	return nil, fmt.Errorf("squashfs compressed with %s is not supported", name)
}

var errTooLong = fmt.Errorf("a block is longer than it can be")

// readInto fills room, which must be large enough for all that there is.
func readInto(r io.Reader, room []byte) ([]byte, error) {
	n, err := io.ReadFull(r, room)
	switch err {
	case io.EOF, io.ErrUnexpectedEOF:
		return room[:n], nil
	case nil:
		if m, _ := r.Read(make([]byte, 1)); m > 0 {
			return nil, errTooLong
		}
	}
	return room[:n], err
}

// cache keeps the blocks that were unpacked last, by where they are.
type cache struct {
	limit  int
	order  []int64
	blocks map[int64]block
}

// block is an unpacked block.
type block struct {
	data []byte
	next int64 // where what follows it starts
}

func newCache(limit int) cache { return cache{limit: limit, blocks: map[int64]block{}} }

func (c *cache) put(at int64, b block) {
	if len(c.order) == c.limit {
		delete(c.blocks, c.order[0])
		c.order = append(c.order[:0], c.order[1:]...)
	}
	c.order = append(c.order, at)
	c.blocks[at] = b
}
