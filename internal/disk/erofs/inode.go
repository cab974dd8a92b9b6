package erofs

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// inode encodes the inode without its attributes.
func (n *node) inode() []byte {
	if n.extended {
		return n.extendedInode()
	}
	e := n.entry
	le := binary.LittleEndian
	b := make([]byte, compactSize, n.attributesEnd()+n.tail)
	le.PutUint16(b[0:], n.layout<<1)
	le.PutUint16(b[2:], xattrCount(n.xattrs))
	le.PutUint16(b[4:], uint16(e.Mode))
	le.PutUint16(b[6:], uint16(n.nlink))
	le.PutUint32(b[8:], uint32(n.size))
	le.PutUint32(b[16:], n.where())
	le.PutUint32(b[20:], n.number)
	le.PutUint16(b[24:], uint16(e.UID))
	le.PutUint16(b[26:], uint16(e.GID))
	return b
}

// extendedInode encodes the form that also has room for a time, and for large
// numbers.
func (n *node) extendedInode() []byte {
	e := n.entry
	le := binary.LittleEndian
	b := make([]byte, extendedSize, n.attributesEnd()+n.tail)
	le.PutUint16(b[0:], n.layout<<1|1)
	le.PutUint16(b[2:], xattrCount(n.xattrs))
	le.PutUint16(b[4:], uint16(e.Mode))
	le.PutUint64(b[8:], uint64(n.size))
	le.PutUint32(b[16:], n.where())
	le.PutUint32(b[20:], n.number)
	le.PutUint32(b[24:], e.UID)
	le.PutUint32(b[28:], e.GID)
	le.PutUint64(b[32:], uint64(e.Mtime))
	le.PutUint32(b[40:], e.MtimeNsec)
	le.PutUint32(b[44:], n.nlink)
	return b
}

// where is the first block of the data, the number of blocks of compressed
// data, or the number of a device.
func (n *node) where() uint32 {
	e := n.entry
	if n.layout == layoutCompact {
		count := uint32(0)
		for _, c := range n.chunks {
			count += uint32(c.blocks)
		}
		return count
	}
	if isDevice(e.Type()) {
		return e.Minor&0xff | e.Major<<8 | e.Minor&^0xff<<12
	}
	return n.block
}

// isDevice reports whether files of a type have a device number.
func isDevice(t uint32) bool { return t == unix.S_IFCHR || t == unix.S_IFBLK }
