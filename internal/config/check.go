package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	for _, img := range k.c.shown() {
		setting := "Profiles"
		switch img.Image {
		case toolsName:
			setting = "ToolsTreeProfiles"
		case defaultInitrdName:
			setting = "InitrdProfiles"
		}
		for _, name := range img.Profiles {
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

// scripts looks for scripts that cannot be run, and for names of scripts that
// there are none of.
func (k *checker) scripts(img *Image) {
	for _, s := range table {
		if !strings.HasSuffix(s.Name, "Scripts") {
			continue
		}
		for _, path := range field(img, s).([]string) {
			if info, err := stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 == 0 && !img.MakeScriptsExecutable && !strings.HasPrefix(path, builtinRoot) {
				e := img.problem(s.Name, filepath.Base(path), fmt.Sprintf("%s is not executable", path), fmt.Sprintf("chmod +x %s, or set MakeScriptsExecutable=yes", path))
				if o := img.defaultFile(s.Name, path); o != nil {
					e.File, e.Line, e.Column, e.Length = o.File, 0, 0, 0
				}
				k.errors.add(e)
			}
		}
		k.unmatched(img, s)
	}
}

// defaultFile returns the assignment that a file made by its mere name, nil
// for one that is named.
func (img *Image) defaultFile(setting, path string) *Origin {
	for _, o := range img.Origin(setting) {
		if o.Kind == FromDefaultFile && o.File == path {
			return &o
		}
	}
	return nil
}

// unmatched looks for patterns of scripts that match nothing, which is no
// mistake for the program.
func (k *checker) unmatched(img *Image, s *Setting) {
	for _, o := range img.Origin(s.Name) {
		if o.Kind != FromFile || o.From != "" || strings.HasPrefix(o.File, builtinRoot) {
			continue
		}
		words, _ := splitCommas(o.Value)
		for _, word := range words {
			at := k.c.reader.resolver.place(s, k.c.dirOf(img, o))
			at.warnings = nil
			if v, err := s.kind.parse(at, nil, word); err == nil && len(v.([]string)) == 0 && !img.mayMake() {
				e := &Error{File: o.File, Line: o.Line, Setting: s.Name, Msg: fmt.Sprintf("%s: there is no file %s", s.Name, word)}
				e.pointAt(word)
				k.warnings.add(e)
			}
		}
	}
}

// absent looks for trees that are not there. A build makes some of them.
func (k *checker) absent(img *Image) {
	if img.mayMake() {
		return
	}
	for _, t := range img.ExtraTrees {
		if _, err := stat(t.Source); err != nil && !k.made(img, t.Source) {
			k.warnings.add(img.problem("ExtraTrees", filepath.Base(t.Source), whyMissing(t.Source, err), ""))
		}
	}
}

// mayMake reports whether the image has scripts that may make files which its
// configuration names.
func (img *Image) mayMake() bool { return len(img.SyncScripts) > 0 || len(img.ConfigureScripts) > 0 }

// made reports whether a path lies where builds put their files.
func (k *checker) made(img *Image, path string) bool {
	for _, dir := range []string{img.OutputDir(k.c.Dir), img.BuildDirectory, img.CacheDirectory, img.PackageCacheDirectory} {
		// The directory of the configuration holds everything.
		if dir != "" && dir != k.c.Dir && strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
}

// dirOf returns where relative paths in an assignment start.
func (c *Config) dirOf(img *Image, o Origin) string {
	if src := c.sourceOf(img, o); src != nil {
		return src.dir
	}
	return filepath.Dir(o.File)
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
// something, and for those that have such a name and lead nowhere.
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
			if !strings.HasPrefix(name, "mkosi.") {
				continue
			}
			if slices.Contains(known, name) || matchesGlob(name) {
				k.reachable(filepath.Join(src.dir, name))
				continue
			}
			if near := nearest(name, known); near != "" && distance(name, near) == 1 {
				k.warnings.add(&Error{File: filepath.Join(src.dir, name), Msg: "a file of this name means nothing", Hint: fmt.Sprintf("did you mean %q?", near)})
			}
		}
	}
}

// misspelt are the endings that a piece of configuration may have been meant to
// have.
var misspelt = []string{".cnf", ".cfg", ".con", ".cof", ".config"}

// pieces looks at the names in a directory of pieces of configuration, all
// others of which mean nothing.
func (k *checker) pieces(dir string) {
	names, _ := readDir(dir)
	for _, name := range names {
		path := filepath.Join(dir, name)
		switch ext := filepath.Ext(name); {
		case ext == ".conf":
			k.reachable(path)
		case slices.Contains(misspelt, ext) && !isDir(path):
			k.warnings.add(&Error{File: path, Msg: "a file of this name is not read", Hint: "end its name in .conf"})
		}
	}
}

// reachable reports a file that is there and cannot be looked at: reading
// takes it for one that is not there.
func (k *checker) reachable(path string) {
	if _, err := stat(path); err != nil {
		msg := "this cannot be read: " + rootCause(err)
		if target, linkErr := os.Readlink(path); linkErr == nil && errors.Is(err, fs.ErrNotExist) {
			msg = fmt.Sprintf("this symbolic link leads nowhere: there is no %s", target)
		}
		k.warnings.add(&Error{File: path, Msg: msg})
	}
	switch _, err := readDir(path); filepath.Base(path) {
	case "mkosi.conf.d", "mkosi.images": // where reading tells of errors
		k.pieces(path)
	case "mkosi.profiles":
		k.pieces(path)
		fallthrough
	default:
		if err != nil && isDir(path) {
			k.warnings.add(&Error{File: path, Msg: "this cannot be read: " + rootCause(err)})
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
