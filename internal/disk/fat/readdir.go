package fat

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strings"
	"unicode/utf16"
)

// dirEntry is an entry of a folder that is being read.
type dirEntry struct {
	name       string
	attr       byte
	day, clock uint16
	first      uint32
	size       uint32
}

// decodeDir yields the entries of a folder that are in use, labels and the
// entries for the folder itself included. A long name that does not belong to
// the short one behind it is left out.
func decodeDir(data []byte) iter.Seq[dirEntry] {
	return func(yield func(dirEntry) bool) {
		le := binary.LittleEndian
		var long longName
		for ; len(data) >= entrySize && data[0] != 0; data = data[entrySize:] {
			b := data[:entrySize]
			attr := b[11] & attrMask
			switch {
			case b[0] == 0xe5: // removed
				long = longName{}
				continue
			case attr == attrLong:
				long.add(b)
				continue
			}
			s := shortName{lower: b[12]}
			copy(s.text[:], b)
			e := dirEntry{
				name:  long.name(&s),
				attr:  attr,
				clock: le.Uint16(b[22:]),
				day:   le.Uint16(b[24:]),
				first: uint32(le.Uint16(b[20:]))<<16 | uint32(le.Uint16(b[26:])),
				size:  le.Uint32(b[28:]),
			}
			long = longName{}
			if !yield(e) {
				return
			}
		}
	}
}

// longName is a long name on its way, of which the end comes first.
type longName struct {
	units []uint16
	// number is that of the last entry so far.
	number, checksum byte
}

// add adds an entry; one that is not next begins anew.
func (l *longName) add(b []byte) {
	number := b[0] &^ lastEntry
	if b[0]&lastEntry != 0 {
		*l = longName{number: number + 1, checksum: b[13]}
	}
	if number == 0 || number != l.number-1 || number > 20 || b[13] != l.checksum {
		*l = longName{}
		return
	}
	l.number = number
	units := make([]uint16, 0, unitsPerEntry+len(l.units))
	for _, at := range longUnits {
		units = append(units, binary.LittleEndian.Uint16(b[at:]))
	}
	l.units = append(units, l.units...)
}

// name returns the name of an entry with the short name s.
func (l *longName) name(s *shortName) string {
	if l.number != 1 || l.checksum != s.checksum() {
		return s.String()
	}
	units := l.units
	for i, u := range units {
		if u == 0 {
			units = units[:i]
			break
		}
	}
	return string(utf16.Decode(units))
}

// String is the short name as it is shown.
func (s *shortName) String() string {
	text := s.text
	if text[0] == 0x05 { // stands for what would mean that the entry was removed
		text[0] = 0xe5
	}
	base := strings.TrimRight(decodeBytes(text[:baseLength]), " ")
	ext := strings.TrimRight(decodeBytes(text[baseLength:]), " ")
	if s.lower&lowerBase != 0 {
		base = strings.ToLower(base)
	}
	if s.lower&lowerExt != 0 {
		ext = strings.ToLower(ext)
	}
	if ext != "" {
		base += "." + ext
	}
	return base
}

// readLabel returns the label in the root folder, or the empty string.
func (f *fileSystem) readLabel() (string, error) {
	// The label is the first entry, or in any case an early one.
	b := make([]byte, f.clusterSize())
	offset := f.rootOffset()
	if f.root > 0 {
		b = b[:min(int64(len(b)), f.root*f.sector)]
	} else if f.valid(f.rootCluster) {
		offset = f.offset(f.rootCluster)
	} else {
		return "", nil
	}
	if err := readAt(f.r, b, offset); err != nil {
		return "", fmt.Errorf("reading the root folder: %w", err)
	}
	for len(b) >= entrySize && b[0] != 0 {
		if attr := b[11] & attrMask; b[0] != 0xe5 && attr != attrLong && attr&attrLabel != 0 {
			return trimLabel(b[:11]), nil
		}
		b = b[entrySize:]
	}
	return "", nil
}

// upperHalf are the characters of code page 437 above those of ASCII, which
// short names are in.
const upperHalf = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐" +
	"└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0"

// codePage is what upperHalf consists of.
var codePage = []rune(upperHalf)

// decodeBytes decodes a part of a short name.
func decodeBytes(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		if runes[i] = rune(c); c >= 0x80 {
			runes[i] = codePage[c-0x80]
		}
	}
	return string(runes)
}
