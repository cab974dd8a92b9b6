// Package ini reads the INI dialect of mkosi's configuration files: a list of
// sections and assignments in the order of the file, each with its line.
//
// Sections and keys may repeat and keep their order. A number sign starts a
// comment wherever it stands. An indented line continues the value of the
// assignment before it, blank and comment lines in between notwithstanding.
// Quotes mean nothing here.
package ini

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxSize is the size in bytes beyond which Parse refuses a file.
const MaxSize = 1 << 20

// Entry is a section heading, when Key is empty, or an assignment.
type Entry struct {
	Section string // without brackets
	Key     string
	Value   string // lines of a continued value are separated by "\n"
	Line    int    // counted from 1
}

// Error is a line that cannot be understood.
type Error struct {
	Line int // counted from 1
	Msg  string
}

// Error returns the line number and what is wrong.
func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Msg) }

// Parse reads a file. It returns an [*Error] when the data is too large or
// is no text, for an assignment outside of a section, and for a line that
// is neither heading nor assignment.
func Parse(data []byte) ([]Entry, error) {
	if len(data) > MaxSize {
		return nil, &Error{Line: 1, Msg: fmt.Sprintf("file is larger than %d bytes", MaxSize)}
	}
	if i := bytes.IndexByte(data, 0); i >= 0 || !utf8.Valid(data) {
		return nil, &Error{Line: 1, Msg: "file is not UTF-8 text"}
	}
	var (
		entries []Entry
		section string
		current = -1 // index of the assignment that an indented line continues
		parts   []string
	)
	flush := func() {
		if current >= 0 {
			entries[current].Value = strings.TrimSpace(strings.Join(parts, "\n"))
		}
		current, parts = -1, nil
	}
	for i, line := range strings.Split(string(data), "\n") {
		line, _, _ = strings.Cut(line, "#")
		text := strings.TrimSpace(line)
		if text == "" {
			continue
		}
		if current >= 0 && (line[0] == ' ' || line[0] == '\t') {
			parts = append(parts, text)
			continue
		}
		flush()
		if text[0] == '[' {
			if text[len(text)-1] != ']' || len(text) == 2 {
				return nil, &Error{Line: i + 1, Msg: fmt.Sprintf("%q is not a section heading", text)}
			}
			section = text[1 : len(text)-1]
			entries = append(entries, Entry{Section: section, Line: i + 1})
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		key = strings.TrimSpace(key)
		switch {
		case !ok || key == "":
			return nil, &Error{Line: i + 1, Msg: fmt.Sprintf("%q is neither a section nor an assignment", text)}
		case section == "":
			return nil, &Error{Line: i + 1, Msg: fmt.Sprintf("setting %q stands before the first section", key)}
		}
		entries = append(entries, Entry{Section: section, Key: key, Line: i + 1})
		current, parts = len(entries)-1, []string{strings.TrimSpace(value)}
	}
	flush()
	return entries, nil
}
