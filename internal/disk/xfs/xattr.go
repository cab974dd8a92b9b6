package xfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

const (
	attrRoot       = 0x02
	attrSecure     = 0x04
	attrParent     = 0x08
	attrLocal      = 0x01
	attrIncomplete = 0x80

	attrHeader   = 80 // of a block with attributes
	remoteHeader = 56 // of a block with a value
	maxXattr     = 64 << 10
	// maxAttrs is how large the attributes of an inode may be together.
	maxAttrs = 16 << 20
)

// xattrs reads the attributes of an inode.
func (v *reader) xattrs(n *inode) ([]content.Xattr, error) {
	if n.attr.area == nil {
		return nil, nil
	}
	var list []content.Xattr
	var err error
	if n.attr.format == formatLocal {
		list, err = shortXattrs(n.attr.area)
	} else {
		list, err = v.blockXattrs(n)
	}
	slices.SortFunc(list, func(a, b content.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}

// shortXattrs reads attributes in the inode.
func shortXattrs(b []byte) ([]content.Xattr, error) {
	damaged := fmt.Errorf("a list in an inode is damaged")
	if len(b) < 4 || int(be.Uint16(b)) > len(b) || be.Uint16(b) < 4 {
		return nil, damaged
	}
	count := int(b[2])
	var list []content.Xattr
	for b = b[4:be.Uint16(b)]; count > 0; count-- {
		if len(b) < 3 || len(b) < 3+int(b[0])+int(b[1]) {
			return nil, damaged
		}
		end := 3 + int(b[0])
		var err error
		if list, err = appendXattr(list, b[2], b[3:end], b[end:end+int(b[1])]); err != nil {
			return nil, err
		}
		b = b[end+int(b[1]):]
	}
	return list, nil
}

// blockXattrs reads attributes in blocks. Those with an index of the others and
// those with values are passed over.
func (v *reader) blockXattrs(n *inode) ([]content.Xattr, error) {
	runs, err := v.runs(&n.attr)
	if err != nil {
		return nil, err
	}
	var list []content.Xattr
	block := make([]byte, v.BlockSize)
	left := int64(maxAttrs)
	for _, r := range runs {
		for at := int64(0); at < r.Length; at += v.BlockSize {
			if left -= v.BlockSize; left < 0 {
				return nil, fmt.Errorf("they are larger than %d bytes", maxAttrs)
			}
			if err := v.readAt(block, r.Offset+at); err != nil {
				return nil, err
			}
			const leaf = 0x3bee
			if string(block[:4]) == "XARM" || be.Uint16(block[8:]) != leaf {
				continue
			}
			if list, err = v.leafXattrs(list, runs, block); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// leafXattrs adds the attributes of one block.
func (v *reader) leafXattrs(list []content.Xattr, runs []content.Run, b []byte) ([]content.Xattr, error) {
	damaged := fmt.Errorf("a block of them is damaged")
	count := int(be.Uint16(b[56:]))
	if attrHeader+8*count > len(b) {
		return nil, damaged
	}
	used := 0
	for i := range count {
		e := b[attrHeader+8*i:]
		at, flags := int(be.Uint16(e[4:])), e[6]
		if flags&attrIncomplete != 0 {
			continue
		}
		head := 3
		if flags&attrLocal == 0 {
			head = 9
		}
		if at+head > len(b) {
			return nil, damaged
		}
		x := b[at:]
		var name, value []byte
		var err error
		if flags&attrLocal != 0 {
			length := int(be.Uint16(x))
			end := head + int(x[2])
			if end+length > len(x) {
				return nil, damaged
			}
			name, value = x[head:end], x[end:end+length]
		} else {
			end := head + int(x[8])
			if end > len(x) {
				return nil, damaged
			}
			name = x[head:end]
			if value, err = v.remoteValue(runs, int64(be.Uint32(x)), int64(be.Uint32(x[4:]))); err != nil {
				return nil, err
			}
		}
		// No two attributes share bytes, and remote values are limited.
		if used += len(name) + len(value); used > maxAttrs {
			return nil, damaged
		}
		if list, err = appendXattr(list, flags, name, value); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// remoteValue reads a value that starts at a block of the attributes. Each block
// has a header.
func (v *reader) remoteValue(runs []content.Run, block, length int64) ([]byte, error) {
	if length > maxXattr {
		return nil, fmt.Errorf("a value of %d bytes", length)
	}
	value := make([]byte, 0, length)
	b := make([]byte, v.BlockSize)
	for at := block << v.blockLog; int64(len(value)) < length; at += v.BlockSize {
		if err := v.readSpan(runs, at, b); err != nil {
			return nil, err
		}
		if string(b[:4]) != "XARM" {
			return nil, fmt.Errorf("a value that is not there")
		}
		value = append(value, b[remoteHeader:min(v.BlockSize, remoteHeader+length-int64(len(value)))]...)
	}
	return value, nil
}

// appendXattr adds an attribute under the name that the kernel has for it.
func appendXattr(list []content.Xattr, flags byte, name, value []byte) ([]content.Xattr, error) {
	if flags&(attrParent|attrIncomplete) != 0 {
		return list, nil
	}
	prefix := "user."
	switch {
	case flags&attrSecure != 0:
		prefix = "security."
	case flags&attrRoot != 0:
		prefix = "trusted."
		acl := map[string]string{"SGI_ACL_FILE": "system.posix_acl_access", "SGI_ACL_DEFAULT": "system.posix_acl_default"}[string(name)]
		if acl != "" {
			b, err := decodeACL(value)
			return append(list, content.Xattr{Name: acl, Value: b}), err
		}
	}
	return append(list, content.Xattr{Name: prefix + string(name), Value: bytes.Clone(value)}), nil
}

// decodeACL turns an access list from the form on the disk into that of the
// system calls.
func decodeACL(b []byte) ([]byte, error) {
	const entry, user, group = 12, 2, 8
	if len(b) < 4 || int64(be.Uint32(b))*entry > int64(len(b)-4) {
		return nil, fmt.Errorf("an access list is damaged")
	}
	le := binary.LittleEndian
	out := le.AppendUint32(nil, 2)
	count := be.Uint32(b)
	for b = b[4:]; count > 0; count-- {
		tag, id := be.Uint32(b), be.Uint32(b[4:])
		if tag != user && tag != group {
			id = ^uint32(0)
		}
		out = le.AppendUint16(out, uint16(tag))
		out = le.AppendUint16(out, be.Uint16(b[8:]))
		out = le.AppendUint32(out, id)
		b = b[entry:]
	}
	return out, nil
}
