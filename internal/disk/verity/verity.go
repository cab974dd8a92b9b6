// Package verity makes, reads and checks dm-verity hash trees in the format
// that cryptsetup and systemd use: version 1, SHA-256, a salt in front of each
// block, and a superblock in front of the tree (the kernel's
// admin-guide/device-mapper/verity.rst); and the signatures of their root
// hashes.
package verity

import (
	"crypto/sha256"
	"fmt"
	"math"

	"github.com/google/uuid"
)

// BlockSize is the size of data and hash blocks in bytes where nothing else is
// asked for. It is the largest that there is.
const BlockSize = 4096

const (
	minBlockSize = 512
	digestSize   = sha256.Size
	maxSalt      = 256
	// chunkSize is how many bytes are read and hashed at a time. It is more
	// than what the largest hash block covers, and a multiple of it.
	chunkSize = 1 << 20
)

// Params are what a hash tree depends on beside the data.
type Params struct {
	// UUID identifies the verity device.
	UUID uuid.UUID
	// Salt goes in front of each block that is hashed; at most 256 bytes.
	Salt []byte
	// DataBlockSize and HashBlockSize are in bytes, powers of two from 512 to
	// 4096. Zero means BlockSize.
	DataBlockSize, HashBlockSize int
}

// Size is how many bytes superblock and tree take for data of a certain size,
// which is rounded up to whole blocks. The block sizes of p must be valid.
func Size(dataSize int64, p Params) int64 {
	p = p.withDefaults()
	block := int64(p.DataBlockSize)
	blocks := dataSize / block
	if dataSize%block != 0 {
		blocks++
	}
	return newGeometry(blocks, p.DataBlockSize, p.HashBlockSize).size
}

func (p Params) withDefaults() Params {
	if p.DataBlockSize == 0 {
		p.DataBlockSize = BlockSize
	}
	if p.HashBlockSize == 0 {
		p.HashBlockSize = BlockSize
	}
	return p
}

func (p Params) check() error {
	if len(p.Salt) > maxSalt {
		return fmt.Errorf("verity salt of %d bytes is longer than %d", len(p.Salt), maxSalt)
	}
	for _, size := range []int{p.DataBlockSize, p.HashBlockSize} {
		if size < minBlockSize || size > BlockSize || size&(size-1) != 0 {
			return fmt.Errorf("verity block size %d is no power of two from %d to %d", size, minBlockSize, BlockSize)
		}
	}
	return nil
}

// geometry is where the blocks of a hash tree are.
type geometry struct {
	dataBlocks           int64
	dataBlock, hashBlock int
	// levels are from the one right above the data to the top, which is first
	// in the file. A single data block needs no level.
	levels []level
	// size is that of superblock and tree in bytes.
	size int64
}

// level is one level of a hash tree.
type level struct {
	offset, blocks int64
}

func newGeometry(dataBlocks int64, dataBlock, hashBlock int) *geometry {
	g := &geometry{dataBlocks: dataBlocks, dataBlock: dataBlock, hashBlock: hashBlock, size: int64(hashBlock)}
	for n := dataBlocks; n > 1; {
		n = (n-1)/g.perBlock() + 1
		g.levels = append(g.levels, level{blocks: n})
	}
	for i := len(g.levels) - 1; i >= 0; i-- {
		g.levels[i].offset = g.size
		g.size += g.levels[i].blocks * int64(hashBlock)
	}
	return g
}

// perBlock is how many digests a hash block holds.
func (g *geometry) perBlock() int64 { return int64(g.hashBlock / digestSize) }

// chunkBlocks is how many hash blocks cover the data of a chunk.
func (g *geometry) chunkBlocks() int64 {
	return chunkSize / (g.perBlock() * int64(g.dataBlock))
}

// maxDataBlocks keeps every offset within 63 bits: a tree is never larger than
// 1/8 of its data.
func maxDataBlocks(dataBlock int) uint64 {
	return math.MaxInt64 / 2 / uint64(dataBlock)
}
