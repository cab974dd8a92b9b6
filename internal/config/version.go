package config

import (
	"strings"

	"github.com/mkosi-go/mkosi/internal/version"
)

// versionMatches compares a version with a condition such as ">=2.1"; a
// version alone asks for that version. No version meets no condition.
func versionMatches(text, condition string) bool {
	if text == "" {
		return false
	}
	for _, op := range []struct {
		sign  string
		holds func(c int) bool
	}{
		{"==", func(c int) bool { return c == 0 }},
		{"!=", func(c int) bool { return c != 0 }},
		{">=", func(c int) bool { return c >= 0 }},
		{"<=", func(c int) bool { return c <= 0 }},
		{">", func(c int) bool { return c > 0 }},
		{"<", func(c int) bool { return c < 0 }},
	} {
		if rest, ok := strings.CutPrefix(condition, op.sign); ok {
			return op.holds(version.Compare(text, strings.TrimSpace(rest)))
		}
	}
	return version.Compare(text, condition) == 0
}
