// Package xfs reads XFS file systems of version 5, the one with checksums, as
// "XFS Algorithms & Data Structures" describes them. mkfs.xfs writes them.
package xfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

var be = binary.BigEndian

// Incompatible features.
const (
	incompatFileTypes = 1 << iota
	incompatSparseInodes
	incompatMetaUUID
	incompatBigTime
	incompatNeedsRepair
	incompatManyExtents
	incompatExchange
	incompatParents
	incompatMetaDir

	incompatKnown = incompatMetaDir<<1 - 1
)

// incompatNames and roCompatNames are the names of features by their bits, as
// mkfs.xfs has them.
var (
	incompatNames = []string{"ftype", "sparse", "metauuid", "bigtime", "needsrepair", "nrext64", "exchange", "parent", "metadir", "zoned", "zonegaps"}
	roCompatNames = []string{"finobt", "rmapbt", "reflink", "inobtcount"}
)

// Info is what the superblock says of a file system.
type Info struct {
	UUID  uuid.UUID
	Label string
	// BlockSize is in bytes; Size is that of the file system and Free how much
	// of it nothing uses, in bytes too.
	BlockSize, Size, Free int64
	// Inodes is how many are allocated.
	Inodes int64
	// Features are the names of features beyond those of version 5; a bit
	// without a name is shown as a number.
	Features []string
}

// super is a superblock that has been checked.
type super struct {
	Info
	blocks, groupBlocks, groups int64
	root                        uint64
	inodeSize                   int64
	blockLog, inodeBlockLog     uint // of inodes in a block
	groupLog                    uint // of blocks in a group, rounded up
	dirBlock                    int64
	incompat                    uint32
}

// ReadInfo reads the superblock of the file system that r holds, size bytes
// large.
func ReadInfo(r io.ReaderAt, size int64) (*Info, error) {
	s, err := readSuper(r, size)
	if err != nil {
		return nil, err
	}
	return &s.Info, nil
}

func readSuper(r io.ReaderAt, size int64) (*super, error) {
	b := make([]byte, 512)
	if err := content.ReadFull(r, b, 0); err != nil {
		return nil, fmt.Errorf("reading the superblock: %w", err)
	}
	if string(b[:4]) != "XFSB" {
		return nil, fmt.Errorf("not an XFS file system")
	}
	if v := be.Uint16(b[100:]) & 0xf; v != 5 {
		return nil, fmt.Errorf("XFS version %d is not supported, only version 5 is", v)
	}
	s := &super{
		blocks: int64(be.Uint64(b[8:])), groupBlocks: int64(be.Uint32(b[84:])), groups: int64(be.Uint32(b[88:])), root: be.Uint64(b[56:]),
		inodeSize: int64(be.Uint16(b[104:])), blockLog: uint(b[120]), inodeBlockLog: uint(b[123]), groupLog: uint(b[124]), incompat: be.Uint32(b[216:]),
	}
	blockSize := int64(be.Uint32(b[4:]))
	switch {
	case s.blockLog < 9 || s.blockLog > 16 || blockSize != 1<<s.blockLog:
		return nil, fmt.Errorf("the superblock has blocks of %d bytes", blockSize)
	case s.inodeSize < 256 || s.inodeSize > 2048 || s.inodeSize<<s.inodeBlockLog != blockSize:
		return nil, fmt.Errorf("the superblock has inodes of %d bytes", s.inodeSize)
	case s.blocks <= 0 || s.blocks > size/blockSize:
		return nil, fmt.Errorf("the superblock has %d blocks of %d bytes, there is room for %d", uint64(s.blocks), blockSize, size/blockSize)
	case s.groupBlocks == 0 || s.groupLog > 32 || s.groupBlocks > 1<<s.groupLog || s.groups == 0 || (s.groups-1)*s.groupBlocks >= s.blocks:
		return nil, fmt.Errorf("the superblock has %d groups of %d blocks", s.groups, s.groupBlocks)
	case b[192] > 7 || blockSize<<b[192] > 64<<10:
		return nil, fmt.Errorf("the superblock has blocks of folders of 2^%d blocks", b[192])
	}
	s.dirBlock = blockSize << b[192]
	label, _, _ := bytes.Cut(b[108:120], []byte{0})
	s.Info = Info{
		UUID: uuid.UUID(b[32:48]), Label: strings.ToValidUTF8(string(label), "\uFFFD"), BlockSize: blockSize, Size: s.blocks * blockSize,
		Free: int64(min(be.Uint64(b[144:]), uint64(s.blocks))) * blockSize, Inodes: int64(min(be.Uint64(b[128:]), 1<<62)),
		Features: append(names(be.Uint32(b[212:]), roCompatNames, "ro_compat"), names(s.incompat, incompatNames, "incompat")...),
	}
	return s, nil
}

// names are those of the bits of a word.
func names(word uint32, known []string, kind string) []string {
	var list []string
	for bit := range 32 {
		switch {
		case word&(1<<bit) == 0:
		case bit < len(known):
			list = append(list, known[bit])
		default:
			list = append(list, fmt.Sprintf("%s:%#x", kind, uint32(1)<<bit))
		}
	}
	return list
}

// reader is a file system that is read.
type reader struct {
	*super
	r io.ReaderAt
	// dirBytes is how much folders may still have: no two of them share any.
	dirBytes int64
}

// Read returns the tree of the XFS file system that r holds, size bytes large.
// The files in it can be opened as long as r is open. The log is not replayed:
// what only it has is not seen. Files on a real-time device are refused.
func Read(ctx context.Context, r io.ReaderAt, size int64) (content.Tree, error) {
	s, err := readSuper(r, size)
	if err != nil {
		return nil, err
	}
	if unknown := s.incompat &^ incompatKnown; unknown != 0 {
		return nil, fmt.Errorf("the file system cannot be read: it has the features %s, which are not supported", strings.Join(names(unknown, incompatNames, "incompat"), ", "))
	}
	if s.incompat&incompatNeedsRepair != 0 {
		return nil, fmt.Errorf("the file system cannot be read: it has to be repaired first, with xfs_repair")
	}
	return content.Collect(ctx, &reader{s, r, s.Size}, s.root)
}

func (v *reader) readAt(p []byte, off int64) error {
	if off < 0 || off > v.Size-int64(len(p)) {
		return fmt.Errorf("%d bytes at %d are outside of the file system", len(p), off)
	}
	return content.ReadFull(v.r, p, off)
}

// offset is where a block is: its number has the group in the upper bits.
func (v *reader) offset(block uint64) (int64, error) {
	group, within := block>>v.groupLog, int64(block&(1<<v.groupLog-1))
	if group >= uint64(v.groups) || within >= v.groupBlocks {
		return 0, fmt.Errorf("block %#x is outside of the file system", block)
	}
	return (int64(group)*v.groupBlocks + within) << v.blockLog, nil
}
