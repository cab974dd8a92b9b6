package erofs

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// longPrefix marks the number of a prefix that the image defines itself.
const longPrefix = 0x80

// xattrs reads the attributes of an inode, sorted by name. Spend is told how
// much is going to be kept.
func (im *image) xattrs(w *window, in *inode, spend func(int64) error) ([]content.Xattr, error) {
	if in.attributes == 0 {
		return nil, nil
	}
	if err := spend(in.attributes); err != nil {
		return nil, err
	}
	b, err := w.bytes(in.data-in.attributes, int(in.attributes))
	if err != nil {
		return nil, err
	}
	shared := int(b[4])
	if xattrHeader+4*shared > len(b) {
		return nil, corrupt("%d shared attributes in %d bytes", shared, len(b))
	}
	var list []content.Xattr
	ids, rest := slices.Clone(b[xattrHeader:][:4*shared]), b[xattrHeader+4*shared:]
	for len(rest) >= xattrEntry {
		n := xattrSize(rest)
		if rest[0] == 0 && rest[1] == 0 && n == xattrEntry {
			// Zeros up to the end.
			break
		}
		if n > len(rest) {
			return nil, corrupt("an attribute of %d bytes in %d", n, len(rest))
		}
		x, err := im.decodeXattr(rest[:n])
		if err != nil {
			return nil, err
		}
		list = append(list, x)
		rest = rest[min((n+3)&^3, len(rest)):]
	}
	for ; len(ids) > 0; ids = ids[4:] {
		pos := im.shared + 4*int64(binary.LittleEndian.Uint32(ids))
		b, err := w.bytes(pos, xattrEntry)
		if err != nil {
			return nil, err
		}
		n := xattrSize(b)
		if err := spend(int64(n)); err != nil {
			return nil, err
		}
		if b, err = w.bytes(pos, n); err != nil {
			return nil, err
		}
		x, err := im.decodeXattr(b)
		if err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b content.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// xattrSize is the size of the attribute that b begins with.
func xattrSize(b []byte) int {
	return xattrEntry + int(b[0]) + int(binary.LittleEndian.Uint16(b[2:]))
}

// decodeXattr decodes one attribute.
func (im *image) decodeXattr(b []byte) (content.Xattr, error) {
	prefix, err := im.prefix(b[1])
	if err != nil {
		return content.Xattr{}, err
	}
	name := b[xattrEntry:][:b[0]]
	x := content.Xattr{Name: prefix + string(name), Value: slices.Clone(b[xattrEntry+len(name):])}
	if strings.ContainsRune(x.Name, 0) {
		return x, corrupt("an attribute is called %q", x.Name)
	}
	return x, nil
}

// prefix is the beginning of an attribute's name by its number.
func (im *image) prefix(index byte) (string, error) {
	if index&longPrefix != 0 {
		i := int(index &^ longPrefix)
		if i >= len(im.longPrefixes) {
			return "", corrupt("there is no attribute prefix %d", i)
		}
		return im.longPrefixes[i], nil
	}
	for _, p := range xattrPrefixes {
		if p.index == index {
			return p.prefix, nil
		}
	}
	return "", fmt.Errorf("extended attributes of namespace %d are not supported", index)
}

// readPrefixes reads the prefixes that the image defines. They are kept in the
// packed inode, or, without one, in the image itself.
func (im *image) readPrefixes() error {
	r := io.NewSectionReader(im.r, 0, im.size)
	var file io.Reader = io.NewSectionReader(r, im.prefixStart, im.size-min(im.prefixStart, im.size))
	if im.packed != nil && im.compat&compatPlainPrefixes == 0 {
		p, err := im.packed.openAt(im.prefixStart, im.packed.size-im.prefixStart)
		if err != nil {
			return err
		}
		defer p.Close()
		file = p
	}
	pos := 0
	read := func(n int) ([]byte, error) {
		b := make([]byte, n)
		_, err := io.ReadFull(file, b)
		pos += n
		return b, err
	}
	for range im.prefixes {
		if _, err := read(-pos & 3); err != nil {
			return err
		}
		b, err := read(2)
		if err != nil {
			return err
		}
		n := int(binary.LittleEndian.Uint16(b))
		if n == 0 || n > 256 {
			return corrupt("an attribute prefix of %d bytes", n)
		}
		if b, err = read(n); err != nil {
			return err
		}
		if b[0]&longPrefix != 0 {
			return corrupt("an attribute prefix is based on another")
		}
		base, err := im.prefix(b[0])
		if err != nil {
			return err
		}
		im.longPrefixes = append(im.longPrefixes, base+string(b[1:]))
	}
	return nil
}
