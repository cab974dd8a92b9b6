package fat

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// The parts of a short name, in bytes.
const (
	baseLength = 8
	extLength  = 3
)

// shortName is the name that every file has for programs of old: upper case
// letters, eight and three, filled with spaces.
type shortName struct {
	text [baseLength + extLength]byte
	// lower says which of the parts are shown in lower case, lowerBase and
	// lowerExt.
	lower byte
}

const (
	lowerBase = 1 << 3
	lowerExt  = 1 << 4
)

// makeShort puts a short name together.
func makeShort(base, ext string) shortName {
	var s shortName
	copy(s.text[:], strings.Repeat(" ", len(s.text)))
	copy(s.text[:baseLength], base)
	copy(s.text[baseLength:], ext)
	return s
}

// checksum ties the entries of a long name to the short one.
func (s *shortName) checksum() byte {
	sum := byte(0)
	for _, c := range s.text {
		sum = sum>>1 | sum<<7
		sum += c
	}
	return sum
}

// shortCharacter reports whether an upper case character can be in a short name.
func shortCharacter(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c != 0 && strings.IndexByte("!#$%&'()-@^_`{}~", c) >= 0
}

// plainShort returns the short name of a name that is like one. Exact says
// whether it says everything about the name, its case included.
func plainShort(name string) (s shortName, exact, ok bool) {
	base, ext, dot := strings.Cut(name, ".")
	if base == "" || len(base) > baseLength || len(ext) > extLength || dot && ext == "" {
		return s, false, false
	}
	upperBase, mixedBase, ok := plainPart(base)
	upperExt, mixedExt, okExt := plainPart(ext)
	if !ok || !okExt {
		return s, false, false
	}
	s = makeShort(upperBase, upperExt)
	if mixedBase || mixedExt {
		return s, false, true
	}
	if upperBase != base {
		s.lower |= lowerBase
	}
	if upperExt != ext {
		s.lower |= lowerExt
	}
	return s, true, true
}

// plainPart returns a part of a name in upper case, and whether it has letters
// of both cases. It fails when a short name cannot have one of the characters.
func plainPart(part string) (inUpper string, mixed, ok bool) {
	b := []byte(part)
	small, capital := false, false
	for i, c := range b {
		b[i] = upper(c)
		if !shortCharacter(b[i]) {
			return "", false, false
		}
		small = small || b[i] != c
		capital = capital || c >= 'A' && c <= 'Z'
	}
	return string(b), small && capital, true
}

// shorten gives all names in a folder different short names. Those that are
// like one keep it; the others are cut and numbered in their order, NAME~1 and
// so on. Long names are removed where the short ones say as much.
func shorten(children []*node) error {
	used := make(map[[baseLength + extLength]byte]bool, len(children))
	var rest []*node
	for _, n := range children {
		s, exact, ok := plainShort(n.name)
		if !ok {
			rest = append(rest, n)
			continue
		}
		if n.short = s; exact {
			n.long = nil
		}
		used[s.text] = true
	}
	// next has the numbers to go on with, by what they are appended to: the
	// search for a free one must not begin at the start each time.
	next := map[string]int{}
	for _, n := range rest {
		s, ok := numbered(n.name, used, next)
		if !ok {
			return errors.New("the folder has too many names that begin alike for a FAT file system")
		}
		n.short = s
		used[s.text] = true
	}
	return nil
}

// numbered returns a short name that is not used yet.
func numbered(name string, used map[[baseLength + extLength]byte]bool, next map[string]int) (shortName, bool) {
	base, ext := cleanParts(name)
	limit := 10
	for digits := 1; digits < baseLength-1; digits++ {
		stem := base[:min(len(base), baseLength-1-digits)]
		key := stem + "." + ext
		for i := max(next[key], limit/10); i < limit; i++ {
			s := makeShort(fmt.Sprintf("%s~%d", stem, i), ext)
			if !used[s.text] {
				next[key] = i + 1
				return s, true
			}
		}
		next[key] = limit
		limit *= 10
	}
	return shortName{}, false
}

// cleanParts splits a name into what a short name can have of it.
func cleanParts(name string) (base, ext string) {
	name = strings.TrimLeft(strings.ReplaceAll(name, " ", ""), ".")
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		name, ext = name[:i], name[i+1:]
	}
	return clean(name, baseLength), clean(ext, extLength)
}

// clean makes a part of a short name, at most so many bytes long.
func clean(part string, length int) string {
	var b []byte
	for _, r := range part {
		switch {
		case r == '.':
			continue
		case r < utf8.RuneSelf && shortCharacter(upper(byte(r))):
			b = append(b, upper(byte(r)))
		default:
			b = append(b, '_')
		}
		if len(b) == length {
			break
		}
	}
	return string(b)
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}
