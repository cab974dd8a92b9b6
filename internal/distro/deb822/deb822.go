// Package deb822 reads and writes the stanza format of Debian control files:
// package descriptions, repository indexes, apt sources and dpkg's status
// database, deb822(5).
package deb822

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxStanza is the most bytes that one stanza may have. The longest in
// Debian's own archive is far below a mebibyte.
const MaxStanza = 4 << 20

// Field is one field of a stanza. Value holds what follows the colon and the
// blanks after it, as it is: further lines are separated by line feeds and
// keep the blank they begin with.
type Field struct {
	Name  string
	Value string
}

// Stanza is a paragraph: fields in the order of the file. The zero value is an
// empty stanza.
type Stanza []Field

// Get returns the value of the field called name, whatever the case of its
// letters, without blanks around it, and "" when there is none.
func (s Stanza) Get(name string) string {
	v, _ := s.Lookup(name)
	return v
}

// Lookup is Get, and tells whether the field is there.
func (s Stanza) Lookup(name string) (string, bool) {
	for i := range s {
		if strings.EqualFold(s[i].Name, name) {
			return strings.TrimSpace(s[i].Value), true
		}
	}
	return "", false
}

// Set gives the field called name the value, appending it when it is missing.
func (s *Stanza) Set(name, value string) {
	for i := range *s {
		if strings.EqualFold((*s)[i].Name, name) {
			(*s)[i].Value = value
			return
		}
	}
	*s = append(*s, Field{name, value})
}

// AppendTo appends the stanza's text to b, without a blank line after it.
func (s Stanza) AppendTo(b []byte) []byte {
	for _, f := range s {
		b = append(b, f.Name...)
		b = append(b, ':')
		if f.Value != "" && f.Value[0] != '\n' {
			b = append(b, ' ')
		}
		b = append(b, f.Value...)
		b = append(b, '\n')
	}
	return b
}

// String is the stanza's text, without a blank line after it.
func (s Stanza) String() string { return string(s.AppendTo(nil)) }

// Reader reads stanzas one after another.
type Reader struct {
	r    *bufio.Reader
	line int
}

// NewReader returns a Reader of the stanzas in r.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 64<<10)}
}

// Next returns the next stanza, or io.EOF after the last. Comment lines are
// left out. A line that is neither field, continuation nor comment is an
// error that names the line.
func (r *Reader) Next() (Stanza, error) {
	var s Stanza
	size := 0
	for {
		text, err := r.readLine(MaxStanza - size)
		if err != nil {
			if errors.Is(err, io.EOF) && len(s) > 0 {
				return s, nil
			}
			return nil, err
		}
		size += len(text) + 1
		switch {
		case strings.TrimSpace(text) == "":
			if len(s) > 0 {
				return s, nil
			}
			size = 0
		case text[0] == '#':
		case text[0] == ' ' || text[0] == '\t':
			if len(s) == 0 {
				return nil, fmt.Errorf("line %d: continuation without a field", r.line)
			}
			s[len(s)-1].Value += "\n" + strings.TrimSuffix(text, "\r")
		default:
			name, value, ok := strings.Cut(text, ":")
			if !ok || !validName(name) {
				return nil, fmt.Errorf("line %d: not a field: %.40q", r.line, text)
			}
			if _, dup := s.Lookup(name); dup {
				return nil, fmt.Errorf("line %d: field %s appears twice", r.line, name)
			}
			s = append(s, Field{name, strings.TrimSuffix(strings.TrimLeft(value, " \t"), "\r")})
		}
	}
}

// readLine returns the next line without its line feed.
func (r *Reader) readLine(limit int) (string, error) {
	var long []byte
	for {
		part, err := r.r.ReadSlice('\n')
		if len(long)+len(part) > limit {
			return "", fmt.Errorf("line %d: stanza longer than %d bytes", r.line+1, MaxStanza)
		}
		if err == nil && long == nil {
			r.line++
			return string(part[:len(part)-1]), nil
		}
		long = append(long, part...)
		switch {
		case err == nil:
			r.line++
			return string(long[:len(long)-1]), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(long) > 0:
			r.line++
			return string(long), nil
		default:
			return "", err
		}
	}
}

// validName reports whether name is a field name: printable ASCII without
// blank and colon, not starting with a hyphen.
func validName(name string) bool {
	if name == "" || name[0] == '-' {
		return false
	}
	for i := 0; i < len(name); i++ {
		if name[i] <= ' ' || name[i] > '~' {
			return false
		}
	}
	return true
}

// Parse returns all stanzas of text.
func Parse(text string) ([]Stanza, error) {
	var all []Stanza
	r := NewReader(strings.NewReader(text))
	for {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
}
