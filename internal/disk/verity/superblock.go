package verity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"
)

const (
	superblockSize = 512
	// maxForeignBlock is the largest block size that veritysetup accepts.
	maxForeignBlock = 512 << 10
)

// ErrNoSuperblock says that there is no verity superblock.
var ErrNoSuperblock = errors.New("no verity superblock")

// Superblock is what stands in front of a hash tree.
type Superblock struct {
	// HashType is 1, or 0 for the older format of Chrome OS.
	HashType uint32
	// UUID identifies the verity device.
	UUID uuid.UUID
	// Algorithm is the hash function as the kernel names it, such as sha256.
	Algorithm string
	// DataBlockSize and HashBlockSize are in bytes, powers of two of 512 or
	// more.
	DataBlockSize, HashBlockSize int
	// DataBlocks is how many blocks are protected; at least 1, and few enough
	// for their size in bytes to be an int64.
	DataBlocks int64
	// Salt goes in front of each block that is hashed.
	Salt []byte
}

// superblock is that of a tree over a number of data blocks, as large as a hash
// block.
func (p Params) superblock(dataBlocks int64) []byte {
	b := make([]byte, p.HashBlockSize)
	le := binary.LittleEndian
	copy(b, magic)
	le.PutUint32(b[8:], 1)  // format
	le.PutUint32(b[12:], 1) // salt before the data
	copy(b[16:], p.UUID[:])
	copy(b[32:64], "sha256")
	le.PutUint32(b[64:], uint32(p.DataBlockSize))
	le.PutUint32(b[68:], uint32(p.HashBlockSize))
	le.PutUint64(b[72:], uint64(dataBlocks))
	le.PutUint16(b[80:], uint16(len(p.Salt)))
	copy(b[88:], p.Salt)
	return b
}

const magic = "verity\x00\x00"

// ParseSuperblock reads the superblock at the start of a hash partition. Its
// error wraps ErrNoSuperblock when there is none; other errors say what is
// wrong with it.
func ParseSuperblock(r io.ReaderAt) (Superblock, error) {
	b := make([]byte, superblockSize)
	if err := readFull(r, b, 0); errors.Is(err, io.ErrUnexpectedEOF) || err == nil && string(b[:8]) != magic {
		return Superblock{}, ErrNoSuperblock
	} else if err != nil {
		return Superblock{}, fmt.Errorf("reading verity superblock: %w", err)
	}
	le := binary.LittleEndian
	if version := le.Uint32(b[8:]); version != 1 {
		return Superblock{}, fmt.Errorf("verity superblock of version %d is not supported", version)
	}
	sb := Superblock{HashType: le.Uint32(b[12:]), UUID: uuid.UUID(b[16:32])}
	if sb.HashType > 1 {
		return Superblock{}, fmt.Errorf("verity superblock: unknown hash type %d", sb.HashType)
	}
	name, _, ended := bytes.Cut(b[32:64], []byte{0})
	for _, c := range name {
		ended = ended && c > ' ' && c < 0x7f
	}
	if !ended || len(name) == 0 {
		return Superblock{}, errors.New("verity superblock: the name of the hash function is not valid")
	}
	sb.Algorithm = string(name)
	for at, size := range map[int]*int{64: &sb.DataBlockSize, 68: &sb.HashBlockSize} {
		n := le.Uint32(b[at:])
		if n < minBlockSize || n > maxForeignBlock || n&(n-1) != 0 {
			return Superblock{}, fmt.Errorf("verity superblock: block size %d is no power of two from %d to %d", n, minBlockSize, maxForeignBlock)
		}
		*size = int(n)
	}
	blocks := le.Uint64(b[72:])
	if blocks == 0 || blocks > maxDataBlocks(sb.DataBlockSize) {
		return Superblock{}, fmt.Errorf("verity superblock: %d data blocks cannot be", blocks)
	}
	sb.DataBlocks = int64(blocks)
	salt := int(le.Uint16(b[80:]))
	if salt > maxSalt {
		return Superblock{}, fmt.Errorf("verity superblock: salt of %d bytes is longer than %d", salt, maxSalt)
	}
	sb.Salt = b[88 : 88+salt]
	return sb, nil
}

// supported returns an error when Check cannot check such a tree.
func (sb *Superblock) supported() error {
	if sb.HashType != 1 {
		return fmt.Errorf("verity hash trees of type %d are not supported", sb.HashType)
	}
	if sb.Algorithm != "sha256" {
		return fmt.Errorf("verity hash trees with %s are not supported", sb.Algorithm)
	}
	if sb.DataBlocks < 1 || uint64(sb.DataBlocks) > maxDataBlocks(max(sb.DataBlockSize, 1)) {
		return fmt.Errorf("verity hash trees over %d blocks are not supported", sb.DataBlocks)
	}
	return Params{Salt: sb.Salt, DataBlockSize: sb.DataBlockSize, HashBlockSize: sb.HashBlockSize}.check()
}

// DataSize is how many bytes of data are protected.
func (sb *Superblock) DataSize() int64 { return sb.DataBlocks * int64(sb.DataBlockSize) }
