package repart

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// splitWords splits a list at blanks, which quotes and backslashes protect.
func splitWords(s string) ([]string, error) {
	var words []string
	for {
		s = strings.TrimLeft(s, blanks)
		if s == "" {
			return words, nil
		}
		word, rest, err := takeWord(s)
		if err != nil {
			return nil, err
		}
		words, s = append(words, word), rest
	}
}

// takeWord takes the first word of a list and what is behind it.
func takeWord(s string) (word, rest string, err error) {
	var b strings.Builder
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\':
			if i++; i == len(s) {
				return "", "", fmt.Errorf("a backslash at the end of %q protects nothing (write two for a backslash)", s)
			}
			b.WriteByte(s[i])
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && strings.IndexByte(blanks, c) >= 0:
			return b.String(), s[i:], nil
		default:
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return "", "", fmt.Errorf("the quote %c in %q is not closed", quote, s)
	}
	return b.String(), "", nil
}

// splitColons splits a value at colons and replaces the escape sequences of C
// in it. Only if quotes are said to mean something they protect colons.
func splitColons(s string, quotes bool) ([]string, error) {
	fields := []string{""}
	var b strings.Builder
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\':
			text, n, err := unescape(s[i:])
			if err != nil {
				return nil, err
			}
			b.WriteString(text)
			i += n - 1
		case quote != 0 && c == quote:
			quote = 0
		case quotes && quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && c == ':':
			fields[len(fields)-1] = b.String()
			fields = append(fields, "")
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("the quote %c in %q is not closed", quote, s)
	}
	fields[len(fields)-1] = b.String()
	for _, f := range fields {
		if !utf8.ValidString(f) {
			return nil, fmt.Errorf("%q is not valid UTF-8", f)
		}
	}
	return fields, nil
}

// simpleEscapes are the escape sequences of a single letter.
var simpleEscapes = map[byte]string{
	'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v",
	's': " ", '\\': "\\", '"': "\"", '\'': "'",
}

// unescape returns what the escape sequence at the beginning of s stands for,
// and its length.
func unescape(s string) (text string, n int, err error) {
	if len(s) < 2 {
		return "", 0, fmt.Errorf("a backslash stands at the end (write two for a backslash)")
	}
	if text, ok := simpleEscapes[s[1]]; ok {
		return text, 2, nil
	}
	digits, base, start := 0, 16, 2
	switch c := s[1]; {
	case c == 'x':
		digits = 2
	case c == 'u':
		digits = 4
	case c == 'U':
		digits = 8
	case '0' <= c && c <= '7':
		digits, base, start = 3, 8, 1
	}
	end := min(start+digits, len(s))
	code, err := strconv.ParseUint(s[start:end], base, 32)
	if err != nil || end != start+digits || code == 0 || strings.ContainsAny(s[start:end], "+_") {
		return "", 0, fmt.Errorf("%q is not an escape sequence (write two backslashes for a backslash)", s[:end])
	}
	if digits > 3 {
		if !utf8.ValidRune(rune(code)) {
			return "", 0, fmt.Errorf("%q is no character", s[:end])
		}
		return string(rune(code)), end, nil
	}
	if code > 0xff {
		return "", 0, fmt.Errorf("%q is larger than a byte", s[:end])
	}
	return string([]byte{byte(code)}), end, nil
}
