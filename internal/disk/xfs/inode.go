package xfs

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

const (
	coreSize = 176 // of an inode before what it holds
	// bigTimeStart is what times are counted from with bigtime, in seconds
	// before 1970.
	bigTimeStart = 1 << 31

	flagRealtime     = 1
	flag2BigTime     = 1 << 3
	flag2ManyExtents = 1 << 4
)

// How content or attributes are held.
const (
	formatDevice = iota
	formatLocal
	formatExtents
	formatTree
)

// inode is an inode as it lies on the disk.
type inode struct {
	raw  []byte
	size int64
	data fork
	attr fork
}

// fork is where an inode holds its content, or its attributes.
type fork struct {
	format  byte
	extents uint64
	area    []byte
}

// readInode reads the inode of a number.
func (v *reader) readInode(number uint64) (*inode, error) {
	within := number & (1<<v.inodeBlockLog - 1)
	at, err := v.offset(number >> v.inodeBlockLog)
	if err != nil {
		return nil, fmt.Errorf("inode %#x: %w", number, err)
	}
	b := make([]byte, v.inodeSize)
	if err := v.readAt(b, at+int64(within)*v.inodeSize); err != nil {
		return nil, fmt.Errorf("inode %#x: %w", number, err)
	}
	if string(b[:2]) != "IN" || b[4] != 3 || be.Uint64(b[152:]) != number {
		return nil, fmt.Errorf("there is no inode %#x", number)
	}
	n := &inode{raw: b, size: int64(be.Uint64(b[56:]))}
	n.data = fork{b[5], uint64(be.Uint32(b[76:])), b[coreSize:]}
	n.attr = fork{formatExtents, uint64(be.Uint16(b[80:])), nil}
	if be.Uint64(b[120:])&flag2ManyExtents != 0 {
		n.data.extents, n.attr.extents = be.Uint64(b[24:]), uint64(be.Uint32(b[76:]))
	}
	if n.size < 0 {
		return nil, fmt.Errorf("inode %#x has a size of %d bytes", number, uint64(n.size))
	}
	if at := coreSize + 8*int(b[82]); b[82] != 0 {
		if at >= len(b) {
			return nil, fmt.Errorf("inode %#x has attributes outside of it", number)
		}
		n.data.area = b[coreSize:at]
		n.attr.format, n.attr.area = b[83], b[at:]
	}
	return n, nil
}

// Inode describes an inode.
func (v *reader) Inode(number uint64) (content.Entry, error) {
	n, err := v.readInode(number)
	if err != nil {
		return content.Entry{}, err
	}
	b := n.raw
	e := content.Entry{Mode: uint32(be.Uint16(b[2:])), UID: be.Uint32(b[8:]), GID: be.Uint32(b[12:])}
	if be.Uint64(b[120:])&flag2BigTime != 0 {
		ns := be.Uint64(b[40:])
		e.Mtime, e.MtimeNsec = int64(ns/1e9)-bigTimeStart, uint32(ns%1e9)
	} else {
		e.Mtime, e.MtimeNsec = int64(int32(be.Uint32(b[40:]))), min(be.Uint32(b[44:]), 999999999)
	}
	if e.Xattrs, err = v.xattrs(n); err != nil {
		return e, fmt.Errorf("reading extended attributes: %w", err)
	}
	switch e.Type() {
	case unix.S_IFCHR, unix.S_IFBLK:
		if n.data.format != formatDevice || len(n.data.area) < 4 {
			return e, fmt.Errorf("a device without a number")
		}
		device := be.Uint32(n.data.area)
		e.Major, e.Minor = device>>18, device&0x3ffff
	case unix.S_IFLNK:
		e.Target, err = v.target(n)
	case unix.S_IFREG:
		e.Size = n.size
		e.Open = func() (io.ReadCloser, error) { return v.open(n) }
	}
	return e, err
}

// open returns the content of a file.
func (v *reader) open(n *inode) (io.ReadCloser, error) {
	if be.Uint16(n.raw[90:])&flagRealtime != 0 {
		return nil, fmt.Errorf("files on a real-time device are not supported")
	}
	runs, err := v.runs(&n.data)
	if err != nil {
		return nil, err
	}
	return content.OpenRuns(v.r, n.size, runs), nil
}

// target reads what a symbolic link says: in the inode, or in blocks where each
// piece has a header.
func (v *reader) target(n *inode) (string, error) {
	const maxTarget, header = 4095, 56
	if n.size == 0 || n.size > maxTarget {
		return "", fmt.Errorf("a symbolic link with a target of %d bytes", n.size)
	}
	if n.data.format == formatLocal {
		if n.size > int64(len(n.data.area)) {
			return "", fmt.Errorf("a symbolic link that is longer than its inode")
		}
		return string(n.data.area[:n.size]), nil
	}
	runs, err := v.runs(&n.data)
	if err != nil {
		return "", err
	}
	var target []byte
	for _, r := range runs {
		b := make([]byte, min(r.Length, maxTarget+header))
		if err := v.readAt(b, r.Offset); err != nil {
			return "", err
		}
		length := int64(be.Uint32(b[8:]))
		if string(b[:4]) != "XSLM" || length > int64(len(b))-header {
			return "", fmt.Errorf("a symbolic link whose target is damaged")
		}
		target = append(target, b[header:header+length]...)
		if int64(len(target)) >= n.size {
			return string(target[:n.size]), nil
		}
	}
	return "", fmt.Errorf("a symbolic link with %d of the %d bytes of its target", len(target), n.size)
}
