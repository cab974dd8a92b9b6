package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/mkosi-go/mkosi/internal/ini"
)

// Error is something wrong with the configuration, or doubtful.
type Error struct {
	File    string // configuration file; "" for the command line
	Line    int    // counted from 1; 0 when there is none
	Column  int    // in characters counted from 1; 0 when there is none
	Length  int    // how many characters it is about
	Setting string // name of the setting or option, if any
	Msg     string // what is wrong
	Hint    string // what to do, if there is something to say
}

// Error returns the position and what is wrong, without the hint.
func (e *Error) Error() string {
	switch {
	case e.File == "":
		return e.Msg
	case e.Line == 0:
		return fmt.Sprintf("%s: %s", e.File, e.Msg)
	case e.Column == 0:
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Msg)
}

// Errors is everything that is wrong with a configuration, in the order in
// which it was found. It is never empty.
type Errors []*Error

// Error returns one line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns each as an error of its own.
func (e Errors) Unwrap() []error {
	list := make([]error, len(e))
	for i, err := range e {
		list[i] = err
	}
	return list
}

// maxProblems limits how many errors, and how many warnings, are kept.
const maxProblems = 1000

// problems collects errors or warnings, each once: a file may be read for
// many images.
type problems struct {
	list Errors
	seen map[Error]bool
}

// add keeps e. A nil collection keeps nothing.
func (p *problems) add(e *Error) {
	if p == nil || p.full() || p.seen[*e] {
		return
	}
	if p.seen == nil {
		p.seen = map[Error]bool{}
	}
	p.seen[*e] = true
	p.list = append(p.list, e)
}

// full reports whether there is no use in looking for more.
func (p *problems) full() bool { return p != nil && len(p.list) >= maxProblems }

// addAll keeps each of the errors that err joins.
func (p *problems) addAll(err error) {
	for _, err := range separate(err) {
		var e *Error
		if !errors.As(err, &e) {
			e = &Error{Msg: err.Error()}
		}
		p.add(e)
	}
}

// separate returns the errors that err joins, or err alone.
func separate(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	switch {
	case err == nil:
		return nil
	case !ok:
		return []error{err}
	}
	var list []error
	for _, err := range joined.Unwrap() {
		list = append(list, separate(err)...)
	}
	return list
}

// err returns what was collected: nil, an [*Error] or [Errors].
func (p *problems) err() error {
	switch len(p.list) {
	case 0:
		return nil
	case 1:
		return p.list[0]
	}
	return p.list
}

// wordError is an error about one word of a value.
type wordError struct {
	word string
	error
}

func (e *wordError) Unwrap() error { return e.error }

// settingError says where a value was wrong.
func settingError(s *Setting, from Origin, err error) *Error {
	e := &Error{File: from.File, Line: from.Line, Setting: s.Name}
	name := s.Name
	if from.Kind == FromOption {
		name = "--" + s.Long
	}
	e.Msg = name + ": " + err.Error()
	var h hinter
	if errors.As(err, &h) {
		e.Hint = h.hint()
	}
	return e
}

// valueError is settingError for an assignment or a condition in a file.
func (f *configFile) valueError(s *Setting, e ini.Entry, err error) *Error {
	word := e.Value
	var w *wordError
	if errors.As(err, &w) {
		word = w.word
	}
	p := settingError(s, Origin{Kind: FromFile, File: f.path, Line: e.Line}, err)
	p.Line, p.Column, p.Length = f.locate(e, word)
	return p
}

// entryAt reads the assignment or the condition on a line of a file again.
func entryAt(path string, line int) (*configFile, ini.Entry, bool) {
	f := readConfigFile(path, "", nil, nil)
	all := f.entries
	for _, g := range f.groups {
		all = append(all, g.entries...)
	}
	for _, e := range all {
		if e.Line == line && e.Key != "" {
			return f, e, true
		}
	}
	return f, ini.Entry{}, false
}

// pointAt gives an error about a value the place of a word of it.
func (e *Error) pointAt(word string) {
	if f, entry, ok := entryAt(e.File, e.Line); ok {
		e.Line, e.Column, e.Length = f.locate(entry, word)
	}
}

// keyError is an error about the key of an entry, or its heading.
func (f *configFile) keyError(e ini.Entry, msg, hint string) *Error {
	length := utf8.RuneCountInString(e.Key)
	if e.Key == "" {
		length = utf8.RuneCountInString(e.Section) + 2
	}
	return &Error{File: f.path, Line: e.Line, Column: e.Column, Length: length, Setting: e.Key, Msg: msg, Hint: hint}
}

// locate finds a word of the value of an entry. A word that is not written
// there, since a specifier stands for it, is where the value starts.
func (f *configFile) locate(e ini.Entry, word string) (line, column, length int) {
	if f.lines == nil {
		f.lines = strings.Split(f.text, "\n")
	}
	lines := f.lines
	value := 0 // where it starts, in bytes
	for i := e.Line; i <= e.EndLine && i <= len(lines); i++ {
		text, start := lines[i-1], 0
		if i == e.Line {
			start = strings.IndexByte(text, '=') + 1
			start += len(text[start:]) - len(strings.TrimLeft(text[start:], " \t"))
			value = start
		}
		first, _, _ := strings.Cut(word, "\n")
		if at := strings.Index(text[start:], first); at >= 0 && first != "" {
			return i, utf8.RuneCountInString(text[:start+at]) + 1, utf8.RuneCountInString(first)
		}
	}
	if e.Line < 1 || e.Line > len(lines) {
		return e.Line, e.Column, utf8.RuneCountInString(e.Key)
	}
	text := lines[e.Line-1]
	rest, _, _ := strings.Cut(text[value:], "#")
	return e.Line, utf8.RuneCountInString(text[:value]) + 1, utf8.RuneCountInString(strings.TrimRight(rest, " \t\r"))
}
