package config

import (
	"embed"
	"fmt"
	"path"
	"strings"
	"sync"
)

// The words about settings, verbs and options: a file for each settings_*.go
// and its like, with an entry for each row.
//
//go:embed doc/*.md
var docFiles embed.FS

// docEntry is what is written about one setting, verb or option.
type docEntry struct {
	fallback string // the words of the Default line
	help     string // the words of the Help line
	text     string // Markdown
}

// Files of entries that are no settings: a verb and an option may have the
// same name.
const (
	verbDocs   = "verbs"
	optionDocs = "options"
	// settingDocs stands for all the other files.
	settingDocs = "settings"
)

// docKey finds an entry by the group that it belongs to and its heading.
type docKey struct{ group, name string }

// docs reads all entries, when somebody asks for the first one. The files
// are part of the program, so a test is enough to know that they are right.
var docs = sync.OnceValue(func() map[docKey]docEntry {
	all := map[docKey]docEntry{}
	files, err := docFiles.ReadDir("doc")
	if err != nil {
		panic(fmt.Sprintf("reading the embedded documentation: %v", err))
	}
	for _, f := range files {
		text, err := docFiles.ReadFile(path.Join("doc", f.Name()))
		if err != nil {
			panic(fmt.Sprintf("reading the embedded documentation: %v", err))
		}
		for name, entry := range parseDoc(string(text)) {
			all[docKey{docGroup(f.Name()), name}] = entry
		}
	}
	return all
})

// docGroup returns the group of the entries of a file.
func docGroup(file string) string {
	if group := strings.TrimSuffix(file, ".md"); group == verbDocs || group == optionDocs {
		return group
	}
	return settingDocs
}

// parseDoc yields the entries of a file with their headings, in their order.
func parseDoc(text string) func(yield func(string, docEntry) bool) {
	return func(yield func(string, docEntry) bool) {
		var lines []string
		fenced, name := false, ""
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			heading, ok := strings.CutPrefix(line, "# ")
			if ok && !fenced {
				if name != "" && !yield(name, newDocEntry(lines)) {
					return
				}
				name, lines = heading, nil
				continue
			}
			fenced = fenced != strings.HasPrefix(line, "```")
			lines = append(lines, line)
		}
		if name != "" {
			yield(name, newDocEntry(lines))
		}
	}
}

// newDocEntry makes an entry of what stands below a heading.
func newDocEntry(lines []string) docEntry {
	var e docEntry
	for len(lines) > 0 {
		if words, ok := strings.CutPrefix(lines[0], "Default: "); ok {
			e.fallback = words
		} else if words, ok := strings.CutPrefix(lines[0], "Help: "); ok {
			e.help = words
		} else {
			break
		}
		lines = lines[1:]
	}
	e.text = strings.TrimSpace(strings.Join(lines, "\n"))
	return e
}

// Doc returns what the setting means, in a subset of Markdown: paragraphs,
// lists that begin with "- ", fenced blocks, `code` and *emphasis*.
func (s *Setting) Doc() string { return docs()[docKey{settingDocs, s.Name}].text }

// DefaultText returns the default as it would be written in a file, words
// about it in Markdown when it is computed, or "" when there is none.
func (s *Setting) DefaultText() string {
	if words := docs()[docKey{settingDocs, s.Name}].fallback; words != "" {
		return words
	}
	switch {
	case s.Default != nil:
		return s.plainDefault()
	case s.kind == boolean && s.fallback == nil:
		return "no"
	}
	return ""
}

// plainDefault writes the fixed default as an assignment would.
func (s *Setting) plainDefault() string {
	if text := specialText(s, s.Default); text != "" {
		return text
	}
	return strings.Join(plainList(s.Default), ",")
}

// Doc returns what the verb does, in the subset of Markdown of
// [Setting.Doc].
func (v Verb) Doc() string { return docs()[docKey{verbDocs, string(v)}].text }

// Help returns what the verb does in one clause, no full stop.
func (v Verb) Help() string { return docs()[docKey{verbDocs, string(v)}].help }

// Doc returns what the option does, in the subset of Markdown of
// [Setting.Doc].
func (p ProgramOption) Doc() string { return docs()[docKey{optionDocs, p.Long}].text }
