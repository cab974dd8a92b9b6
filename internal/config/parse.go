package config

import (
	"context"
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
	groups  []group
	entries []ini.Entry // the assignments
}

func readConfigFile(path, dir string) (*configFile, error) {
	data, err := readFile(path, ini.MaxSize)
	if err != nil {
		return nil, &Error{File: path, Msg: "reading the configuration: " + rootCause(err)}
	}
	entries, err := ini.Parse(data)
	var syntax *ini.Error
	if errors.As(err, &syntax) {
		return nil, &Error{File: path, Line: syntax.Line, Msg: syntax.Msg}
	}
	f := &configFile{path: path, dir: dir}
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
	return f, nil
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
// paths start when path is a file.
func (r *resolver) parse(path, dir string, top bool) (bool, error) {
	if err := r.ctx.Err(); err != nil {
		return false, err
	}
	if r.depth++; r.depth > maxDepth {
		return false, &Error{File: path, Msg: "configuration files include one another without end"}
	}
	defer func() { r.depth-- }()

	conf, directory := path, isDir(path)
	if directory {
		conf, dir = filepath.Join(path, "mkosi.conf"), path
	}
	file := &configFile{path: conf, dir: dir}
	found := exists(conf)
	if found {
		var err error
		if file, err = readConfigFile(conf, dir); err != nil {
			return false, err
		}
		if ok, err := r.matches(file); err != nil || !ok {
			return false, err
		}
	}
	if directory {
		if top {
			if err := r.parseLocal(path); err != nil {
				return false, err
			}
		}
		if err := r.defaultPaths(path); err != nil {
			return false, err
		}
	}
	if found {
		if err := r.settings(file); err != nil {
			return false, err
		}
	}
	if directory {
		if err := r.dropIns(filepath.Join(path, "mkosi.conf.d")); err != nil {
			return false, err
		}
	}
	return true, nil
}

// parseTop reads a top directory: the directory and then its profiles.
func (r *resolver) parseTop(path string, local bool) (bool, error) {
	ok, err := r.parse(path, path, local)
	if err != nil || !ok {
		return ok, err
	}
	for _, profile := range get[[]string](r, "Profiles") {
		for _, p := range []string{profile, profile + ".conf"} {
			p = filepath.Join(path, "mkosi.profiles", p)
			if !exists(p) {
				continue
			}
			if _, err := r.parse(p, path, false); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// parseLocal reads the configuration that is not shared with others. It goes
// above everything but the command line.
func (r *resolver) parseLocal(path string) error {
	r.current = r.local
	defer func() { r.current = r.file }()
	for _, name := range []string{"mkosi.local.conf", "mkosi.local"} {
		p := filepath.Join(path, name)
		if !exists(p) {
			continue
		}
		before := r.files
		r.files = nil
		if _, err := r.parse(p, path, false); err != nil {
			return err
		}
		r.files = append(r.files, before...) // listed in the order of the reference
	}
	return nil
}

// dropIns reads the files and directories of a mkosi.conf.d.
func (r *resolver) dropIns(path string) error {
	names, err := readDir(path)
	if err != nil {
		return &Error{File: path, Msg: "reading the configuration: " + rootCause(err)}
	}
	for _, name := range names {
		p := filepath.Join(path, name)
		if !isDir(p) && !(strings.HasSuffix(p, ".conf") && exists(p)) {
			continue
		}
		if _, err := r.parse(p, filepath.Dir(path), false); err != nil {
			return err
		}
	}
	return nil
}

// settings makes the assignments of a file.
func (r *resolver) settings(f *configFile) error {
	r.files = append(r.files, f.path)
	for _, e := range f.entries {
		if err := r.setting(f, e); err != nil {
			return err
		}
	}
	return nil
}

func (r *resolver) setting(f *configFile, e ini.Entry) error {
	if strings.HasPrefix(e.Section, "X-") || strings.HasPrefix(e.Key, "X-") {
		return nil
	}
	fail := func(msg, hint string) error {
		return &Error{File: f.path, Line: e.Line, Setting: e.Key, Msg: msg, Hint: hint}
	}
	if !slices.Contains(Sections(), e.Section) {
		return fail(fmt.Sprintf("unknown section [%s]", e.Section), didYouMean(e.Section, Sections()))
	}
	if e.Key == "" {
		return nil
	}
	s := Lookup(e.Key)
	if s == nil {
		hint := didYouMean(e.Key, settingNames(e.Section))
		if hint == "" {
			hint = didYouMean(e.Key, settingNames(""))
		}
		return fail(fmt.Sprintf("unknown setting %q in [%s]", e.Key, e.Section), hint)
	}
	from := Origin{Kind: FromFile, File: f.path, Line: e.Line}
	if e.Key != s.Name {
		r.warn(from, s.Name, fmt.Sprintf("%s is the old name of %s", e.Key, s.Name))
	}
	if e.Section != s.Section {
		r.warn(from, s.Name, fmt.Sprintf("%s belongs into [%s], not [%s]", s.Name, s.Section, e.Section))
	}
	if !r.allowed(s) {
		return fail(fmt.Sprintf("%s cannot be set in %s", s.Name, r.kindOfImage()), "set it in the main image's configuration")
	}
	text, err := r.expand(f, e)
	if err != nil {
		return err
	}
	if err := r.assign(r.current, s, text, f.dir, from); err != nil {
		return err
	}
	return r.includes(f.dir)
}

// allowed reports whether files of this image may set a setting.
func (r *resolver) allowed(s *Setting) bool {
	switch r.name {
	case MainImage:
		return true
	case toolsName:
		return s.ForTools
	}
	return s.Scope == Local || s.Scope == Inherit || s.Scope == InitrdInherit
}

// includes reads the configurations that were asked for since.
func (r *resolver) includes(dir string) error {
	for len(r.pending) > 0 {
		path := r.pending[0]
		r.pending = r.pending[1:]
		r.included[path] = true
		if slices.Contains(builtinConfigs, path) {
			path = builtinRoot + path
		}
		if err := r.include(path, dir); err != nil {
			return err
		}
	}
	return nil
}

// include reads a configuration file, or a directory with its profiles.
func (r *resolver) include(path, dir string) error {
	var err error
	if isDir(path) {
		_, err = r.parseTop(path, false)
	} else {
		_, err = r.parse(path, dir, false)
	}
	return err
}

// defaultPaths assigns what files and directories beside mkosi.conf stand for.
func (r *resolver) defaultPaths(dir string) error {
	for _, s := range table {
		if !r.allowed(s) || r.inherited[s.Name] {
			continue
		}
		paths := slices.Clone(s.Paths)
		for _, pattern := range s.Globs {
			found, err := glob(filepath.Join(dir, pattern))
			if err != nil {
				return fmt.Errorf("looking for %s: %w", pattern, err)
			}
			for _, p := range found {
				paths = append(paths, strings.TrimPrefix(p, dir+"/"))
			}
		}
		for _, p := range paths {
			if err := r.defaultPath(s, dir, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// defaultPath assigns one such file, if it is there.
func (r *resolver) defaultPath(s *Setting, dir, name string) error {
	path := filepath.Join(dir, name)
	info, err := stat(path)
	if err != nil {
		return nil
	}
	from := Origin{Kind: FromDefaultFile, File: path}
	switch {
	case s.kind.directory != nil && info.IsDir():
		v, err := s.kind.directory(r.place(s, dir), path)
		if err != nil {
			return settingError(s, from, err)
		}
		e := r.current[s.Name]
		if e == nil {
			e = &entry{}
			r.current[s.Name] = e
		} else if e.value != nil {
			v = s.kind.merge(e.value, v)
		}
		e.value, e.origins = v, append(e.origins, from)
		return nil
	case s.ReadsPath:
		text, err := r.content(s, path, info)
		if err != nil {
			return settingError(s, from, err)
		}
		return r.assign(r.current, s, text, dir, from)
	}
	return r.assign(r.current, s, name, dir, from)
}

// maxValue limits the size in bytes of a file that holds a value.
const maxValue = 1 << 20

// content reads the value in a file, or what the file prints if it is a
// program.
func (r *resolver) content(s *Setting, path string, info os.FileInfo) (string, error) {
	if s.Secret {
		if err := checkSecret(path, info); err != nil {
			return "", err
		}
	}
	if info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
		if r.o.Run == nil {
			return "", fmt.Errorf("%s is a program, and none may be run here", path)
		}
		out, err := r.o.Run(r.ctx, path)
		if err != nil {
			return "", fmt.Errorf("running %s: %w", path, err)
		}
		return strings.TrimRight(string(out), "\n"), nil
	}
	data, err := readFile(path, maxValue)
	if err != nil {
		return "", fmt.Errorf("reading %s: %s", path, rootCause(err))
	}
	return strings.TrimRight(string(data), "\n"), nil
}

// Runner runs a program of the user's that prints a value, in its own
// directory, and returns what it wrote to its standard output.
type Runner func(ctx context.Context, path string) ([]byte, error)
