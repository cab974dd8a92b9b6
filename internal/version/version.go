// Package version orders versions as the UAPI group's version format
// specification (UAPI.10) does: those of programs, of images and of kernels.
package version

import "strings"

// Compare returns a negative number when a is older than b, a positive one when
// it is newer, and zero when neither is. Any text is a version; what has no part
// in one is passed over.
func Compare(a, b string) int {
	for {
		a, b = skipJunk(a), skipJunk(b)
		for _, c := range []byte{'~', 0, '-', '^', '.'} {
			if c == 0 {
				if a == "" || b == "" {
					return boolCompare(a != "", b != "")
				}
				continue
			}
			inA, inB := strings.HasPrefix(a, string(c)), strings.HasPrefix(b, string(c))
			if inA && inB {
				a, b = a[1:], b[1:]
				continue
			}
			if inA || inB {
				return boolCompare(inB, inA)
			}
		}
		digits := startsWith(a, isDigit) || startsWith(b, isDigit)
		class := isAlpha
		if digits {
			class = isDigit
		}
		var partA, partB string
		partA, a = span(a, class)
		partB, b = span(b, class)
		if digits {
			partA, partB = strings.TrimLeft(partA, "0"), strings.TrimLeft(partB, "0")
			if len(partA) != len(partB) {
				return len(partA) - len(partB)
			}
		}
		if c := strings.Compare(partA, partB); c != 0 {
			return c
		}
		if a == "" && b == "" {
			return 0
		}
	}
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAlpha(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// skipJunk drops leading characters that have no part in a version.
func skipJunk(s string) string {
	for s != "" && !isDigit(s[0]) && !isAlpha(s[0]) && strings.IndexByte("~-^.", s[0]) < 0 {
		s = s[1:]
	}
	return s
}

func startsWith(s string, class func(byte) bool) bool { return s != "" && class(s[0]) }

func span(s string, class func(byte) bool) (head, tail string) {
	i := 0
	for i < len(s) && class(s[i]) {
		i++
	}
	return s[:i], s[i:]
}
