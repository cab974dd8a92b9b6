package ext4

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

const (
	xattrMagic       = 0xea020000
	xattrEntry       = 16
	xattrBlockHeader = 32
)

// xattrPrefixes are the beginnings of attribute names that are stored as a
// number.
var xattrPrefixes = []struct {
	index  byte
	prefix string
	whole  bool
}{
	{2, "system.posix_acl_access", true},
	{3, "system.posix_acl_default", true},
	{1, "user.", false},
	{4, "trusted.", false},
	{6, "security.", false},
	{7, "system.", false},
}

// xattrs are the attributes of an inode, encoded. Both are nil when there are
// none; in block the checksum is missing, which depends on its place.
type xattrs struct {
	inode, block []byte
}

// xattr is an attribute as it is stored.
type xattr struct {
	index byte
	name  string
	value []byte
}

func (x *xattr) size() int {
	return xattrEntry + (len(x.name)+3)&^3 + (len(x.value)+3)&^3
}

// splitXattrs puts as many attributes as possible into the inode and the
// others into a block.
func (g geometry) splitXattrs(list []content.Xattr) (xattrs, error) {
	if len(list) == 0 {
		return xattrs{}, nil
	}
	var all []xattr
	for _, c := range list {
		x, err := newXattr(c)
		if err != nil {
			return xattrs{}, err
		}
		all = append(all, x)
	}
	// The order that the kernel expects in a block.
	slices.SortFunc(all, func(a, b xattr) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(len(a.name), len(b.name)), cmp.Compare(a.name, b.name))
	})
	var inInode, inBlock []xattr
	inodeRoom := int(g.inodeSize) - 128 - extraSize
	room := inodeRoom - 4 - 4 // magic and end of the list
	for _, x := range all {
		if x.size() <= room {
			room -= x.size()
			inInode = append(inInode, x)
		} else {
			inBlock = append(inBlock, x)
		}
	}
	var out xattrs
	if len(inInode) > 0 {
		out.inode = make([]byte, inodeRoom)
		le.PutUint32(out.inode, xattrMagic)
		encodeXattrs(out.inode[4:], 0, inInode, false)
	}
	if len(inBlock) > 0 {
		needed := xattrBlockHeader + 4
		for _, x := range inBlock {
			needed += x.size()
		}
		if needed > int(g.blockSize) {
			return xattrs{}, fmt.Errorf("the extended attributes, %d bytes, are too large for an ext4 file system", needed)
		}
		out.block = make([]byte, g.blockSize)
		le.PutUint32(out.block[0:], xattrMagic)
		le.PutUint32(out.block[4:], 1) // references
		le.PutUint32(out.block[8:], 1) // blocks
		le.PutUint32(out.block[12:], encodeXattrs(out.block, xattrBlockHeader, inBlock, true))
	}
	return out, nil
}

func newXattr(c content.Xattr) (xattr, error) {
	for _, p := range xattrPrefixes {
		name, ok := strings.CutPrefix(c.Name, p.prefix)
		if !ok || (name == "") != p.whole {
			continue
		}
		if len(name) > math.MaxUint8 {
			break
		}
		value := c.Value
		if p.whole {
			var err error
			if value, err = encodeACL(value); err != nil {
				return xattr{}, fmt.Errorf("extended attribute %s: %w", c.Name, err)
			}
		}
		return xattr{p.index, name, value}, nil
	}
	return xattr{}, fmt.Errorf("extended attribute %s cannot be stored in an ext4 file system", c.Name)
}

// encodeXattrs writes entries from an offset on and their values backwards
// from the end, and returns the hash of them all. Hashes are left out in
// inodes, where nobody looks for shared ones.
func encodeXattrs(b []byte, at int, list []xattr, hashed bool) uint32 {
	end := len(b)
	all := uint32(0)
	for _, x := range list {
		e := b[at:]
		e[0], e[1] = byte(len(x.name)), x.index
		if len(x.value) > 0 {
			end -= (len(x.value) + 3) &^ 3
			copy(b[end:], x.value)
			le.PutUint16(e[2:], uint16(end))
		}
		le.PutUint32(e[8:], uint32(len(x.value)))
		copy(e[xattrEntry:], x.name)
		if hashed {
			h := x.hash()
			le.PutUint32(e[12:], h)
			all = all<<16 ^ all>>16 ^ h
		}
		at += xattrEntry + (len(x.name)+3)&^3
	}
	return all
}

// hash is the hash of name and value.
func (x *xattr) hash() uint32 {
	h := uint32(0)
	for _, c := range []byte(x.name) {
		h = h<<5 ^ h>>27 ^ uint32(c)
	}
	padded := append(slices.Clone(x.value), make([]byte, -len(x.value)&3)...)
	for i := 0; i < len(padded); i += 4 {
		h = h<<16 ^ h>>16 ^ le.Uint32(padded[i:])
	}
	return h
}

// finishXattrBlock adds the checksum of a block of attributes at its place.
func finishXattrBlock(seed uint32, block []byte, number int64) {
	sum := checksum(seed, binary.LittleEndian.AppendUint64(nil, uint64(number)))
	le.PutUint32(block[16:], checksum(sum, block))
}

// encodeACL turns an access list from the form of the system calls into that
// on the disk, where entries without a name are shorter.
func encodeACL(value []byte) ([]byte, error) {
	const user, group = 2, 8
	if len(value) < 4 || (len(value)-4)%8 != 0 || le.Uint32(value) != 2 {
		return nil, fmt.Errorf("not an access list")
	}
	out := le.AppendUint32(nil, 1)
	for e := value[4:]; len(e) > 0; e = e[8:] {
		out = append(out, e[:4]...)
		if tag := le.Uint16(e); tag == user || tag == group {
			out = append(out, e[4:8]...)
		}
	}
	return out, nil
}
