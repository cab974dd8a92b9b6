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
	images := c.Images
	if c.Tools != nil {
		images = append([]*Image{c.Tools}, images...)
	}
	for _, img := range images {
		e := Explanation{Image: img.Image, Value: shown(s, field(img, s)), Default: true}
		for _, a := range img.history[s.Name] {
			step := Step{Assignment: a, Source: c.sourceOf(img, a.Origin)}
			e.Assignments = append(e.Assignments, step)
			if a.Effect == Sets || a.Effect == Adds {
				e.Default = false
			}
		}
		for _, src := range c.Sources {
			if src.Image == img.Image && src.Skipped != nil {
				e.Skipped = append(e.Skipped, c.skipped(src, s)...)
			}
		}
		list = append(list, e)
	}
	return list
}

// shown writes a value for people, see [Explanation.Value].
func shown(s *Setting, v any) []string {
	list := valueLines(s, v)
	if s.Secret && len(list) > 0 {
		return []string{hidden}
	}
	return list
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
			if s.Secret {
				a.Value = hidden
			}
			list = append(list, a)
		}
	}}
	w.walk(src.root, src.dir, nil)
	return list
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
