package config

import (
	"path/filepath"
	"slices"
)

// maxWalk limits how many files one walk reads.
const maxWalk = 10000

// A walker reads configuration files whether or not their conditions hold.
type walker struct {
	errors, warnings *problems
	// file is called for each file, with those around it: the mkosi.conf of
	// a directory is around all else in the directory.
	file func(f *configFile, around []*configFile)

	read  int
	depth int
}

// walk reads a file, or a directory with all that belongs to it, in the
// order of parse. Dir is where relative paths in a file start.
func (w *walker) walk(path, dir string, around []*configFile) {
	if w.depth++; w.depth > maxDepth || w.read > maxWalk {
		return
	}
	defer func() { w.depth-- }()
	if !isDir(path) {
		w.one(path, dir, around)
		return
	}
	if conf := filepath.Join(path, "mkosi.conf"); exists(conf) {
		around = append(slices.Clone(around), w.one(conf, path, around))
	}
	for _, name := range []string{"mkosi.local.conf", "mkosi.local"} {
		if p := filepath.Join(path, name); exists(p) {
			w.walk(p, path, around)
		}
	}
	for _, name := range []string{"mkosi.conf.d", "mkosi.profiles"} {
		for _, n := range namedIn(filepath.Join(path, name)) {
			w.walk(n.path, path, around)
		}
	}
}

func (w *walker) one(path, dir string, around []*configFile) *configFile {
	w.read++
	f := readConfigFile(path, dir, w.errors, w.warnings)
	w.file(f, around)
	return f
}
