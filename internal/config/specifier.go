package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/mkosi-go/mkosi/internal/ini"
)

// maxExpanded limits what a value may grow to in bytes.
const maxExpanded = 256 << 10

// maxAllExpanded limits by how many bytes specifiers make a whole
// configuration longer.
const maxAllExpanded = 16 << 20

// expand replaces the specifiers in an assignment or a condition of a file.
// One that is unknown or has no value yet stands for nothing, with a warning.
func (r *resolver) expand(f *configFile, e ini.Entry, errs, warnings *problems) (string, bool) {
	text := e.Value
	if !strings.Contains(text, "%") {
		return text, true
	}
	var b strings.Builder
	for {
		before, after, _ := strings.Cut(text, "%")
		b.WriteString(before)
		if after == "" { // a percent sign at the end stands for itself
			b.WriteString(text[len(before):])
			return b.String(), true
		}
		letter, size := utf8.DecodeRuneInString(after)
		value, msg := r.specifier(f, letter)
		if msg != "" {
			w := &Error{File: f.path, Setting: e.Key, Msg: fmt.Sprintf("%s: specifier %%%c %s", e.Key, letter, msg)}
			w.Line, w.Column, w.Length = f.locate(e, "%"+after[:size])
			warnings.add(w)
		}
		b.WriteString(value)
		if b.Len() > maxExpanded {
			errs.add(f.keyError(e, e.Key+": the value is too long", ""))
			return "", false
		}
		text = after[size:]
	}
}

// specifier returns what stands for a letter, or what is wrong with it.
func (r *resolver) specifier(f *configFile, letter rune) (value, problem string) {
	switch letter {
	case '%':
		return "%", ""
	case 'C':
		return filepath.Dir(f.path), ""
	case 'P':
		return f.dir, ""
	case 'D':
		return r.dir, ""
	case 'I':
		return r.name, ""
	case 'F':
		return distributionTable[get[Distribution](r, "Distribution")].filesystem, ""
	}
	for _, s := range table {
		if s.Specifier == 0 || rune(s.Specifier) != letter {
			continue
		}
		v := r.value(s)
		if v == nil || fmt.Sprint(v) == "" {
			return "", "has no value here: " + s.Name + " is not set yet"
		}
		return fmt.Sprint(v), ""
	}
	return "", "does not exist"
}
