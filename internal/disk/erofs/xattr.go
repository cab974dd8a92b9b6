package erofs

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// xattrHeader is the size of what precedes an inode's attributes.
const xattrHeader = 12

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

// encodeXattrs encodes attributes as they follow an inode; nil for none.
func encodeXattrs(xattrs []content.Xattr) ([]byte, error) {
	if len(xattrs) == 0 {
		return nil, nil
	}
	b := make([]byte, xattrHeader)
	for _, x := range xattrs {
		index, name, err := splitXattr(x.Name)
		if err != nil {
			return nil, err
		}
		if len(name) > math.MaxUint8 || len(x.Value) > math.MaxUint16 {
			return nil, fmt.Errorf("extended attribute %s is too large", x.Name)
		}
		b = append(b, byte(len(name)), index)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(x.Value)))
		b = append(b, name...)
		b = append(b, x.Value...)
		b = append(b, make([]byte, -len(b)&3)...)
	}
	if (len(b)-xattrHeader)/4+1 > math.MaxUint16 {
		return nil, fmt.Errorf("the extended attributes, %d bytes, are too large", len(b))
	}
	return b, nil
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
