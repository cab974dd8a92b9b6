package erofs

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// xattrHeader is the size of what precedes an inode's attributes, and
// xattrEntry that of what precedes one of them.
const (
	xattrHeader = 12
	xattrEntry  = 4
)

// xattrPrefixes are the beginnings of attribute names that are stored as a
// number. Access lists keep the format that they have in memory.
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
}

// shareXattrs finds the attributes that are worth storing once for all inodes
// that have them, and returns their numbers by their encoding. A reference to
// one takes four bytes.
func (im *Image) shareXattrs(tree content.Tree) (map[string]uint32, error) {
	uses := map[string]int{}
	var order []string
	for i := range tree {
		for _, x := range tree[i].Xattrs {
			b, err := encodeXattr(x)
			if err != nil {
				return nil, fmt.Errorf("/%s: %w", tree[i].Path, err)
			}
			if uses[string(b)] == 0 {
				order = append(order, string(b))
			}
			uses[string(b)]++
		}
	}
	shared := map[string]uint32{}
	for _, s := range order {
		if n := uses[s]; n*len(s) > len(s)+4*n && len(im.shared)+len(s) < math.MaxInt32 {
			shared[s] = uint32(len(im.shared) / 4)
			im.shared = append(im.shared, s...)
		}
	}
	return shared, nil
}

// encodeXattrs encodes attributes as they follow an inode; nil for none.
func encodeXattrs(xattrs []content.Xattr, shared map[string]uint32) ([]byte, error) {
	if len(xattrs) == 0 {
		return nil, nil
	}
	b := make([]byte, xattrHeader)
	var inline []byte
	for _, x := range xattrs {
		e, err := encodeXattr(x)
		if err != nil {
			return nil, err
		}
		if id, ok := shared[string(e)]; ok && b[4] < math.MaxUint8 {
			b[4]++
			b = binary.LittleEndian.AppendUint32(b, id)
			continue
		}
		inline = append(inline, e...)
	}
	b = append(b, inline...)
	if (len(b)-xattrHeader)/4+1 > math.MaxUint16 {
		return nil, fmt.Errorf("the extended attributes, %d bytes, are too large", len(b))
	}
	return b, nil
}

// encodeXattr encodes one attribute.
func encodeXattr(x content.Xattr) ([]byte, error) {
	index, name, err := splitXattr(x.Name)
	if err != nil {
		return nil, err
	}
	if len(name) > math.MaxUint8 || len(x.Value) > math.MaxUint16 {
		return nil, fmt.Errorf("extended attribute %s is too large", x.Name)
	}
	b := make([]byte, 0, xattrEntry+len(name)+len(x.Value)+3)
	b = append(b, byte(len(name)), index)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(x.Value)))
	b = append(b, name...)
	b = append(b, x.Value...)
	return append(b, make([]byte, -len(b)&3)...), nil
}

func splitXattr(name string) (index byte, rest string, err error) {
	for _, p := range xattrPrefixes {
		rest, ok := strings.CutPrefix(name, p.prefix)
		if ok && (rest == "") == p.whole {
			return p.index, rest, nil
		}
	}
	return 0, "", fmt.Errorf("extended attribute %s cannot be stored in an EROFS image", name)
}

// xattrCount is how an inode says how long its attributes are.
func xattrCount(b []byte) uint16 {
	if len(b) == 0 {
		return 0
	}
	return uint16((len(b)-xattrHeader)/4 + 1)
}
