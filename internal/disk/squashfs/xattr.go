package squashfs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

const (
	// maxXattr is how long the value of an attribute can be in Linux, and
	// maxXattrs how long all different ones of a file system together.
	maxXattr  = 64 << 10
	maxXattrs = 256 << 20
	// outOfLine marks an attribute whose value is elsewhere.
	outOfLine = 0x100
)

// prefixes are the beginnings of names by their numbers.
var prefixes = [...]string{"user.", "trusted.", "security."}

// readXattrs reads the attributes with a number, which inodes share.
func (v *reader) readXattrs(number uint32) ([]content.Xattr, error) {
	if list, ok := v.xattrs[number]; ok {
		return list, nil
	}
	if v.xattrHead == nil {
		head := make([]byte, 16)
		if v.xattrTable > uint64(v.Size) {
			return nil, fmt.Errorf("the file system has none")
		}
		if err := v.readAt(head, int64(v.xattrTable)); err != nil {
			return nil, err
		}
		v.xattrHead = head
	}
	start := le.Uint64(v.xattrHead)
	if number >= le.Uint32(v.xattrHead[8:]) || start > uint64(v.Size) {
		return nil, fmt.Errorf("there is no list %d", number)
	}
	b, err := v.entry(v.xattrTable+16, int64(number), 16)
	if err != nil {
		return nil, err
	}
	c, err := v.xattrCursor(start, le.Uint64(b))
	if err != nil {
		return nil, err
	}
	var list []content.Xattr
	for range le.Uint32(b[8:]) {
		x, err := v.readXattr(c, start)
		if err != nil {
			return nil, err
		}
		if v.xattrBytes -= len(x.Name) + len(x.Value); v.xattrBytes < 0 {
			return nil, fmt.Errorf("they are longer than %d bytes together", maxXattrs)
		}
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b content.Xattr) int { return strings.Compare(a.Name, b.Name) })
	v.xattrs[number] = list
	return list, nil
}

func (v *reader) xattrCursor(start, ref uint64) (*cursor, error) {
	if ref>>16 > uint64(v.Size) {
		return nil, fmt.Errorf("an attribute at %#x", ref)
	}
	return v.cursor(int64(start+ref>>16), int(ref&0xffff))
}

// readXattr reads one attribute.
func (v *reader) readXattr(c *cursor, start uint64) (content.Xattr, error) {
	head, err := c.bytes(4)
	if err != nil {
		return content.Xattr{}, err
	}
	kind := le.Uint16(head)
	if int(kind&0xff) >= len(prefixes) {
		return content.Xattr{}, fmt.Errorf("one of the unknown kind %d", kind)
	}
	name, err := c.bytes(int(le.Uint16(head[2:])))
	if err != nil {
		return content.Xattr{}, err
	}
	value, err := readValue(c)
	if err != nil {
		return content.Xattr{}, err
	}
	if kind&outOfLine != 0 {
		if len(value) != 8 {
			return content.Xattr{}, fmt.Errorf("a value elsewhere, at a place of %d bytes", len(value))
		}
		elsewhere, err := v.xattrCursor(start, le.Uint64(value))
		if err != nil {
			return content.Xattr{}, err
		}
		if value, err = readValue(elsewhere); err != nil {
			return content.Xattr{}, err
		}
	}
	return content.Xattr{Name: prefixes[kind&0xff] + string(name), Value: value}, nil
}

func readValue(c *cursor) ([]byte, error) {
	b, err := c.bytes(4)
	if err != nil {
		return nil, err
	}
	size := le.Uint32(b)
	if size > maxXattr {
		return nil, fmt.Errorf("a value of %d bytes", size)
	}
	return c.bytes(int(size))
}
