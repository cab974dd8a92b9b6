// Package shellwords splits command lines that are written in a setting, and writes those that are shown.
package shellwords

import (
	"fmt"
	"strings"
)

// Split splits at white space as a POSIX shell does, with its quotes
// and backslashes and without anything else of its language.
func Split(text string) ([]string, error) {
	var (
		out   []string
		b     strings.Builder
		quote byte // the quote we are in, or 0
		in    bool // in a word, perhaps an empty quoted one
	)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote == '\'' && c != quote:
			b.WriteByte(c)
		case c == '\\':
			if i++; i == len(text) {
				return nil, fmt.Errorf("nothing follows the backslash at the end")
			}
			if quote == '"' && text[i] != '"' && text[i] != '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(text[i])
			in = true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			b.WriteByte(c)
		case c == '"' || c == '\'':
			quote, in = c, true
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if in {
				out = append(out, b.String())
				b.Reset()
			}
			in = false
		default:
			b.WriteByte(c)
			in = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("the quotation that starts with %c does not end", quote)
	}
	if in {
		out = append(out, b.String())
	}
	return out, nil
}
