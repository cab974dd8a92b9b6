package config

import (
	"slices"
	"strings"
)

// Explanation says what a setting is in one image, and why.
type Explanation struct {
	Image string
	// Value holds the value as one would write it, an element each; it is
	// empty for no value. Secrets are hidden.
	Value []string
	// Default says that nothing that counts was assigned.
	Default bool
	// Assignments are all of them, those that weigh least first.
	Assignments []Step
	// Skipped are assignments in files that were not read.
	Skipped []SkippedAssignment
}

// Step is an assignment on the way to a value.
type Step struct {
	Assignment
	// Source is the file that it stands in, nil for one that is in none, or
	// is what a file such as mkosi.version stands for.
	Source *Source
}

// SkippedAssignment is an assignment that would count if its file did.
type SkippedAssignment struct {
	File  string
	Line  int // counted from 1
	Value string
	Why   *Source // what was skipped: the file, or a directory around it
}

// Explain says for each image what a setting is and why.
func Explain(c *Config, s *Setting) []Explanation {
	if s.into != "" {
		s = Lookup(s.into)
	}
	var list []Explanation
	for _, img := range c.shown() {
		e := Explanation{Image: img.Image, Value: shown(s, field(img, s)), Default: true,
			Assignments: []Step{}, Skipped: []SkippedAssignment{}} // JSON has empty lists
		for _, a := range img.history[s.Name] {
			step := Step{Assignment: a, Source: c.sourceOf(img, a.Origin)}
			e.Assignments = append(e.Assignments, step)
			if a.Effect == Sets || a.Effect == Adds {
				e.Default = false
			}
		}
		for _, src := range c.Sources {
			// What mkosi itself has for other distributions concerns nobody.
			if src.Image == img.Image && src.Skipped != nil && !src.BuiltIn() {
				e.Skipped = append(e.Skipped, c.skipped(src, s)...)
			}
		}
		list = append(list, e)
	}
	return list
}

// shown writes a value for people, see [Explanation.Value].
func shown(s *Setting, v any) []string {
	if len(plainList(v)) == 0 {
		return []string{}
	}
	return valueTexts(s, v)
}

// sourceOf finds the file that an assignment stands in.
func (c *Config) sourceOf(img *Image, o Origin) *Source {
	image := img.Image
	if o.From != "" {
		image = o.From
	}
	i := slices.IndexFunc(c.Sources, func(s *Source) bool {
		return s.Path == o.File && s.Image == image && s.Skipped == nil && o.Kind == FromFile
	})
	if i < 0 {
		return nil
	}
	return c.Sources[i]
}

// skipped finds the assignments to a setting in what was skipped.
func (c *Config) skipped(src *Source, s *Setting) (list []SkippedAssignment) {
	w := walker{file: func(f *configFile, _ []*configFile) {
		for _, e := range f.entries {
			if t := Lookup(e.Key); t == nil || t != s && t.into != s.Name {
				continue
			}
			a := SkippedAssignment{File: f.path, Line: e.Line, Value: e.Value, Why: src}
			if s.hidesText() {
				a.Value = hidden
			}
			list = append(list, a)
		}
	}}
	w.walk(src.root, src.dir, nil)
	return list
}

// wordLine returns the line on which a word of an assignment stands, since
// values may go on for many; that of the assignment if it is not found.
func wordLine(file string, line int, word string) int {
	f, e, ok := entryAt(file, line)
	if !ok {
		return line
	}
	for i, text := range strings.Split(f.text, "\n")[line-1 : e.EndLine] {
		if i == 0 {
			_, text, _ = strings.Cut(text, "=")
		}
		text, _, _ = strings.Cut(text, "#")
		if hasWord(text, word) {
			return line + i
		}
	}
	return line
}

// hasWord reports whether a list in a file has a word in it.
func hasWord(list, word string) bool {
	words, _ := splitCommas(list)
	return slices.ContainsFunc(words, func(w string) bool { return strings.Trim(w, "\"'") == word })
}

// About leaves only what has to do with one word of a list: the assignments
// that have it, the empty ones, and the value if it is in there. It returns
// false if the word is nowhere.
func (e Explanation) About(word string) (about Explanation, found bool) {
	e.Value = slices.DeleteFunc(slices.Clone(e.Value), func(v string) bool { return v != word })
	e.Assignments = slices.DeleteFunc(slices.Clone(e.Assignments), func(s Step) bool { return s.Value != "" && !hasWord(s.Value, word) })
	e.Skipped = slices.DeleteFunc(slices.Clone(e.Skipped), func(s SkippedAssignment) bool { return !hasWord(s.Value, word) })
	found = len(e.Value) > 0 || len(e.Skipped) > 0
	for i, s := range e.Assignments {
		if s.Value == "" {
			continue
		}
		found = true
		e.Assignments[i].Value = word
		if s.Kind == FromFile {
			e.Assignments[i].Line = wordLine(s.File, s.Line, word)
		}
	}
	for i, s := range e.Skipped {
		e.Skipped[i].Value, e.Skipped[i].Line = word, wordLine(s.File, s.Line, word)
	}
	return e, found
}

// FindSetting returns the setting that a person means: its name in any case,
// with or without an equals sign, an old name, or its option. The hint says
// what it might have been if there is none.
func FindSetting(word string) (s *Setting, hint string) {
	name := strings.TrimSuffix(word, "=")
	if s := Lookup(name); s != nil {
		return s, ""
	}
	option := strings.TrimLeft(name, "-")
	for _, s := range table {
		switch {
		case strings.EqualFold(s.Name, name), s.Long == option, slices.Contains(s.OldLong, option),
			len(option) == 1 && s.Short == option:
			return s, ""
		}
	}
	return nil, didYouMean(name, settingNames(""))
}
