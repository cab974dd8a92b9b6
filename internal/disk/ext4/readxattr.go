package ext4

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

const (
	indexSystem = 7
	// inlineName is the attribute that holds the rest of content in an inode.
	inlineName = "data"
	// maxXattr is how long the value of an attribute can be in Linux.
	maxXattr = 64 << 10
)

// xattrs reads the attributes of an inode: those in it and those in a block.
func (v *reader) xattrs(b []byte) ([]content.Xattr, error) {
	var list []content.Xattr
	add := func(index byte, name string, value []byte, inode uint32) error {
		if index == indexSystem && name == inlineName {
			return nil
		}
		x, err := v.xattr(index, name, value, inode)
		list = append(list, x)
		return err
	}
	if err := eachInInode(b, add); err != nil {
		return nil, err
	}
	if block := int64(le.Uint32(b[104:])) | int64(le.Uint16(b[118:]))<<32; block != 0 {
		own := list
		shared, ok := v.shared[block]
		if !ok {
			list = nil
			if err := v.eachInBlock(block, add); err != nil {
				return nil, err
			}
			shared = list
			v.shared[block] = shared
		}
		list = append(own[:len(own):len(own)], shared...)
	}
	slices.SortFunc(list, func(a, b content.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// xattr decodes one attribute, whose value may be the content of an inode.
func (v *reader) xattr(index byte, name string, value []byte, inode uint32) (content.Xattr, error) {
	if inode != 0 {
		b, err := v.raw(uint64(inode))
		if err != nil {
			return content.Xattr{}, err
		}
		size := int64(le.Uint32(b[4:]))
		if size > maxXattr {
			return content.Xattr{}, fmt.Errorf("an extended attribute of %d bytes", size)
		}
		f, err := v.open(b, size)
		if err != nil {
			return content.Xattr{}, err
		}
		value = make([]byte, size)
		if _, err := io.ReadFull(f, value); err != nil {
			return content.Xattr{}, err
		}
	}
	for _, p := range xattrPrefixes {
		if p.index != index {
			continue
		}
		if !p.whole {
			return content.Xattr{Name: p.prefix + name, Value: bytes.Clone(value)}, nil
		}
		acl, err := decodeACL(value)
		return content.Xattr{Name: p.prefix, Value: acl}, err
	}
	return content.Xattr{}, fmt.Errorf("an extended attribute of the unknown kind %d", index)
}

// eachInInode calls add for the attributes behind the fields of an inode.
func eachInInode(b []byte, add func(index byte, name string, value []byte, inode uint32) error) error {
	extra := extraFields(b)
	if extra == 0 {
		return nil
	}
	area := b[128+extra:]
	if len(area) < 8 || le.Uint32(area) != xattrMagic {
		return nil
	}
	return eachXattr(area[4:], 0, add)
}

// eachInBlock calls add for the attributes in a block of their own.
func (v *reader) eachInBlock(number int64, add func(index byte, name string, value []byte, inode uint32) error) error {
	b, err := v.block(number)
	if err != nil {
		return fmt.Errorf("reading extended attributes: %w", err)
	}
	if le.Uint32(b) != xattrMagic {
		return fmt.Errorf("block %d does not hold extended attributes", number)
	}
	return eachXattr(b, xattrBlockHeader, add)
}

// eachXattr calls add for the entries that start at an offset of b; where
// their values are is counted from its start.
func eachXattr(b []byte, at int, add func(index byte, name string, value []byte, inode uint32) error) error {
	total := 0
	for at+4 <= len(b) && le.Uint32(b[at:]) != 0 {
		if at+xattrEntry > len(b) {
			return fmt.Errorf("an invalid list of extended attributes")
		}
		e := b[at:]
		n, offset, inode, size := int(e[0]), int(le.Uint16(e[2:])), le.Uint32(e[4:]), le.Uint32(e[8:])
		if xattrEntry+n > len(e) || inode == 0 && (size > uint32(len(b)) || size > 0 && offset > len(b)-int(size)) {
			return fmt.Errorf("an invalid list of extended attributes")
		}
		var value []byte
		if inode == 0 && size > 0 {
			value = b[offset : offset+int(size)]
		}
		// Values do not share bytes.
		if total += len(value); total > len(b) {
			return fmt.Errorf("an invalid list of extended attributes")
		}
		if err := add(e[1], string(e[xattrEntry:xattrEntry+n]), value, inode); err != nil {
			return err
		}
		at += xattrEntry + (n+3)&^3
	}
	return nil
}

// decodeACL turns an access list from the form on the disk into that of the
// system calls, see encodeACL.
func decodeACL(value []byte) ([]byte, error) {
	const user, group = 2, 8
	if len(value) < 4 || le.Uint32(value) != 1 {
		return nil, fmt.Errorf("not an access list")
	}
	out := le.AppendUint32(nil, 2)
	for e := value[4:]; len(e) > 0; {
		if len(e) < 4 {
			return nil, fmt.Errorf("not an access list")
		}
		out = append(out, e[:4]...)
		tag := le.Uint16(e)
		e = e[4:]
		if tag != user && tag != group {
			out = append(out, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		if len(e) < 4 {
			return nil, fmt.Errorf("not an access list")
		}
		out = append(out, e[:4]...)
		e = e[4:]
	}
	return out, nil
}
