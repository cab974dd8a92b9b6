package config

import (
	"fmt"
	"path/filepath"
	"strings"

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
	for i := 0; i < len(text); i++ {
		if text[i] != '%' || i+1 == len(text) || text[i+1] == ' ' {
			b.WriteByte(text[i])
			continue
		}
		i++
		value, msg := r.specifier(f, text[i])
		if msg != "" {
			w := &Error{File: f.path, Setting: e.Key, Msg: fmt.Sprintf("%s: specifier %%%c %s", e.Key, text[i], msg)}
			w.Line, w.Column, w.Length = f.locate(e, text[i-1:i+1])
			warnings.add(w)
		}
		b.WriteString(value)
		if b.Len() > maxExpanded {
			errs.add(f.keyError(e, e.Key+": the value is too long", ""))
			return "", false
		}
	}
	return b.String(), true
}

// specifier returns what stands for a letter, or what is wrong with it.
func (r *resolver) specifier(f *configFile, letter byte) (value, problem string) {
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
		if s.Specifier != letter {
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
