package ext4

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// Further feature bits of the superblock, which decide whether and how a file
// system can be read.
const (
	compatJournal       = 0x4
	incompatCompression = 0x1
	incompatRecover     = 0x4
	incompatJournalDev  = 0x8
	incompatMetaBG      = 0x10
	incompatDirdata     = 0x1000
	incompatEncrypt     = 0x10000
)

// Info is what the superblock says of a file system.
type Info struct {
	// Kind is "ext2", "ext3" or "ext4", the oldest that has the features.
	Kind  string
	UUID  uuid.UUID
	Label string
	// BlockSize is in bytes.
	BlockSize int64
	// Size is that of the file system, and Free how much of it nothing uses
	// yet, in bytes.
	Size, Free int64
	// Inodes is how many there can be, and FreeInodes how many more.
	Inodes, FreeInodes int64
	// Features are the names of the features, in the order of their bits; a
	// bit without a name is shown as a number.
	Features []string
	// NeedsRecovery says that the journal has changes that are not in place.
	NeedsRecovery bool
}

// featureNames are the names that mke2fs has for the bits of the three words.
var featureNames = [3]map[uint]string{
	{0: "dir_prealloc", 1: "imagic_inodes", 2: "has_journal", 3: "ext_attr", 4: "resize_inode", 5: "dir_index", 9: "sparse_super2",
		10: "fast_commit", 11: "stable_inodes", 12: "orphan_file"},
	{0: "compression", 1: "filetype", 2: "needs_recovery", 3: "journal_dev", 4: "meta_bg", 6: "extent", 7: "64bit", 8: "mmp", 9: "flex_bg",
		10: "ea_inode", 12: "dirdata", 13: "metadata_csum_seed", 14: "large_dir", 15: "inline_data", 16: "encrypt", 17: "casefold"},
	{0: "sparse_super", 1: "large_file", 3: "huge_file", 4: "uninit_bg", 5: "dir_nlink", 6: "extra_isize", 8: "quota", 9: "bigalloc",
		10: "metadata_csum", 12: "read-only", 13: "project", 15: "verity", 16: "orphan_present"},
}

// Features that only ext4 has, by word.
const (
	ext4Incompat = ^uint32(incompatFiletype | incompatRecover | incompatMetaBG | incompatJournalDev)
	ext4RoCompat = ^uint32(0x7) // beyond sparse_super, large_file and btree_dir
)

// ReadInfo reads the superblock of the file system that r holds, size bytes
// large.
func ReadInfo(r io.ReaderAt, size int64) (*Info, error) {
	s, err := readSuper(r, size)
	if err != nil {
		return nil, err
	}
	return s.info(), nil
}

// super is a superblock whose fields have been checked against each other.
type super struct {
	raw                            []byte
	blockSize, blocks              int64
	firstBlock                     int64 // of the first group
	blocksPerGroup, inodesPerGroup int64
	inodes                         int64
	inodeSize, descSize            int64
	compat, incompat, roCompat     uint32
}

func readSuper(r io.ReaderAt, size int64) (*super, error) {
	b := make([]byte, superSize)
	if size < superOffset+superSize {
		return nil, fmt.Errorf("not an ext4 file system: %d bytes are too small for one", size)
	}
	if err := content.ReadFull(r, b, superOffset); err != nil {
		return nil, fmt.Errorf("reading the superblock: %w", err)
	}
	if le.Uint16(b[56:]) != 0xef53 {
		return nil, fmt.Errorf("not an ext4 file system")
	}
	s := &super{
		raw: b, firstBlock: int64(le.Uint32(b[20:])), blocks: int64(le.Uint32(b[4:])), inodes: int64(le.Uint32(b)),
		blocksPerGroup: int64(le.Uint32(b[32:])), inodesPerGroup: int64(le.Uint32(b[40:])), inodeSize: 128, descSize: 32,
		compat: le.Uint32(b[92:]), incompat: le.Uint32(b[96:]), roCompat: le.Uint32(b[100:]),
	}
	if le.Uint32(b[76:]) > 0 {
		s.inodeSize = int64(le.Uint16(b[88:]))
	}
	if s.incompat&incompat64bit != 0 {
		s.descSize = int64(le.Uint16(b[254:]))
		s.blocks |= int64(le.Uint32(b[336:])) << 32
	}
	shift := le.Uint32(b[24:])
	if shift > 6 {
		return nil, fmt.Errorf("the superblock has blocks of 2^%d KiB", shift)
	}
	s.blockSize = 1024 << shift
	switch {
	case s.blocks < 2 || s.blocks > size/s.blockSize:
		return nil, fmt.Errorf("the superblock has %d blocks of %d bytes, there is room for %d", s.blocks, s.blockSize, size/s.blockSize)
	case s.firstBlock > 1 || s.blocksPerGroup < 256 || s.blocksPerGroup > 64*s.blockSize*8 || s.inodesPerGroup == 0 || s.inodesPerGroup > 8*s.blockSize:
		return nil, fmt.Errorf("the superblock has groups of %d blocks and %d inodes", s.blocksPerGroup, s.inodesPerGroup)
	case s.inodeSize < 128 || s.inodeSize > s.blockSize || s.inodeSize&(s.inodeSize-1) != 0:
		return nil, fmt.Errorf("the superblock has inodes of %d bytes", s.inodeSize)
	case s.descSize < 32 || s.descSize > s.blockSize || s.descSize&(s.descSize-1) != 0 || s.incompat&incompat64bit != 0 && s.descSize < descSize:
		return nil, fmt.Errorf("the superblock has group descriptors of %d bytes", s.descSize)
	}
	return s, nil
}

func (s *super) info() *Info {
	b := s.raw
	free := int64(le.Uint32(b[12:]))
	if s.incompat&incompat64bit != 0 {
		free |= int64(le.Uint32(b[344:])) << 32
	}
	in := &Info{
		Kind: "ext2", UUID: uuid.UUID(b[104:120]), Label: text(b[120:136]),
		BlockSize: s.blockSize, Size: s.blocks * s.blockSize, Free: min(max(free, 0), s.blocks) * s.blockSize,
		Inodes: s.inodes, FreeInodes: min(int64(le.Uint32(b[16:])), s.inodes),
		NeedsRecovery: s.incompat&incompatRecover != 0,
	}
	if s.incompat&ext4Incompat != 0 || s.roCompat&ext4RoCompat != 0 {
		in.Kind = "ext4"
	} else if s.compat&compatJournal != 0 {
		in.Kind = "ext3"
	}
	for i, word := range []uint32{s.compat, s.incompat, s.roCompat} {
		for bit := range uint(32) {
			if word&(1<<bit) == 0 {
				continue
			}
			name := featureNames[i][bit]
			if name == "" {
				name = fmt.Sprintf("%s:%#x", [3]string{"compat", "incompat", "ro_compat"}[i], 1<<bit)
			}
			in.Features = append(in.Features, name)
		}
	}
	return in
}

// text is a text that ends at the first zero, if there is one.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}
