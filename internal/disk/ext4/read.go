package ext4

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// Flags of inodes.
const (
	flagEncrypted  = 0x800
	flagCompressed = 0x4
	flagInlineData = 0x10000000
)

// reader is a file system that is read.
type reader struct {
	*super
	r io.ReaderAt
	// tables are the first blocks of the inode tables, by group.
	tables []int64
	// dirBlocks is how many blocks folders may still have: no two of them
	// share any.
	dirBlocks int64
	// blocks with attributes that several inodes share.
	shared map[int64][]content.Xattr
}

// Read returns the tree of the ext2, ext3 or ext4 file system that r holds,
// size bytes large. The files in it can be opened as long as r is open.
// Checksums are not looked at. A file system whose journal has to be replayed
// is refused, and so is one that is compressed, encrypted or has its group
// descriptors spread (meta_bg).
func Read(ctx context.Context, r io.ReaderAt, size int64) (content.Tree, error) {
	s, err := readSuper(r, size)
	if err != nil {
		return nil, err
	}
	for _, refused := range []struct {
		bit uint32
		why string
	}{
		{incompatRecover, "its journal has to be replayed first: run e2fsck on it"},
		{incompatJournalDev, "it is a journal and holds no files"},
		{incompatCompression, "compressed ext2 file systems are not supported"},
		{incompatMetaBG, "spread group descriptors (meta_bg) are not supported"},
		{incompatDirdata, "extended folder entries (dirdata) are not supported"},
	} {
		if s.incompat&refused.bit != 0 {
			return nil, fmt.Errorf("the file system cannot be read: %s", refused.why)
		}
	}
	v := &reader{super: s, r: r, dirBlocks: s.blocks, shared: map[int64][]content.Xattr{}}
	if err := v.readGroups(); err != nil {
		return nil, err
	}
	return content.Collect(ctx, v, rootInode)
}

func (v *reader) readAt(p []byte, off int64) error { return content.ReadFull(v.r, p, off) }

// block reads a block of the file system.
func (v *reader) block(number int64) ([]byte, error) {
	if number <= 0 || number >= v.blocks {
		return nil, fmt.Errorf("block %d is outside of the file system", number)
	}
	b := make([]byte, v.blockSize)
	return b, v.readAt(b, number*v.blockSize)
}

// readGroups finds the inode tables.
func (v *reader) readGroups() error {
	count := (v.blocks - v.firstBlock + v.blocksPerGroup - 1) / v.blocksPerGroup
	need := (v.inodes + v.inodesPerGroup - 1) / v.inodesPerGroup
	if count*v.descSize > v.blocks*v.blockSize || need > count {
		return fmt.Errorf("%d inodes in %d groups do not fit the file system", v.inodes, count)
	}
	descs := make([]byte, count*v.descSize)
	if err := v.readAt(descs, (v.firstBlock+1)*v.blockSize); err != nil {
		return fmt.Errorf("reading the group descriptors: %w", err)
	}
	for ; len(descs) > 0; descs = descs[v.descSize:] {
		table := int64(le.Uint32(descs[8:]))
		if v.descSize >= descSize {
			table |= int64(le.Uint32(descs[40:])) << 32
		}
		v.tables = append(v.tables, table)
	}
	return nil
}

// raw reads the bytes of an inode.
func (v *reader) raw(number uint64) ([]byte, error) {
	if number == 0 || number > uint64(v.inodes) {
		return nil, fmt.Errorf("there is no inode %d", number)
	}
	group, index := (int64(number)-1)/v.inodesPerGroup, (int64(number)-1)%v.inodesPerGroup
	at := index * v.inodeSize
	if table := v.tables[group]; table <= 0 || table >= v.blocks-at/v.blockSize {
		return nil, fmt.Errorf("the inodes of group %d lie in block %d, outside of the file system", group, table)
	}
	b := make([]byte, v.inodeSize)
	if err := v.readAt(b, v.tables[group]*v.blockSize+at); err != nil {
		return nil, fmt.Errorf("reading inode %d: %w", number, err)
	}
	return b, nil
}

// Inode describes an inode.
func (v *reader) Inode(number uint64) (content.Entry, error) {
	b, err := v.raw(number)
	if err != nil {
		return content.Entry{}, err
	}
	e := content.Entry{
		Mode:  uint32(le.Uint16(b)),
		UID:   uint32(le.Uint16(b[2:])) | uint32(le.Uint16(b[120:]))<<16,
		GID:   uint32(le.Uint16(b[24:])) | uint32(le.Uint16(b[122:]))<<16,
		Mtime: int64(int32(le.Uint32(b[16:]))),
	}
	if extra := extraFields(b); extra >= 12 {
		more := le.Uint32(b[136:])
		e.Mtime += int64(more&3) << 32
		e.MtimeNsec = min(more>>2, 999999999)
	}
	if e.Xattrs, err = v.xattrs(b); err != nil {
		return e, err
	}
	size := int64(le.Uint32(b[4:])) | int64(le.Uint32(b[108:]))<<32
	flags := le.Uint32(b[32:])
	switch e.Type() {
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Major, e.Minor = deviceNumbers(b[40:])
	case unix.S_IFLNK:
		e.Target, err = v.target(b, size)
	case unix.S_IFREG:
		if size < 0 {
			return e, fmt.Errorf("a size of %d bytes", uint64(size))
		}
		e.Size = size
		e.Open = func() (io.ReadCloser, error) { return v.open(b, size) }
	}
	if err == nil && flags&(flagEncrypted|flagCompressed) != 0 && e.Type() != unix.S_IFREG {
		err = fmt.Errorf("encrypted and compressed inodes cannot be read")
	}
	return e, err
}

// extraFields is how many bytes of fields an inode has behind the first 128.
func extraFields(b []byte) int {
	if len(b) <= 130 {
		return 0
	}
	n := int(le.Uint16(b[128:]))
	if n > len(b)-128 || n%4 != 0 {
		return 0
	}
	return n
}

// deviceNumbers decodes the numbers of a device, which are stored in one of two ways.
func deviceNumbers(b []byte) (major, minor uint32) {
	if n := le.Uint32(b); n != 0 {
		return n >> 8 & 0xff, n & 0xff
	}
	n := le.Uint32(b[4:])
	return n >> 8 & 0xfff, n&0xff | n>>12&0xfff00
}

// maxTarget is what Linux allows a symbolic link to say.
const maxTarget = 4095

// target reads what a symbolic link says.
func (v *reader) target(b []byte, size int64) (string, error) {
	if size <= 0 || size > maxTarget {
		return "", fmt.Errorf("a symbolic link with a target of %d bytes", size)
	}
	if size < fastSymlink && le.Uint32(b[32:])&(flagExtents|flagInlineData) == 0 {
		return string(b[40 : 40+size]), nil
	}
	f, err := v.open(b, size)
	if err != nil {
		return "", err
	}
	target := make([]byte, size)
	_, err = io.ReadFull(f, target)
	return string(target), err
}

// open returns the content of an inode.
func (v *reader) open(b []byte, size int64) (io.ReadCloser, error) {
	flags := le.Uint32(b[32:])
	if flags&(flagEncrypted|flagCompressed) != 0 {
		return nil, fmt.Errorf("encrypted and compressed files cannot be read")
	}
	if flags&flagInlineData != 0 {
		return v.openInline(b, size)
	}
	runs, err := v.runs(b, size)
	if err != nil {
		return nil, err
	}
	return content.OpenRuns(v.r, size, runs), nil
}
