package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/ini"
)

// maxDepth limits how deep configuration files may include one another.
const maxDepth = 64

// builtinConfigs are the names that Include= takes for configurations that
// are part of the program.
var builtinConfigs = []string{"mkosi-initrd", "mkosi-tools", "mkosi-vm", "mkosi-addon", "mkosi-obs"}

// configFile is a configuration file that was read.
type configFile struct {
	path    string
	dir     string // where relative paths in it start
	text    string
	lines   []string // of the text, once somebody has asked
	groups  []group
	entries []ini.Entry // the assignments and the headings of their sections
}

// readConfigFile reads a file. What is wrong with it goes to report; the
// lines that are right count all the same.
func readConfigFile(path, dir string, errs, warnings *problems) *configFile {
	f := &configFile{path: path, dir: dir}
	data, err := readFile(followLost(path, warnings), ini.MaxSize)
	if err != nil {
		errs.add(&Error{File: path, Msg: "reading the configuration: " + rootCause(err)})
		return f
	}
	f.text = string(data)
	entries, err := ini.Parse(data)
	f.addSyntaxErrors(errs, err)
	for _, e := range entries {
		condition := isCondition(e.Section)
		switch {
		case condition && e.Key == "":
			f.groups = append(f.groups, group{section: e.Section, line: e.Line})
		case condition:
			g := &f.groups[len(f.groups)-1]
			g.entries = append(g.entries, e)
		default:
			f.entries = append(f.entries, e)
		}
	}
	return f
}

func (f *configFile) addSyntaxErrors(errs *problems, err error) {
	for _, err := range separate(err) {
		var syntax *ini.Error
		if errors.As(err, &syntax) {
			errs.add(&Error{File: f.path, Line: syntax.Line, Column: syntax.Column, Length: syntax.Length, Msg: syntax.Msg, Hint: syntax.Hint})
		}
	}
}

// rootCause is the text of an error without the path that it repeats.
func rootCause(err error) string {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// parse reads a configuration file, or a directory with all that belongs to
// it. It returns false if its conditions exclude it. Dir is where relative
// paths start when path is a file. Local says whether a directory may have
// configuration that is not shared.
func (r *resolver) parse(path, dir string, local bool, v visit) bool {
	if r.ctx.Err() != nil {
		return false
	}
	if r.depth++; r.depth > maxDepth {
		r.log.errors.add(&Error{File: path, Msg: "configuration files include one another without end"})
		return false
	}
	defer func() { r.depth-- }()

	conf, directory := path, isDir(path)
	if directory {
		conf, dir = filepath.Join(path, "mkosi.conf"), path
	}
	file, found := &configFile{path: path, dir: dir}, exists(conf)
	if found {
		file = readConfigFile(conf, dir, &r.log.errors, &r.log.warnings)
	}
	source := r.source(v, file, path)
	if source.Skipped = r.matches(file); source.Skipped != nil {
		r.log.sources = append(r.log.sources, source)
		return false
	}
	if directory {
		if local {
			r.parseLocal(path)
		}
		r.defaultPaths(path)
	}
	r.log.sources = append(r.log.sources, source)
	defer r.enter()()
	if found {
		r.settings(file)
	}
	if directory {
		r.dropIns(filepath.Join(path, "mkosi.conf.d"))
	}
	return true
}

// parseTop reads a top directory: the directory and then its profiles.
func (r *resolver) parseTop(path string, local bool, v visit) bool {
	if !r.parse(path, path, local, v) {
		return false
	}
	defer r.enter()()
	selected := get[[]string](r, "Profiles")
	for _, profile := range selected {
		for _, p := range []string{profile, profile + ".conf"} {
			p = filepath.Join(path, "mkosi.profiles", p)
			if exists(p) {
				r.parse(p, path, false, visit{role: RoleProfile, name: profile})
			}
		}
	}
	for _, profile := range profilesIn(path) {
		if !slices.Contains(selected, profile.name) && !isBuiltIn(path) {
			r.passOver(profile.path, path, visit{role: RoleProfile, name: profile.name}, fmt.Sprintf("profile %s is not selected", profile.name))
		}
	}
	return true
}

// named is a profile or an image and where it is.
type named struct{ name, path string }

// profilesIn returns the profiles of a top directory.
func profilesIn(dir string) []named { return namedIn(filepath.Join(dir, "mkosi.profiles")) }

// namedIn returns the directories and the files in a directory that are
// pieces of configuration, by their names.
func namedIn(dir string) []named {
	names, _ := readDir(dir) // one that cannot be read has none
	var list []named
	for _, name := range names {
		if path := filepath.Join(dir, name); isDropIn(path) {
			if !isDir(path) {
				name = strings.TrimSuffix(name, ".conf")
			}
			list = append(list, named{name, path})
		}
	}
	return list
}

// parseLocal reads the configuration that is not shared with others. It goes
// above everything but the command line.
func (r *resolver) parseLocal(path string) {
	r.current = r.local
	defer func() { r.current = r.file }()
	for _, name := range []string{"mkosi.local.conf", "mkosi.local"} {
		p := filepath.Join(path, name)
		if !exists(p) {
			continue
		}
		before := r.files
		r.files = nil
		r.parse(p, path, false, visit{role: RoleLocal})
		r.files = append(r.files, before...) // listed in the order of the reference
	}
}

// dropIns reads the files and directories of a mkosi.conf.d.
func (r *resolver) dropIns(path string) {
	names, err := readDir(path)
	if err != nil {
		r.log.errors.add(&Error{File: path, Msg: "reading the configuration: " + rootCause(err)})
	}
	for _, name := range names {
		if p := filepath.Join(path, name); isDropIn(p) {
			r.parse(p, filepath.Dir(path), false, visit{role: RoleDropIn})
		}
	}
}

// isDropIn reports whether a mkosi.conf.d, or a mkosi.images, has that as a
// piece of configuration.
func isDropIn(path string) bool {
	return isDir(path) || strings.HasSuffix(path, ".conf") && exists(path)
}

// includes reads the configurations that were asked for since.
func (r *resolver) includes(dir string) {
	for len(r.pending) > 0 {
		next := r.pending[0]
		r.pending = r.pending[1:]
		r.included[next.path] = true
		path, v := next.path, visit{role: RoleInclude, include: &next.from}
		if slices.Contains(builtinConfigs, path) {
			path, v.name = builtinRoot+path, path
		}
		r.parseAny(path, dir, false, v)
	}
}

// parseAny reads a configuration file, or a directory with its profiles.
func (r *resolver) parseAny(path, dir string, local bool, v visit) bool {
	if isDir(path) {
		return r.parseTop(path, local, v)
	}
	return r.parse(path, dir, false, v)
}
