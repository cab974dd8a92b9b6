package fat

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxUnits is the length of the longest name, in UTF-16 units.
const maxUnits = 255

// forbidden are the characters that no long name has, beside control characters.
const forbidden = `"*/:<>?\|`

// encodeName checks a long name and encodes it.
func encodeName(name string) ([]uint16, error) {
	if !utf8.ValidString(name) {
		return nil, fmt.Errorf("the name is not valid UTF-8, which it has to be in a FAT file system")
	}
	for _, r := range name {
		if r < ' ' || strings.ContainsRune(forbidden, r) {
			return nil, fmt.Errorf("a name in a FAT file system cannot have the character %q", r)
		}
	}
	if last := name[len(name)-1]; last == ' ' || last == '.' {
		return nil, fmt.Errorf("a name in a FAT file system cannot end in %q", last)
	}
	units := utf16.Encode([]rune(name))
	if len(units) > maxUnits {
		return nil, fmt.Errorf("the name has %d characters, in a FAT file system at most %d", len(units), maxUnits)
	}
	return units, nil
}

// foldCase returns what names that differ in case only have in common.
func foldCase(name string) string { return strings.Map(unicode.ToUpper, name) }

// label turns the name of a partition into a label, or the empty string when
// that is the name of file systems without one.
func label(name string) string {
	var b strings.Builder
	count := 0
	for _, r := range strings.TrimLeft(name, " ") {
		switch {
		case r < ' ' || r >= 0x7f || strings.ContainsRune(`"*+,./:;<=>?[\]|`, r):
			r = '_'
		default:
			r = unicode.ToUpper(r)
		}
		b.WriteRune(r)
		if count++; count == len(shortName{}.text) {
			break
		}
	}
	s := strings.TrimRight(b.String(), " ")
	if s == noName {
		return ""
	}
	return s
}
