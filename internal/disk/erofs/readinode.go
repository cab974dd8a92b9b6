package erofs

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// inode is what reading a file needs to know about it.
type inode struct {
	im     *image
	nid    uint64
	layout byte
	// links is the number of names.
	links uint32
	// attributes is how many bytes of attributes precede data.
	attributes int64
	// data is where what follows the attributes begins.
	data int64
	size int64
	// where is the first block, or how the file is cut into chunks.
	where uint32
}

// inode reads an inode, all of it but its attributes.
func (im *image) inode(w *window, nid uint64) (*inode, content.Entry, error) {
	var e content.Entry
	if nid > math.MaxInt64/slotSize-uint64(im.meta) {
		return nil, e, corrupt("inode number %d", nid)
	}
	pos := im.meta + int64(nid)*slotSize
	b, err := w.bytes(pos, compactSize)
	if err != nil {
		return nil, e, err
	}
	le := binary.LittleEndian
	format := le.Uint16(b)
	extended := format&1 != 0
	if format>>4 != 0 {
		return nil, e, fmt.Errorf("inodes of format %#x are not supported", format)
	}
	count := int64(le.Uint16(b[2:]))
	in := &inode{im: im, nid: nid, layout: byte(format >> 1 & 7), where: le.Uint32(b[16:]), data: pos + compactSize}
	e.Mode = uint32(le.Uint16(b[4:]))
	if extended {
		if b, err = w.bytes(pos, extendedSize); err != nil {
			return nil, e, err
		}
		in.data = pos + extendedSize
		in.size, in.links = int64(le.Uint64(b[8:])), le.Uint32(b[44:])
		e.UID, e.GID = le.Uint32(b[24:]), le.Uint32(b[28:])
		e.Mtime, e.MtimeNsec = int64(le.Uint64(b[32:])), le.Uint32(b[40:])
	} else {
		in.size, in.links = int64(le.Uint32(b[8:])), uint32(le.Uint16(b[6:]))
		e.UID, e.GID = uint32(le.Uint16(b[24:])), uint32(le.Uint16(b[26:]))
		e.Mtime, e.MtimeNsec = im.buildTime, im.buildNsec
	}
	if in.size < 0 {
		return nil, e, corrupt("a size of %d bytes", uint64(in.size))
	}
	if count > 0 {
		in.attributes = xattrHeader + 4*(count-1)
		in.data += in.attributes
	}
	e.Major = in.where >> 8 & 0xfff
	e.Minor = in.where&0xff | in.where>>12&0xfff00
	if !isDevice(e.Type()) {
		e.Major, e.Minor = 0, 0
	}
	return in, e, nil
}

// target reads where a symbolic link leads.
func (in *inode) target() (_ string, err error) {
	if in.size > maxPath {
		return "", corrupt("a symbolic link of %d bytes", in.size)
	}
	r, err := in.open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	b := make([]byte, in.size)
	_, err = io.ReadFull(r, b)
	return string(b), err
}
