package erofs

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// The superblock: where it is, and what can be said in it.
const (
	magic       = 0xe0f5e1e2
	blockBits   = 12
	superOffset = 1024
	superSize   = 128

	compatChecksum = 1 << 0
	compatMtime    = 1 << 1

	compatPlainPrefixes = 1 << 4 // prefixes for attribute names lie in the image itself

	incompatPaddedFront  = 1 << 0 // the zeros of compressed units come first
	incompatConfigs      = 1 << 1 // settings of the algorithms, units of many blocks
	incompatChunks       = 1 << 2 // files made of chunks
	incompatDevices      = 1 << 3 // data on other devices, or a second algorithm
	incompatTailPacking  = 1 << 4 // compressed units behind inodes
	incompatFragments    = 1 << 5 // small files together, or units used twice
	incompatPrefixes     = 1 << 6 // more prefixes for attribute names
	incompat48Bit        = 1 << 7 // block numbers of 48 bits
	incompatMetaBox      = 1 << 8 // compressed inodes
	incompatUnknownFirst = 1 << 9
)

// The numbers of the algorithms.
const (
	algorithmLZ4 = iota
	algorithmLZMA
	algorithmDeflate
	algorithmZstd
	algorithmCount
)

// checksum is the checksum of the superblock, b being all of the first block
// that follows the boot sector, with the checksum's own field zero.
func checksum(b []byte) uint32 { return ^crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// superblock encodes the superblock and the settings of the algorithm.
func (im *Image) superblock() []byte {
	b := make([]byte, superSize, superSize+16)
	le := binary.LittleEndian
	le.PutUint32(b[0:], magic)
	le.PutUint32(b[8:], compatChecksum|compatMtime)
	b[12] = blockBits
	le.PutUint16(b[14:], uint16(im.root.nid))
	le.PutUint64(b[16:], uint64(len(im.nodes)))
	le.PutUint64(b[24:], uint64(im.options.BuildTime))
	le.PutUint32(b[36:], im.blocks)
	le.PutUint32(b[40:], im.meta)
	le.PutUint32(b[44:], im.sharedBlock)
	copy(b[48:64], im.options.UUID[:])
	copy(b[64:80], im.options.Label)
	if im.options.Compression == Uncompressed {
		return b
	}
	incompat := uint32(incompatPaddedFront | incompatConfigs)
	if im.packed != nil {
		incompat |= incompatFragments
		le.PutUint64(b[96:], im.packed.nid)
	}
	le.PutUint32(b[80:], incompat)
	le.PutUint16(b[84:], 1<<im.algorithm())
	if im.options.Compression == Zstd {
		window := bits.Len(uint(im.options.ChunkSize - 1))
		b = le.AppendUint16(b, 6)
		return append(b, 0, byte(window-10), 0, 0, 0, 0)
	}
	b = le.AppendUint16(b, 14)
	b = le.AppendUint16(b, lz4Distance)
	b = le.AppendUint16(b, uint16(im.options.ChunkSize/BlockSize))
	return append(b, make([]byte, 10)...)
}

// algorithm is the number of the algorithm that content is compressed with.
func (im *Image) algorithm() byte {
	if im.options.Compression == LZ4 {
		return algorithmLZ4
	}
	return algorithmZstd
}
