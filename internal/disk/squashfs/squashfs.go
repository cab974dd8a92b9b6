// Package squashfs reads squashfs file systems, version 4.0, as the kernel's
// Documentation/filesystems/squashfs.rst describes them. mksquashfs writes
// them.
package squashfs

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

const (
	magic              = "hsqs"
	superSize          = 96
	minBlock, maxBlock = 4 << 10, 1 << 20
)

var le = binary.LittleEndian

// Info is what the superblock says of a file system. It has neither label nor
// UUID.
type Info struct {
	// Compression is "gzip", "lzma", "lzo", "xz", "lz4" or "zstd".
	Compression string
	// BlockSize is the size of blocks of files in bytes.
	BlockSize int64
	// Size is how many bytes the file system takes.
	Size int64
	// Inodes is how many files there are.
	Inodes int64
	// BuildTime is when it was made, in seconds since 1970.
	BuildTime int64
	// Features are names of what is special about it: "uncompressed-inodes",
	// "no-fragments", "xattrs" and the like.
	Features []string
}

// super is a superblock that has been checked.
type super struct {
	Info
	compressor                         uint16
	fragments, ids                     int64
	root                               uint64
	idTable, xattrTable, fragmentTable uint64
	inodeTable, dirTable               int64
}

// flags of the superblock, by bit.
var flags = [12]string{
	"uncompressed-inodes", "uncompressed-data", "", "uncompressed-fragments", "no-fragments", "always-fragments",
	"deduplicated", "exportable", "uncompressed-xattrs", "no-xattrs", "compressor-options", "uncompressed-ids",
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
	if err := content.ReadFull(r, b, 0); err != nil {
		return nil, fmt.Errorf("reading the superblock: %w", err)
	}
	if string(b[:4]) != magic {
		return nil, fmt.Errorf("not a squashfs file system")
	}
	if major, minor := le.Uint16(b[28:]), le.Uint16(b[30:]); major != 4 || minor != 0 {
		return nil, fmt.Errorf("squashfs %d.%d is not supported, only 4.0 is", major, minor)
	}
	s := &super{
		compressor: le.Uint16(b[20:]), fragments: int64(le.Uint32(b[16:])), ids: int64(le.Uint16(b[26:])), root: le.Uint64(b[32:]),
		idTable: le.Uint64(b[48:]), xattrTable: le.Uint64(b[56:]), fragmentTable: le.Uint64(b[80:]),
		inodeTable: int64(le.Uint64(b[64:])), dirTable: int64(le.Uint64(b[72:])),
	}
	s.Info = Info{
		BlockSize: int64(le.Uint32(b[12:])), Size: int64(le.Uint64(b[40:])), Inodes: int64(le.Uint32(b[4:])), BuildTime: int64(le.Uint32(b[8:])),
	}
	if names := compressions(); int(s.compressor) < len(names) {
		s.Compression = names[s.compressor]
	}
	for bit, name := range flags {
		if le.Uint16(b[24:])&(1<<bit) != 0 && name != "" {
			s.Features = append(s.Features, name)
		}
	}
	switch {
	case s.Compression == "":
		return nil, fmt.Errorf("the superblock has the unknown compression %d", s.compressor)
	case s.BlockSize < minBlock || s.BlockSize > maxBlock || s.BlockSize != 1<<min(le.Uint16(b[22:]), 62):
		return nil, fmt.Errorf("the superblock has blocks of %d bytes", s.BlockSize)
	case s.Size < superSize || s.Size > size:
		return nil, fmt.Errorf("the file system takes %d bytes, and there are %d", uint64(s.Size), size)
	case s.inodeTable < superSize || s.inodeTable >= s.Size || s.dirTable < s.inodeTable || s.dirTable >= s.Size:
		return nil, fmt.Errorf("the inodes lie at %d and the folders at %d, outside of the file system", uint64(s.inodeTable), uint64(s.dirTable))
	}
	return s, nil
}

// reader is a file system that is read.
type reader struct {
	*super
	r  io.ReaderAt
	id []uint32
	// names is how many more names may be read.
	names  int
	xattrs map[uint32][]content.Xattr
	// xattrBytes is how much more of attributes may be read.
	xattrBytes int

	// What follows is used by files that are open as well.
	mu        sync.Mutex
	unpack    decompressor
	blocks    cache // of metadata
	fragment  cache
	xattrHead []byte
}

// Read returns the tree of the squashfs file system that r holds, size bytes
// large. The files in it can be opened, and read side by side, as long as r is
// open.
func Read(ctx context.Context, r io.ReaderAt, size int64) (content.Tree, error) {
	s, err := readSuper(r, size)
	if err != nil {
		return nil, err
	}
	v := &reader{
		super: s, r: r, names: content.MaxEntries, xattrs: map[uint32][]content.Xattr{}, xattrBytes: maxXattrs,
		blocks: newCache(64), fragment: newCache(4),
	}
	if v.unpack, err = newDecompressor(s.Compression); err != nil {
		return nil, err
	}
	if err := v.readIDs(); err != nil {
		return nil, fmt.Errorf("reading the owners: %w", err)
	}
	return content.Collect(ctx, v, s.root)
}

func (v *reader) readAt(p []byte, off int64) error {
	if off < 0 || off > v.Size-int64(len(p)) {
		return fmt.Errorf("%d bytes at %d are outside of the file system", len(p), off)
	}
	return content.ReadFull(v.r, p, off)
}
