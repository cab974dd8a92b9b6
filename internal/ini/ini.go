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
		return nil, &Error{Line: 1, Column: 1, Msg: "file is not UTF-8 text"}
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

// parser is the state between the lines of a file.
type parser struct {
	entries []Entry
	errs    []error
	section string
	broken  bool     // the heading was, so that nobody knows whose assignments these are
	parts   []string // of the value of the last entry, while it may go on
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
	fail := func(format string, args ...any) {
		p.errs = append(p.errs, &Error{Line: number, Column: column, Length: utf8.RuneCountInString(text), Msg: fmt.Sprintf(format, args...)})
	}
	if text[0] == '[' {
		p.broken = false
		if text[len(text)-1] != ']' || len(text) == 2 {
			p.broken = true
			fail("%q is not a section heading", text)
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
		fail("%q is neither a section nor an assignment", text)
	case p.section == "":
		fail("setting %q stands before the first section", key)
	default:
		p.entries = append(p.entries, Entry{Section: p.section, Key: key, Line: number, Column: column, EndLine: number})
		p.parts = []string{strings.TrimSpace(value)}
	}
}
