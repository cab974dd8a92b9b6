package verity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// hasher makes the salted digests of blocks of up to BlockSize bytes.
type hasher struct {
	// buf is the salt with room for a block behind it: hashing both at once is
	// faster than one after the other.
	buf  []byte
	salt int
	// zero is the digest of a block of zeros of zeroSize bytes, which large
	// parts of many images consist of.
	zero     [digestSize]byte
	zeroSize int
}

func newHasher(salt []byte) *hasher {
	return &hasher{buf: append(bytes.Clone(salt), make([]byte, BlockSize)...), salt: len(salt)}
}

var zeroBlock [BlockSize]byte

// digest is the digest of a block.
func (h *hasher) digest(block []byte) [digestSize]byte {
	buf := h.buf[:h.salt+len(block)]
	if !bytes.Equal(block, zeroBlock[:len(block)]) {
		copy(buf[h.salt:], block)
		return sha256.Sum256(buf)
	}
	if h.zeroSize != len(block) {
		clear(buf[h.salt:])
		h.zero, h.zeroSize = sha256.Sum256(buf), len(block)
	}
	return h.zero
}

// appendDigests appends the digests of the blocks of a certain size that data
// consists of.
func (h *hasher) appendDigests(to, data []byte, size int) []byte {
	for ; len(data) > 0; data = data[size:] {
		digest := h.digest(data[:size])
		to = append(to, digest[:]...)
	}
	return to
}

// Write hashes dataSize bytes of data, writes superblock and tree to the start
// of tree and returns the root hash. The data must be a whole number of blocks:
// what cryptsetup does with a rest is to leave it unprotected. Memory use does
// not depend on the size. Where several processors are free, they all hash.
func Write(ctx context.Context, data io.ReaderAt, dataSize int64, tree io.WriterAt, p Params) ([]byte, error) {
	p = p.withDefaults()
	if err := p.check(); err != nil {
		return nil, err
	}
	if dataSize <= 0 || dataSize%int64(p.DataBlockSize) != 0 {
		return nil, fmt.Errorf("verity data of %d bytes is not a number of whole blocks", dataSize)
	}
	g := newGeometry(dataSize/int64(p.DataBlockSize), p.DataBlockSize, p.HashBlockSize)
	w := &treeWriter{geometry: g, tree: tree, hasher: newHasher(p.Salt), open: make([]openBlock, len(g.levels))}
	chunks := (dataSize-1)/chunkSize + 1
	newWorker := func() func(int64) ([]byte, error) {
		buf, h := make([]byte, chunkSize), newHasher(p.Salt)
		return func(chunk int64) ([]byte, error) {
			off := chunk * chunkSize
			b := buf[:min(chunkSize, dataSize-off)]
			if err := readFull(data, b, off); err != nil {
				return nil, fmt.Errorf("reading verity data: %w", err)
			}
			return w.writeChunk(h, chunk, b)
		}
	}
	if err := inOrder(ctx, chunks, newWorker, w.take); err != nil {
		return nil, err
	}
	root, err := w.finish()
	if err != nil {
		return nil, err
	}
	if _, err := tree.WriteAt(p.superblock(g.dataBlocks), 0); err != nil {
		return nil, fmt.Errorf("writing verity superblock: %w", err)
	}
	return root, nil
}

// readFull fills b from an offset.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// treeWriter writes a hash tree whose lowest level comes in chunks. No level is
// ever in memory as a whole.
type treeWriter struct {
	*geometry
	tree   io.WriterAt
	hasher *hasher
	// open are the blocks of the levels that are being filled; that of the
	// lowest level is not used.
	open []openBlock
	root []byte
}

// openBlock is a hash block that is not full.
type openBlock struct {
	number  int64
	digests []byte
}

// writeChunk hashes a chunk of data, writes its hash blocks of the lowest level
// and returns their digests. It may be called by several goroutines.
func (w *treeWriter) writeChunk(h *hasher, chunk int64, data []byte) ([]byte, error) {
	digests := h.appendDigests(make([]byte, 0, len(data)/w.dataBlock*digestSize+w.hashBlock), data, w.dataBlock)
	if len(w.levels) == 0 {
		return digests, nil
	}
	blocks := pad(digests, w.hashBlock)
	off := w.levels[0].offset + chunk*w.chunkBlocks()*int64(w.hashBlock)
	if _, err := w.tree.WriteAt(blocks, off); err != nil {
		return nil, fmt.Errorf("writing verity hashes: %w", err)
	}
	return h.appendDigests(nil, blocks, w.hashBlock), nil
}

// pad fills up the last of the blocks of a certain size with zeros.
func pad(b []byte, size int) []byte {
	if rest := len(b) % size; rest > 0 {
		b = append(b, make([]byte, size-rest)...)
	}
	return b
}

// take adds the digests that writeChunk returned for the next chunk.
func (w *treeWriter) take(digests []byte) error {
	for ; len(digests) > 0; digests = digests[digestSize:] {
		if err := w.add(min(1, len(w.levels)), digests[:digestSize]); err != nil {
			return err
		}
	}
	return nil
}

// add adds a digest to a level. That of the block at the top is the root hash.
func (w *treeWriter) add(level int, digest []byte) error {
	if level == len(w.levels) {
		w.root = bytes.Clone(digest)
		return nil
	}
	o := &w.open[level]
	o.digests = append(o.digests, digest...)
	if len(o.digests) < w.hashBlock {
		return nil
	}
	return w.flush(level)
}

// flush writes the open block of a level and adds its digest to the next.
func (w *treeWriter) flush(level int) error {
	o := &w.open[level]
	o.digests = pad(o.digests, w.hashBlock)
	off := w.levels[level].offset + o.number*int64(w.hashBlock)
	if _, err := w.tree.WriteAt(o.digests, off); err != nil {
		return fmt.Errorf("writing verity hashes: %w", err)
	}
	digest := w.hasher.digest(o.digests)
	o.digests = o.digests[:0]
	o.number++
	return w.add(level+1, digest[:])
}

// finish writes the blocks that did not become full and returns the root hash.
func (w *treeWriter) finish() ([]byte, error) {
	for level := range w.open {
		if len(w.open[level].digests) > 0 {
			if err := w.flush(level); err != nil {
				return nil, err
			}
		}
	}
	return w.root, nil
}
