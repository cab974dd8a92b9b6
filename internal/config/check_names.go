package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/spelling"
)

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
		if seen[src.dir] || src.Skipped != nil || isBuiltIn(src.dir) {
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
			if near := spelling.Nearest(name, known); near != "" && spelling.Distance(name, near) == 1 {
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
