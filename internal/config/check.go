package config

import (
	"fmt"
	"path/filepath"
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
		for _, img := range c.Images {
			k.effects(img)
			k.reserved(img)
			k.scripts(img)
		}
	}
	return Report{Errors: k.errors.list, Warnings: k.warnings.list}
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
	r.name, r.main = image, image == MainImage
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
	for _, img := range k.c.Images {
		for _, name := range img.Profiles {
			if !slices.Contains(available, name) {
				k.errors.add(img.problem("Profiles", name, fmt.Sprintf("there is no profile %q", name), orElse(didYouMean(name, available),
					"profiles are files and directories in mkosi.profiles/")))
			}
		}
	}
}

func orElse(hint, other string) string {
	if hint != "" {
		return hint
	}
	return other
}

// problem is an error about a word of the value of a setting of an image, at
// the place where it was assigned last.
func (img *Image) problem(setting, word, msg, hint string) *Error {
	e := &Error{Setting: setting, Msg: setting + ": " + msg, Hint: hint}
	for _, o := range slices.Backward(img.Origin(setting)) {
		if o.File != "" {
			e.File, e.Line = o.File, o.Line
			e.pointAt(word)
			break
		}
	}
	return e
}

// scripts looks for scripts that cannot be run.
func (k *checker) scripts(img *Image) {
	if img.MakeScriptsExecutable {
		return
	}
	for _, s := range table {
		if !strings.HasSuffix(s.Name, "Scripts") {
			continue
		}
		for _, path := range field(img, s).([]string) {
			if info, err := stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 == 0 && !strings.HasPrefix(path, builtinRoot) {
				e := img.problem(s.Name, filepath.Base(path), fmt.Sprintf("%s is not executable", path), fmt.Sprintf("chmod +x %s, or set MakeScriptsExecutable=yes", path))
				k.errors.add(e)
			}
		}
	}
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

// names looks for files whose names are nearly that of one that means
// something.
func (k *checker) names() {
	known := []string{"mkosi.conf", "mkosi.conf.d", "mkosi.local", "mkosi.local.conf", "mkosi.images", "mkosi.profiles",
		"mkosi.tools.conf", "mkosi.initrd.conf", "mkosi.output", "mkosi.tools.manifest"}
	for _, s := range table {
		known = append(known, s.Paths...)
		for _, g := range s.Globs {
			first, _, _ := strings.Cut(g, "/")
			known = append(known, first)
		}
	}
	seen := map[string]bool{}
	for _, src := range k.c.Sources {
		if seen[src.dir] || src.Skipped != nil || strings.HasPrefix(src.dir, builtinRoot) {
			continue
		}
		seen[src.dir] = true
		names, _ := readDir(src.dir)
		for _, name := range names {
			if !strings.HasPrefix(name, "mkosi.") || slices.Contains(known, name) || matchesGlob(name) {
				continue
			}
			if near := nearest(name, known); near != "" && distance(name, near) <= 2 {
				k.warnings.add(&Error{File: filepath.Join(src.dir, name), Msg: "a file of this name means nothing", Hint: fmt.Sprintf("did you mean %q?", near)})
			}
		}
	}
}

// matchesGlob reports whether a file is picked up by a pattern.
func matchesGlob(name string) bool {
	for _, s := range table {
		for _, g := range s.Globs {
			if ok, _ := filepath.Match(g, name); ok {
				return true
			}
		}
	}
	return false
}
