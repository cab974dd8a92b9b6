package deb

import (
	"path"
	"strings"
)

// Rule is a path filter of dpkg, --path-exclude= and --path-include=. Later
// rules win over earlier ones.
type Rule struct {
	// Pattern is a glob(7) in which wildcards match slashes too.
	Pattern string
	Include bool
}

// excluded reports whether the rules keep name, an absolute path, out of the
// tree. Directories and symbolic links stay when a later rule may bring back
// something below them.
func excluded(rules []Rule, name string, dirOrLink bool) bool {
	out := false
	for _, r := range rules {
		if out == r.Include && glob(r.Pattern, name) {
			out = !r.Include
		}
	}
	if !out || !dirOrLink {
		return out
	}
	for _, r := range rules {
		if r.Include && strings.HasPrefix(name+"/", fixedPrefix(r.Pattern)) {
			return false
		}
	}
	return true
}

// fixedPrefix is the directory part of the pattern before its first wildcard.
func fixedPrefix(pattern string) string {
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		pattern = pattern[:i]
	}
	return strings.TrimRight(path.Dir(pattern), "/") + "/"
}

// glob matches like fnmatch(3) without flags: * and ? match slashes.
func glob(pattern, name string) bool {
	// Positions to resume at after a mismatch: the last star seen.
	star, mark := -1, 0
	p, n := 0, 0
	for n < len(name) {
		if p < len(pattern) {
			switch pattern[p] {
			case '*':
				star, mark = p, n
				p++
				continue
			case '?':
				p++
				n++
				continue
			case '[':
				if ok, width := class(pattern[p:], name[n]); width > 0 {
					if ok {
						p += width
						n++
						continue
					}
					break
				}
				if name[n] == '[' {
					p++
					n++
					continue
				}
			case '\\':
				if p+1 < len(pattern) && pattern[p+1] == name[n] {
					p += 2
					n++
					continue
				}
			case name[n]:
				p++
				n++
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		p, n = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// class matches c against the bracket expression that s starts with. width is
// its length, 0 when it is not closed.
func class(s string, c byte) (ok bool, width int) {
	i := 1
	negate := i < len(s) && (s[i] == '!' || s[i] == '^')
	if negate {
		i++
	}
	for first := true; i < len(s); first = false {
		if s[i] == ']' && !first {
			return ok != negate, i + 1
		}
		if i+2 < len(s) && s[i+1] == '-' && s[i+2] != ']' {
			ok = ok || s[i] <= c && c <= s[i+2]
			i += 3
			continue
		}
		ok = ok || s[i] == c
		i++
	}
	return false, 0
}
