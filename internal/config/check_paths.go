package config

import (
	"fmt"
	"path/filepath"
	"strings"
)

// scripts looks for scripts that cannot be run, and for names of scripts that
// there are none of.
func (k *checker) scripts(img *Image) {
	for _, s := range table {
		if !strings.HasSuffix(s.Name, "Scripts") {
			continue
		}
		for _, path := range field(img, s).([]string) {
			if info, err := stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 == 0 && !img.MakeScriptsExecutable && !isBuiltIn(path) {
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
		if o.Kind != FromFile || o.From != "" || isBuiltIn(o.File) {
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
