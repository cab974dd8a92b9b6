package config

import (
	"fmt"
	"strings"

	"github.com/mkosi-go/mkosi/internal/ini"
	"github.com/mkosi-go/mkosi/internal/spelling"
)

// ImageTexts are the configuration files of an image.
type ImageTexts struct {
	Image string
	Files []FileText
}

// FileText is a configuration file with its text.
type FileText struct {
	Path string
	Text string
}

// Texts returns the text of the configuration files that were read, in the
// order in which they were read, without secrets.
func Texts(c *Config) ([]ImageTexts, error) {
	var list []ImageTexts
	for _, img := range c.shown() {
		sources := ImageTexts{Image: img.Image}
		for _, path := range img.Files {
			data, err := readFile(followLost(path, nil), ini.MaxSize)
			if err != nil {
				return nil, fmt.Errorf("showing %s: %s", path, rootCause(err))
			}
			sources.Files = append(sources.Files, FileText{Path: path, Text: hideSecrets(data)})
		}
		list = append(list, sources)
	}
	return list, nil
}

// hidesText reports whether the text of an assignment is not shown: it is a
// secret, or has secrets in it.
func (s *Setting) hidesText() bool { return s.Secret || s.kind == credentials }

// maySecret reports whether what is assigned to a name is a secret, also if
// the name is a misspelt one.
func maySecret(name string) bool {
	s := Lookup(name)
	if s == nil {
		s = Lookup(spelling.Nearest(name, settingNames("")))
	}
	return s != nil && s.hidesText()
}

// Excerpts shows lines of configuration files for messages about them. It
// keeps the last file, since most messages are about the same as the one
// before. The zero value is ready to use.
type Excerpts struct {
	path    string
	lines   []string
	entries []ini.Entry
}

// read makes path the file that lines are of; one that cannot be read has
// none.
func (x *Excerpts) read(path string) {
	if x.path == path {
		return
	}
	*x = Excerpts{path: path}
	if data, err := readFile(followLost(path, nil), ini.MaxSize); err == nil {
		x.lines = strings.Split(string(data), "\n")
		x.entries, _ = ini.Parse(data)
	}
}

// Line returns a line, counted from 1, of a configuration file; "" if there
// is none. Secrets are hidden.
func (x *Excerpts) Line(path string, line int) string {
	x.read(path)
	if line < 1 || line > len(x.lines) {
		return ""
	}
	text := strings.TrimRight(x.lines[line-1], "\r")
	for _, e := range x.entries {
		if e.Line < line && line <= e.EndLine && maySecret(e.Key) {
			return hidden
		}
	}
	// The line may lack its equals sign, which may be what is wrong with it.
	name := strings.TrimLeft(text, " \t")
	if end := strings.IndexAny(name, " \t=:"); end >= 0 {
		name = name[:end]
	}
	before, after, _ := strings.Cut(text, name)
	if !maySecret(name) || strings.Trim(after, " \t=") == "" {
		return text
	}
	return before + name + "=" + hidden
}

// hideSecrets returns the text of a file in which the values of secret
// settings are replaced.
func hideSecrets(data []byte) string {
	entries, _ := ini.Parse(data) // what is wrong was told when the file was read for its settings
	lines := strings.SplitAfter(string(data), "\n")
	secret := map[int]bool{} // by line
	for _, e := range entries {
		if e.Value != "" && maySecret(e.Key) {
			secret[e.Line] = true
		}
	}
	var b strings.Builder
	hiding := false
	for i, line := range lines {
		switch continued := line != "" && strings.ContainsRune(" \t", rune(line[0])); {
		case secret[i+1]:
			key, _, _ := strings.Cut(line, "=")
			b.WriteString(key + "=(hidden)\n")
			hiding = true
		case hiding && (continued || strings.TrimSpace(line) == ""):
			if strings.TrimSpace(line) == "" {
				b.WriteString(line)
			}
		default:
			// A comment may stand between the lines of a value.
			hiding = hiding && strings.HasPrefix(line, "#")
			b.WriteString(line)
		}
	}
	return b.String()
}
