package config

import (
	"path/filepath"
	"strings"
)

// The patterns of the configuration language know *, ?, [abc], [a-z] and
// [!abc]. Nothing is escaped, and what is no complete class stands for
// itself, so that every text is a pattern.

// matchPattern reports whether all of text matches the pattern. A slash is
// nothing special.
func matchPattern(pattern, text string) bool {
	plain := strings.NewReplacer("/", "\x00")
	ok, err := filepath.Match(goPattern(plain.Replace(pattern)), plain.Replace(text))
	return err == nil && ok
}

// goPattern writes a pattern as [filepath.Match] reads it.
func goPattern(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '\\':
			b.WriteString(`\\`)
		case '[':
			class, length := charClass(pattern[i:])
			b.WriteString(class)
			i += length - 1
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// charClass rewrites the class of characters that pattern starts with and
// returns its length in the pattern.
func charClass(pattern string) (class string, length int) {
	body := strings.TrimPrefix(pattern[1:], "!")
	from := len(pattern) - len(body)
	end := -1
	if len(body) > 1 { // a bracket that is first belongs to the class
		end = strings.IndexByte(body[1:], ']')
	}
	if end < 0 {
		return `\[`, 1
	}
	body = body[:end+1]
	var b strings.Builder
	b.WriteString("[")
	if from > 1 {
		b.WriteString("^")
	}
	for i, c := range body {
		edge := i == 0 || i == len(body)-1
		if strings.ContainsRune(`\]^[`, c) || c == '-' && edge {
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	b.WriteString("]")
	return b.String(), from + len(body) + 1
}

// escapePattern makes a pattern that only the text itself matches.
func escapePattern(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(text)
}

// hiddenMatch reports whether a pattern found a path by matching the dot of a
// hidden file, which only a written dot may.
func hiddenMatch(pattern, path string) bool {
	parts, names := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i, name := range names {
		if i < len(parts) && strings.HasPrefix(name, ".") && !strings.HasPrefix(parts[i], ".") {
			return true
		}
	}
	return false
}
