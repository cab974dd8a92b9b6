// Package ini reads the INI dialect of mkosi's configuration files: a list of
// sections and assignments in the order of the file, each with its place.
//
// Sections and keys may repeat and keep their order. A number sign starts a
// comment wherever it stands. An indented line continues the value of the
// assignment before it, blank and comment lines in between notwithstanding.
// Quotes mean nothing here.
package ini

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxSize is the size in bytes beyond which Parse refuses a file.
const MaxSize = 1 << 20

// maxErrors limits how many lines of a file Parse complains about.
const maxErrors = 100

// Entry is a section heading, when Key is empty, or an assignment.
type Entry struct {
	Section string // without brackets
	Key     string
	Value   string // lines of a continued value are separated by "\n"
	Line    int    // counted from 1
	Column  int    // of the heading or the key, in characters counted from 1
	EndLine int    // the last line of a continued value, else Line
}

// Error is a line that cannot be understood.
type Error struct {
	Line   int // counted from 1
	Column int // in characters counted from 1
	Length int // of what is wrong, in characters
	Msg    string
	Hint   string // what to do, if there is something to say
}

// Error returns the line number and what is wrong.
func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Msg) }

// Parse reads a file. The error joins an [*Error] for data that is too large
// or no text, and for each assignment outside of a section and each line
// that is neither heading nor assignment. The entries are those of all other
// lines.
func Parse(data []byte) ([]Entry, error) {
	if len(data) > MaxSize {
		return nil, &Error{Line: 1, Column: 1, Msg: fmt.Sprintf("file is larger than %d bytes", MaxSize)}
	}
	if i := bytes.IndexByte(data, 0); i >= 0 || !utf8.Valid(data) {
		return nil, notText(data)
	}
	var p parser
	for i, line := range strings.Split(string(data), "\n") {
		p.line(i+1, line)
		if len(p.errs) == maxErrors {
			break
		}
	}
	p.flush()
	return p.entries, errors.Join(p.errs...)
}

// notText is the error about the first byte that belongs into no text.
func notText(data []byte) *Error {
	e := &Error{Line: 1, Column: 1, Length: 1, Msg: "file is not UTF-8 text"}
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		switch {
		case r == 0 || r == utf8.RuneError && size == 1:
			return e
		case r == '\n':
			e.Line, e.Column = e.Line+1, 1
		default:
			e.Column++
		}
		data = data[size:]
	}
	return e
}

// parser is the state between the lines of a file.
type parser struct {
	entries []Entry
	errs    []error
	section string
	broken  bool     // the heading was, so that nobody knows whose assignments these are
	parts   []string // of the value of the last entry, while it may go on
	stray   int      // the last line that was no assignment
	early   bool     // an assignment came before the first section
}

// flush ends the value that indented lines could have continued.
func (p *parser) flush() {
	if p.parts != nil {
		p.entries[len(p.entries)-1].Value = strings.TrimSpace(strings.Join(p.parts, "\n"))
	}
	p.parts = nil
}

func (p *parser) line(number int, line string) {
	line, _, _ = strings.Cut(line, "#")
	text := strings.TrimSpace(line)
	if text == "" {
		return
	}
	if p.parts != nil && (line[0] == ' ' || line[0] == '\t') {
		p.parts = append(p.parts, text)
		p.entries[len(p.entries)-1].EndLine = number
		return
	}
	p.flush()
	column := utf8.RuneCountInString(line[:strings.Index(line, text)]) + 1
	fail := func(hint, format string, args ...any) {
		p.errs = append(p.errs, &Error{Line: number, Column: column, Length: utf8.RuneCountInString(text), Msg: fmt.Sprintf(format, args...), Hint: hint})
	}
	if text[0] == '[' {
		p.broken = false
		if text[len(text)-1] != ']' || len(text) == 2 {
			p.broken = true
			fail("write a name in brackets, and nothing behind it", "%q is not a section heading", text)
			return
		}
		p.section = text[1 : len(text)-1]
		p.entries = append(p.entries, Entry{Section: p.section, Line: number, Column: column, EndLine: number})
		return
	}
	key, value, ok := strings.Cut(text, "=")
	key = strings.TrimSpace(key)
	switch {
	case p.broken:
	case !ok || key == "":
		// Of the lines of a list that is not indented, one is enough to tell.
		if p.stray == 0 || number != p.stray+1 {
			fail(strayHint(text, len(p.entries) > 0 && p.entries[len(p.entries)-1].Key != ""), "this line is neither a section nor an assignment")
		}
		p.stray = number
		p.early = p.early || strings.HasPrefix(text, "\ufeff") // and perhaps a heading behind it
	case p.section == "":
		if !p.early {
			fail("write a heading such as [Content] above it", "setting %q stands before the first section", key)
		}
		p.early = true
	default:
		p.entries = append(p.entries, Entry{Section: p.section, Key: key, Line: number, Column: column, EndLine: number})
		p.parts = []string{strings.TrimSpace(value)}
	}
}

// strayHint says what to do about a line that is no assignment.
func strayHint(text string, after bool) string {
	switch {
	case strings.HasPrefix(text, "\ufeff"):
		return "save the file without a byte order mark"
	case strings.HasPrefix(text, ";") || strings.HasPrefix(text, "//"):
		return "a comment starts with a number sign"
	case after:
		return "indent it if it belongs to the value above"
	}
	return ""
}
