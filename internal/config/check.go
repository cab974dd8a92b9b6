package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Report is what is to be said about a configuration.
type Report struct {
	Errors   []*Error // a build refuses it, or it can only be a mistake
	Warnings []*Error // it works, and is probably not what was meant
}

// Check looks for everything that is wrong with a configuration that [Load]
// returned, with its error. It also looks where a build with the same command
// line would not: into files whose conditions do not hold, profiles that are
// not selected, and configuration of images that are not built.
func Check(c *Config, loadErr error) Report {
	k := &checker{c: c}
	k.errors.addAll(loadErr)
	for _, w := range c.Warnings {
		k.warnings.add(w)
	}
	if c.reader != nil {
		k.files()
		k.profiles()
		k.names()
		for _, img := range c.shown() {
			k.effects(img)
			k.reserved(img)
			k.scripts(img)
			k.absent(img)
		}
	}
	return Report{Errors: inFileOrder(k.errors.list), Warnings: inFileOrder(k.warnings.list)}
}

// inFileOrder puts the problems of a file together, in the order of its
// lines.
func inFileOrder(list []*Error) []*Error {
	first := map[string]int{}
	for i, e := range list {
		if _, ok := first[e.File]; !ok {
			first[e.File] = i
		}
	}
	slices.SortStableFunc(list, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(first[a.File], first[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return list
}

// checker collects what Check finds.
type checker struct {
	c                *Config
	errors, warnings problems
	asked            []string // profiles that conditions ask for
}

// reader returns a resolver that knows the main image, for files of any.
func (k *checker) reader(image string) *resolver {
	r := *k.c.reader.resolver
	r.name = image
	r.log = &record{} // what it says of specifiers without a value is of no use
	return &r
}

// files looks at every file, read or not.
func (k *checker) files() {
	for _, src := range k.c.Sources {
		if src.BuiltIn() {
			continue
		}
		r := k.reader(src.Image)
		w := walker{errors: &k.errors, warnings: &k.warnings, file: func(f *configFile, around []*configFile) {
			if src.Skipped != nil {
				k.assignments(r, f)
			}
			k.conditions(r, f, around)
		}}
		if src.Skipped != nil {
			w.walk(src.root, src.dir, nil)
		} else if isDir(src.Path) {
			continue // a directory without a file
		} else {
			w.one(src.Path, src.dir, nil)
		}
	}
}

// assignments looks at the assignments in a file that was not read. Whether
// what they name exists is not asked: it may be made where the file counts.
func (k *checker) assignments(r *resolver, f *configFile) {
	for _, e := range f.entries {
		s := r.known(f, e, &k.errors, &k.warnings)
		if s == nil || e.Value == "" {
			continue
		}
		text, ok := r.expand(f, e, &k.errors, nil)
		if !ok || text == "" {
			continue
		}
		at := r.place(s, f.dir)
		at.unread = true
		if _, err := s.kind.parse(at, nil, text); err != nil {
			k.errors.add(f.valueError(s, e, err))
		}
	}
}

// profiles looks for profiles that are selected and are nowhere.
func (k *checker) profiles() {
	const maxProfiles = 100 // of an image are looked for; nobody has as many
	dirs := []string{k.c.reader.source}
	var available []string
	for _, src := range k.c.Sources {
		if src.Skipped == nil && isDir(src.root) {
			dirs = append(dirs, src.root)
		}
	}
	for _, dir := range dirs {
		for _, p := range profilesIn(dir) {
			available = append(available, p.name)
		}
	}
	// A profile may be nothing but a word for conditions to ask for.
	available = append(available, k.asked...)
	for _, img := range k.c.shown() {
		setting := "Profiles"
		switch img.Image {
		case toolsName:
			setting = "ToolsTreeProfiles"
		case defaultInitrdName:
			setting = "InitrdProfiles"
		}
		for i, name := range img.Profiles {
			if i == maxProfiles {
				break
			}
			if !slices.Contains(available, name) {
				e := img.problem("Profiles", name, fmt.Sprintf("there is no profile %q", name), cmp.Or(didYouMean(name, available),
					"profiles are files and directories in mkosi.profiles/"))
				if rest, ok := strings.CutPrefix(e.Msg, "Profiles"); ok {
					e.Setting, e.Msg = setting, setting+rest
				}
				k.errors.add(e)
			}
		}
	}
}

// problem is an error about a word of the value of a setting of an image, at
// the place where that was assigned last.
func (img *Image) problem(setting, word, msg, hint string) *Error {
	e := &Error{Setting: setting, Msg: setting + ": " + msg, Hint: hint}
	origins := slices.DeleteFunc(slices.Clone(img.Origin(setting)), func(o Origin) bool { return !strings.Contains(o.Value, word) })
	if len(origins) == 0 { // a specifier stands for the word
		origins = img.Origin(setting)
	}
	if len(origins) == 0 {
		return e
	}
	o := origins[len(origins)-1]
	word = writtenWord(o.Value, word)
	if e.File, e.Line = o.File, o.Line; e.File != "" {
		e.pointAt(word)
	}
	if o.Kind == FromOption {
		e.Msg = "--" + Lookup(setting).Long + ": " + msg
	}
	return e
}

// writtenWord returns the word of a list that is, or else has in it, a word:
// paths are written with their directories.
func writtenWord(list, word string) string {
	words, _ := splitCommas(list)
	if i := slices.IndexFunc(words, func(w string) bool { return strings.Contains(w, word) }); i >= 0 && word != "" && !slices.Contains(words, word) {
		word, _, _ = strings.Cut(words[i], ":")
	}
	return word
}

// reserved looks for includes with names that a later version of mkosi may
// give to configurations of its own.
func (k *checker) reserved(img *Image) {
	for _, o := range img.Origin("Include") {
		words, _ := splitCommas(o.Value)
		for _, word := range words {
			if o.Kind != FromFile || slices.Contains(builtinConfigs, word) || !strings.HasPrefix(word, "mkosi-") && !strings.HasPrefix(word, "contrib-") {
				continue
			}
			w := &Error{File: o.File, Line: o.Line, Setting: "Include", Msg: fmt.Sprintf("Include: the name %q is reserved for configurations of mkosi itself", word),
				Hint: "rename it, or write ./" + word}
			w.pointAt(word)
			k.warnings.add(w)
		}
	}
}
