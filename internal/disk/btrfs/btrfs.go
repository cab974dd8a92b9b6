// Package btrfs reads btrfs file systems on a single device, as the btrfs
// documentation ("On-disk format") describes them. mkfs.btrfs writes them.
package btrfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

const (
	superOffset = 64 << 10
	superSize   = 4096
	magicAt     = 64
	labelAt     = 299
	chunksAt    = 811
	maxChunks   = 2048

	minNode, maxNode = 4 << 10, 64 << 10
)

var le = binary.LittleEndian

// featureNames are the incompatible features by their bits, as mkfs.btrfs has
// them.
var featureNames = []string{
	"mixed-backref", "default-subvol", "mixed-bg", "compress-lzo", "compress-zstd", "big-metadata", "extref", "raid56", "skinny-metadata",
	"no-holes", "metadata-uuid", "raid1c34", "zoned", "extent-tree-v2", "raid-stripe-tree", "", "simple-quota", "remap-tree",
}

// knownFeatures are those with which files can be read.
const knownFeatures = 0x7ff | 1<<11 | 1<<16

// Info is what the superblock says of a file system.
type Info struct {
	UUID  uuid.UUID
	Label string
	// NodeSize and SectorSize are those of metadata and data, in bytes.
	NodeSize, SectorSize int64
	// Size is that of the file system, and Used how much of it is in use, in
	// bytes.
	Size, Used int64
	// Devices is how many devices it consists of.
	Devices int64
	// Checksum is the kind of checksums: "crc32c", "xxhash", "sha256" or
	// "blake2".
	Checksum string
	// Features are the names of incompatible features; a bit without a name is
	// shown as a number.
	Features []string
}

// super is a superblock that has been checked.
type super struct {
	Info
	raw               []byte
	device            uint64
	root, chunkRoot   uint64
	rootLevel         byte
	chunkLevel        byte
	incompat, logRoot uint64
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
	b := make([]byte, superSize)
	if err := content.ReadFull(r, b, superOffset); err != nil {
		return nil, fmt.Errorf("reading the superblock: %w", err)
	}
	if string(b[magicAt:magicAt+8]) != "_BHRfS_M" {
		return nil, fmt.Errorf("not a btrfs file system")
	}
	s := &super{
		raw: b, root: le.Uint64(b[80:]), chunkRoot: le.Uint64(b[88:]), logRoot: le.Uint64(b[96:]), rootLevel: b[198], chunkLevel: b[199],
		incompat: le.Uint64(b[188:]), device: le.Uint64(b[201:]),
	}
	label, _, _ := bytes.Cut(b[labelAt:labelAt+256], []byte{0})
	s.Info = Info{
		UUID: uuid.UUID(b[32:48]), Label: strings.ToValidUTF8(string(label), "\uFFFD"), NodeSize: int64(le.Uint32(b[148:])),
		SectorSize: int64(le.Uint32(b[144:])), Size: int64(le.Uint64(b[112:])), Used: int64(le.Uint64(b[120:])), Devices: int64(le.Uint64(b[136:])),
	}
	if sums := []string{"crc32c", "xxhash", "sha256", "blake2"}; int(le.Uint16(b[196:])) < len(sums) {
		s.Checksum = sums[le.Uint16(b[196:])]
	}
	for bit := range 64 {
		switch {
		case s.incompat&(1<<bit) == 0:
		case bit < len(featureNames) && featureNames[bit] != "":
			s.Features = append(s.Features, featureNames[bit])
		default:
			s.Features = append(s.Features, fmt.Sprintf("incompat:%#x", uint64(1)<<bit))
		}
	}
	switch {
	case s.NodeSize < minNode || s.NodeSize > maxNode || s.NodeSize&(s.NodeSize-1) != 0:
		return nil, fmt.Errorf("the superblock has nodes of %d bytes", s.NodeSize)
	case s.SectorSize < minNode || s.SectorSize > maxNode || s.SectorSize&(s.SectorSize-1) != 0:
		return nil, fmt.Errorf("the superblock has sectors of %d bytes", s.SectorSize)
	case s.Size <= 0 || s.Used < 0 || s.Used > s.Size || s.Devices == 1 && s.Size > size:
		return nil, fmt.Errorf("the file system has %d bytes with %d in use, and there are %d", uint64(s.Size), uint64(s.Used), size)
	}
	return s, nil
}

// reader is a file system that is read.
type reader struct {
	*super
	r      io.ReaderAt
	size   int64
	ctx    context.Context
	chunks []chunk
	// trees are where trees of files start, by their number.
	trees map[uint64]treeRoot
	// inodes are those of the trees that were read, and numbers what they are
	// called outside of this package: an index of them.
	inodes  []*inode
	numbers map[inodeKey]uint64
	loaded  map[uint64]bool
	// left is how many bytes of items may still be read.
	left int64
	// zstd are decoders that nobody uses at the moment.
	zstd sync.Pool
}

// treeRoot is the top of a tree.
type treeRoot struct {
	at    uint64
	level byte
}

// inodeKey is an inode in one of the trees.
type inodeKey struct{ tree, inode uint64 }

const (
	// maxItems bounds what is kept of trees, beside the size of the image: a
	// few bytes may stand for many through snapshots.
	maxItems     = 64 << 20
	topTree      = 5
	firstInode   = 256
	rootTreeRoot = 6
)

// Read returns the tree of the btrfs file system that r holds, size bytes
// large: what is seen when it is mounted, the default subvolume with those
// below it. The files in it can be opened as long as r is open. Checksums are
// not looked at. Several devices, profiles that spread data over them, and a
// log that has to be replayed are refused.
func Read(ctx context.Context, r io.ReaderAt, size int64) (content.Tree, error) {
	s, err := readSuper(r, size)
	if err != nil {
		return nil, err
	}
	switch {
	case s.Devices != 1:
		return nil, fmt.Errorf("the file system cannot be read: it is spread over %d devices", s.Devices)
	case s.logRoot != 0:
		return nil, fmt.Errorf("the file system cannot be read: its log has to be replayed first, by mounting it")
	case s.incompat&^knownFeatures != 0:
		return nil, fmt.Errorf("the file system cannot be read: not all of its features (%s) are supported", strings.Join(s.Features, ", "))
	}
	v := &reader{
		super: s, r: r, size: size, ctx: ctx, trees: map[uint64]treeRoot{}, numbers: map[inodeKey]uint64{}, loaded: map[uint64]bool{},
		left: maxItems + min(8*size, 2<<30),
	}
	if err := v.readChunks(); err != nil {
		return nil, fmt.Errorf("reading the chunks: %w", err)
	}
	tree, err := v.readRoots()
	if err != nil {
		return nil, fmt.Errorf("reading the roots of trees: %w", err)
	}
	top, err := v.number(inodeKey{tree, firstInode})
	if err != nil {
		return nil, err
	}
	return content.Collect(ctx, v, top)
}
