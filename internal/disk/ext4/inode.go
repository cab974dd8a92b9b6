package ext4

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

const (
	flagExtents = 0x80000
	extraSize   = 32 // of the fields behind the first 128 bytes
	// fastSymlink is the length from which on the target of a symbolic link
	// does not fit into the inode.
	fastSymlink = 60

	extentMagic   = 0xf30a
	extentHeader  = 12
	extentsInline = 4
	// maxRun is how many blocks one extent can have.
	maxRun = 32768
)

// inode is what becomes of an entry.
type inode struct {
	entry  *content.Entry
	number uint32
	links  uint32
	size   int64
	// runs are the blocks with the content, nodes those with further extents.
	runs   []mapped
	nodes  []extent
	xattrs xattrs
	// xattrBlock is the block for attributes that do not fit into the inode.
	xattrBlock int64
	// children are set for folders, sorted.
	children []child
	parent   *inode
	// indexed says that the names are found by their hashes.
	indexed bool
}

// child is a name in a folder.
type child struct {
	name string
	node *inode
}

// encode writes the inode to its bytes.
func (n *inode) encode(v *volume, b []byte, buildTime int64) error {
	e := n.entry
	clear(b)
	le.PutUint16(b[0:], uint16(e.Mode))
	le.PutUint16(b[2:], uint16(e.UID))
	le.PutUint16(b[120:], uint16(e.UID>>16))
	le.PutUint16(b[24:], uint16(e.GID))
	le.PutUint16(b[122:], uint16(e.GID>>16))
	le.PutUint32(b[4:], uint32(n.size))
	le.PutUint32(b[108:], uint32(n.size>>32))
	links := n.links
	if e.IsDir() && links >= 65000 {
		links = 1 // "many", with the feature dir_nlink
	} else if links >= 65000 {
		return fmt.Errorf("%d hard links are more than an ext4 file system allows", links)
	}
	le.PutUint16(b[26:], uint16(links))
	le.PutUint16(b[128:], extraSize)
	for _, t := range []struct {
		field, extra int
		sec          int64
		nsec         uint32
	}{
		{8, 140, e.Mtime, e.MtimeNsec},
		{12, 132, e.Mtime, e.MtimeNsec},
		{16, 136, e.Mtime, e.MtimeNsec},
		{144, 148, buildTime, 0},
	} {
		sec := min(max(t.sec, math.MinInt32), 1<<34+math.MinInt32-1)
		le.PutUint32(b[t.field:], uint32(sec))
		le.PutUint32(b[t.extra:], uint32((sec-int64(int32(sec)))>>32)&3|t.nsec<<2)
	}
	blocks := total(n.nodes)
	for _, r := range n.runs {
		blocks += r.count
	}
	if n.xattrBlock != 0 {
		blocks++
		le.PutUint32(b[104:], uint32(n.xattrBlock))
		le.PutUint16(b[118:], uint16(n.xattrBlock>>32))
	}
	sectors := blocks * (v.blockSize / 512)
	le.PutUint32(b[28:], uint32(sectors))
	le.PutUint16(b[116:], uint16(sectors>>32))
	if err := n.encodeBlocks(v, b); err != nil {
		return err
	}
	copy(b[128+extraSize:], n.xattrs.inode)

	if v.checksums {
		sum := checksum(n.seed(v), b)
		le.PutUint16(b[124:], uint16(sum))
		le.PutUint16(b[130:], uint16(sum>>16))
	}
	return nil
}

// seed is what the checksums of the inode and its blocks begin with. The
// generation of new inodes is zero.
func (n *inode) seed(v *volume) uint32 {
	return checksum32(checksum32(v.seed, n.number), 0)
}

// encodeBlocks writes the part of the inode that leads to the content.
func (n *inode) encodeBlocks(v *volume, b []byte) error {
	e, area := n.entry, b[40:100]
	switch e.Type() {
	case unix.S_IFCHR, unix.S_IFBLK:
		if e.Major < 256 && e.Minor < 256 {
			le.PutUint32(area, e.Major<<8|e.Minor)
		} else {
			le.PutUint32(area[4:], e.Minor&0xff|e.Major<<8|e.Minor&^0xff<<12)
		}
		return nil
	case unix.S_IFIFO, unix.S_IFSOCK:
		return nil
	case unix.S_IFLNK:
		if len(e.Target) < fastSymlink {
			copy(area, e.Target)
			return nil
		}
	}
	flags := uint32(flagExtents)
	if n.indexed {
		flags |= flagIndex
	}
	le.PutUint32(b[32:], flags)
	return n.encodeExtents(v, area)
}
