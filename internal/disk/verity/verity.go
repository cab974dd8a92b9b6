// Package verity makes dm-verity hash trees in the format that cryptsetup and
// systemd use: version 1, SHA-256, data and hash blocks of 4096 bytes, with a
// superblock in front (the kernel's admin-guide/device-mapper/verity.rst).
package verity

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

// BlockSize is the size of data and hash blocks in bytes.
const BlockSize = 4096

const (
	digestSize = sha256.Size
	perBlock   = BlockSize / digestSize
	maxSalt    = 256
	// chunkBlocks is how many blocks are hashed at a time.
	chunkBlocks = 256
)

// Params are what a hash tree depends on beside the data.
type Params struct {
	// UUID identifies the verity device.
	UUID uuid.UUID
	// Salt goes in front of each block that is hashed; at most 256 bytes.
	Salt []byte
}

// levels returns the number of blocks of each level of the tree, from the one
// right above the data to the top. A single data block needs no level.
func levels(dataBlocks int64) []int64 {
	var counts []int64
	for n := dataBlocks; n > 1; {
		n = (n + perBlock - 1) / perBlock
		counts = append(counts, n)
	}
	return counts
}

// Size is how many bytes superblock and tree take for data of a certain size,
// which is rounded up to whole blocks.
func Size(dataSize int64) int64 {
	blocks := int64(1)
	for _, n := range levels((dataSize + BlockSize - 1) / BlockSize) {
		blocks += n
	}
	return blocks * BlockSize
}

// Write hashes dataSize bytes of data, a multiple of BlockSize, writes
// superblock and tree to the start of tree and returns the root hash.
func Write(ctx context.Context, data io.ReaderAt, dataSize int64, tree io.WriterAt, p Params) ([]byte, error) {
	if dataSize <= 0 || dataSize%BlockSize != 0 {
		return nil, fmt.Errorf("verity data of %d bytes is not a number of whole blocks", dataSize)
	}
	if len(p.Salt) > maxSalt {
		return nil, fmt.Errorf("verity salt of %d bytes is longer than %d", len(p.Salt), maxSalt)
	}
	digests, err := hashData(ctx, data, dataSize/BlockSize, p.Salt)
	if err != nil {
		return nil, err
	}
	// The top level comes first, right behind the superblock.
	offset := Size(dataSize)
	for len(digests) > digestSize {
		level := pad(digests)
		offset -= int64(len(level))
		if _, err := tree.WriteAt(level, offset); err != nil {
			return nil, fmt.Errorf("writing verity hashes: %w", err)
		}
		if digests, err = hashLevel(ctx, level, p.Salt); err != nil {
			return nil, err
		}
	}
	if _, err := tree.WriteAt(superblock(dataSize/BlockSize, p), 0); err != nil {
		return nil, fmt.Errorf("writing verity superblock: %w", err)
	}
	return digests, nil
}

// pad fills up the last block of a level with zeros.
func pad(b []byte) []byte {
	if rest := len(b) % BlockSize; rest > 0 {
		b = append(b, make([]byte, BlockSize-rest)...)
	}
	return b
}

// hashData returns the digests of all data blocks, one behind the other.
func hashData(ctx context.Context, data io.ReaderAt, blocks int64, salt []byte) ([]byte, error) {
	return hashBlocks(ctx, blocks, salt, func(buf []byte, off int64) ([]byte, error) {
		n, err := data.ReadAt(buf, off)
		if n < len(buf) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("reading verity data: %w", err)
		}
		return buf, nil
	})
}

// hashLevel returns the digests of the blocks of a level.
func hashLevel(ctx context.Context, level, salt []byte) ([]byte, error) {
	return hashBlocks(ctx, int64(len(level)/BlockSize), salt, func(buf []byte, off int64) ([]byte, error) {
		return level[off : off+int64(len(buf))], nil
	})
}

// hashBlocks hashes blocks side by side. read returns len(buf) bytes from an
// offset, in buf or elsewhere.
func hashBlocks(ctx context.Context, blocks int64, salt []byte, read func(buf []byte, off int64) ([]byte, error)) ([]byte, error) {
	digests := make([]byte, blocks*digestSize, (blocks+perBlock)*digestSize)
	workers := int64(runtime.GOMAXPROCS(0))
	g, ctx := errgroup.WithContext(ctx)
	for w := range workers {
		g.Go(func() error {
			buf := make([]byte, chunkBlocks*BlockSize)
			h := sha256.New()
			for first := w * chunkBlocks; first < blocks; first += workers * chunkBlocks {
				if err := ctx.Err(); err != nil {
					return err
				}
				count := min(chunkBlocks, blocks-first)
				data, err := read(buf[:count*BlockSize], first*BlockSize)
				if err != nil {
					return err
				}
				for i := range count {
					h.Reset()
					h.Write(salt)
					h.Write(data[i*BlockSize : (i+1)*BlockSize])
					h.Sum(digests[(first+i)*digestSize : (first+i)*digestSize])
				}
			}
			return nil
		})
	}
	return digests, g.Wait()
}

func superblock(dataBlocks int64, p Params) []byte {
	b := make([]byte, BlockSize)
	le := binary.LittleEndian
	copy(b, "verity\x00\x00")
	le.PutUint32(b[8:], 1)  // format
	le.PutUint32(b[12:], 1) // salt before the data
	copy(b[16:], p.UUID[:])
	copy(b[32:64], "sha256")
	le.PutUint32(b[64:], BlockSize)
	le.PutUint32(b[68:], BlockSize)
	le.PutUint64(b[72:], uint64(dataBlocks))
	le.PutUint16(b[80:], uint16(len(p.Salt)))
	copy(b[88:], p.Salt)
	return b
}
