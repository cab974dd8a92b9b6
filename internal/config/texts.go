package config

import (
	"fmt"
	"strings"

	"github.com/mkosi-go/mkosi/internal/ini"
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
		s = Lookup(nearest(name, settingNames("")))
	}
	return s != nil && s.hidesText()
}

// SourceLine returns a line, counted from 1, of a configuration file, for a
// message about it; "" if there is none. Secrets are hidden.
func SourceLine(path string, line int) string {
	data, err := readFile(followLost(path, nil), ini.MaxSize)
	if err != nil || line < 1 {
		return ""
	}
	lines := strings.Split(string(data), "\n")
	if line > len(lines) {
		return ""
	}
	text := strings.TrimRight(lines[line-1], "\r")
	entries, _ := ini.Parse(data)
	for _, e := range entries {
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
