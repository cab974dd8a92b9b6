package config

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/mkosi-go/mkosi/internal/ini"
)

// maxExpanded limits what a value may grow to in bytes.
const maxExpanded = 256 << 10

// expand replaces the specifiers in an assignment or a condition of a file.
// One that is unknown or has no value yet stands for nothing, with a warning.
func (r *resolver) expand(f *configFile, e ini.Entry) (string, error) {
	text := e.Value
	if !strings.Contains(text, "%") {
		return text, nil
	}
	from := Origin{Kind: FromFile, File: f.path, Line: e.Line}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' || i+1 == len(text) || text[i+1] == ' ' {
			b.WriteByte(text[i])
			continue
		}
		i++
		value, msg := r.specifier(f, text[i])
		if msg != "" {
			r.warn(from, e.Key, fmt.Sprintf("%s: specifier %%%c %s", e.Key, text[i], msg))
		}
		b.WriteString(value)
		if b.Len() > maxExpanded {
			return "", &Error{File: f.path, Line: e.Line, Setting: e.Key, Msg: e.Key + ": the value is too long"}
		}
	}
	return b.String(), nil
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
