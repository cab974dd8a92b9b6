package squashfs

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// Types of inodes; the extended ones are seven further.
const (
	typeDir = iota + 1
	typeFile
	typeSymlink
	typeBlock
	typeChar
	typeFIFO
	typeSocket
	extended = 7
)

// modes are the types in the form of stat(2).
var modes = [...]uint32{
	typeDir: unix.S_IFDIR, typeFile: unix.S_IFREG, typeSymlink: unix.S_IFLNK, typeBlock: unix.S_IFBLK,
	typeChar: unix.S_IFCHR, typeFIFO: unix.S_IFIFO, typeSocket: unix.S_IFSOCK,
}

// noXattrs is the number of the attributes of an inode without any.
const noXattrs = ^uint32(0)

// inode is an inode without what all have.
type inode struct {
	kind   uint16 // without the difference of extended ones
	entry  content.Entry
	xattrs uint32

	// Of a folder: where its list is and how long.
	dirBlock  int64
	dirOffset int
	dirSize   int64

	// Of a file: where its blocks start, its fragment, and the lengths of the
	// blocks, which follow.
	start    int64
	fragment uint32
	offset   int64
	lengths  cursor
}

// readInode reads the inode at a reference: the place of a block, from the
// start of the inodes, and the offset in it.
func (v *reader) readInode(ref uint64) (*inode, error) {
	if ref>>16 >= uint64(v.Size) {
		return nil, fmt.Errorf("there is no inode %#x", ref)
	}
	c, err := v.cursor(v.inodeTable+int64(ref>>16), int(ref&0xffff))
	if err != nil {
		return nil, err
	}
	head, err := c.bytes(16)
	if err != nil {
		return nil, err
	}
	kind, uid, gid := le.Uint16(head), int(le.Uint16(head[4:])), int(le.Uint16(head[6:]))
	large := kind > extended
	if large {
		kind -= extended
	}
	if kind < typeDir || kind > typeSocket || uid >= len(v.id) || gid >= len(v.id) {
		return nil, fmt.Errorf("an inode of type %d, user %d and group %d", kind, uid, gid)
	}
	n := &inode{kind: kind, xattrs: noXattrs}
	n.entry = content.Entry{
		Mode: modes[kind] | uint32(le.Uint16(head[2:]))&0o7777, UID: v.id[uid], GID: v.id[gid], Mtime: int64(int32(le.Uint32(head[8:]))),
	}
	switch kind {
	case typeDir:
		err = n.readDir(c, large)
	case typeFile:
		err = n.readFile(c, large)
	case typeSymlink:
		err = n.readSymlink(c, large)
	default:
		err = n.readSpecial(c, large)
	}
	return n, err
}

func (n *inode) readDir(c *cursor, large bool) error {
	if !large {
		b, err := c.bytes(16)
		if err != nil {
			return err
		}
		n.dirBlock, n.dirSize, n.dirOffset = int64(le.Uint32(b)), int64(le.Uint16(b[8:])), int(le.Uint16(b[10:]))
		return nil
	}
	b, err := c.bytes(24)
	if err != nil {
		return err
	}
	n.dirSize, n.dirBlock, n.dirOffset = int64(le.Uint32(b[4:])), int64(le.Uint32(b[8:])), int(le.Uint16(b[18:]))
	n.xattrs = le.Uint32(b[20:])
	return nil
}

func (n *inode) readFile(c *cursor, large bool) error {
	if !large {
		b, err := c.bytes(16)
		if err != nil {
			return err
		}
		n.start, n.fragment, n.offset, n.entry.Size = int64(le.Uint32(b)), le.Uint32(b[4:]), int64(le.Uint32(b[8:])), int64(le.Uint32(b[12:]))
	} else {
		b, err := c.bytes(40)
		if err != nil {
			return err
		}
		n.start, n.entry.Size, n.fragment, n.offset = int64(le.Uint64(b)), int64(le.Uint64(b[8:])), le.Uint32(b[28:]), int64(le.Uint32(b[32:]))
		n.xattrs = le.Uint32(b[36:])
	}
	if n.entry.Size < 0 {
		return fmt.Errorf("a file of %d bytes", uint64(n.entry.Size))
	}
	n.lengths = *c
	return nil
}

func (n *inode) readSymlink(c *cursor, large bool) error {
	b, err := c.bytes(8)
	if err != nil {
		return err
	}
	const maxTarget = 4095
	size := le.Uint32(b[4:])
	if size == 0 || size > maxTarget {
		return fmt.Errorf("a symbolic link with a target of %d bytes", size)
	}
	target, err := c.bytes(int(size))
	if err != nil {
		return err
	}
	n.entry.Target = string(target)
	return n.readXattrNumber(c, large)
}

func (n *inode) readSpecial(c *cursor, large bool) error {
	if _, err := c.bytes(4); err != nil { // the number of links
		return err
	}
	if n.kind == typeBlock || n.kind == typeChar {
		b, err := c.bytes(4)
		if err != nil {
			return err
		}
		number := le.Uint32(b)
		n.entry.Major, n.entry.Minor = number>>8&0xfff, number&0xff|number>>12&0xfff00
	}
	return n.readXattrNumber(c, large)
}

func (n *inode) readXattrNumber(c *cursor, large bool) error {
	if !large {
		return nil
	}
	b, err := c.bytes(4)
	if err == nil {
		n.xattrs = le.Uint32(b)
	}
	return err
}

// Inode describes the inode at a reference.
func (v *reader) Inode(ref uint64) (content.Entry, error) {
	n, err := v.readInode(ref)
	if err != nil {
		return content.Entry{}, err
	}
	e := n.entry
	if n.xattrs != noXattrs {
		if e.Xattrs, err = v.readXattrs(n.xattrs); err != nil {
			return e, fmt.Errorf("reading extended attributes: %w", err)
		}
	}
	if n.kind == typeFile {
		e.Open = func() (io.ReadCloser, error) { return v.open(ref) }
	}
	return e, nil
}

// Names lists the folder whose inode is at a reference.
func (v *reader) Names(ref uint64) ([]content.Name, error) {
	n, err := v.readInode(ref)
	if err != nil {
		return nil, err
	}
	// The size counts "." and ".." as three bytes.
	left := n.dirSize - 3
	if left <= 0 {
		return nil, nil
	}
	c, err := v.cursor(v.dirTable+n.dirBlock, n.dirOffset)
	if err != nil {
		return nil, err
	}
	var names []content.Name
	for left > 0 {
		head, err := c.bytes(12)
		if err != nil {
			return nil, err
		}
		count, block := int64(le.Uint32(head))+1, uint64(le.Uint32(head[4:]))
		left -= 12
		for ; count > 0; count-- {
			b, err := c.bytes(8)
			if err != nil {
				return nil, err
			}
			name, err := c.bytes(int(le.Uint16(b[6:])) + 1)
			if err != nil {
				return nil, err
			}
			left -= 8 + int64(len(name))
			if v.names--; v.names < 0 || left < 0 {
				return nil, fmt.Errorf("a folder that is longer than its size, or more than %d names", content.MaxEntries)
			}
			names = append(names, content.Name{Name: string(name), Inode: block<<16 | uint64(le.Uint16(b))})
		}
	}
	return names, nil
}
