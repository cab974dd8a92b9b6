package config

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/ini"
)

// settings makes the assignments of a file.
func (r *resolver) settings(f *configFile) {
	r.files = append(r.files, f.path)
	for _, e := range f.entries {
		if r.log.errors.full() {
			return
		}
		r.setting(f, e)
	}
}

func (r *resolver) setting(f *configFile, e ini.Entry) {
	s := r.known(f, e, &r.log.errors, &r.log.warnings)
	if s == nil {
		return
	}
	text, ok := r.expand(f, e, &r.log.errors, &r.log.warnings)
	if !ok {
		return
	}
	if r.log.expanded += max(0, len(text)-len(e.Value)); r.log.expanded > maxAllExpanded {
		r.log.errors.add(f.keyError(e, e.Key+": specifiers make the configuration too long", ""))
		return
	}
	if err := r.assign(r.current, s, text, f.dir, Origin{Kind: FromFile, File: f.path, Line: e.Line}); err != nil {
		r.log.errors.add(f.valueError(s, e, err))
	}
	r.includes(f.dir)
}

// known returns the setting of an assignment, or nil for a heading, for one
// that is none of ours, and for one that must not be here.
func (r *resolver) known(f *configFile, e ini.Entry, errs, warnings *problems) *Setting {
	if strings.HasPrefix(e.Section, "X-") || strings.HasPrefix(e.Key, "X-") {
		return nil
	}
	if !slices.Contains(Sections(), e.Section) && e.Section != "Host" { // which [Runtime] was called
		if e.Key == "" && !warnings.full() {
			unknown(f, e, fmt.Sprintf("unknown section [%s]", e.Section), didYouMean(e.Section, Sections()), errs, warnings)
		}
		return nil
	}
	if e.Key == "" {
		return nil
	}
	name, marked := strings.CutPrefix(e.Key, "@") // which meant that other assignments count first
	if marked {
		warnings.add(f.keyError(e, fmt.Sprintf("the at sign before %s means nothing any more", name), fmt.Sprintf("write %s=", name)))
	}
	s := Lookup(name)
	if s == nil && warnings.full() {
		return nil // looking for what was meant takes its time
	}
	if s == nil {
		hint := cmp.Or(didYouMean(e.Key, settingNames(e.Section)), didYouMean(e.Key, settingNames("")))
		unknown(f, e, fmt.Sprintf("unknown setting %q in [%s]", e.Key, e.Section), hint, errs, warnings)
		return nil
	}
	if name != s.Name {
		warnings.add(f.keyError(e, fmt.Sprintf("%s is the old name of %s", e.Key, s.Name), fmt.Sprintf("write %s=", s.Name)))
	}
	if e.Section != s.Section {
		warnings.add(f.keyError(e, fmt.Sprintf("%s belongs into [%s], not [%s]", s.Name, s.Section, e.Section), ""))
	}
	if !r.allowed(s) {
		errs.add(f.keyError(e, fmt.Sprintf("%s cannot be set in %s", s.Name, r.kindOfImage()), r.whereAllowed()))
		return nil
	}
	return s
}

// unknown says that there is no such name: an error if it looks like one that
// there is, which somebody meant and does not get, and else a warning, since
// older versions of mkosi had more.
func unknown(f *configFile, e ini.Entry, msg, hint string, errs, warnings *problems) {
	if hint != "" {
		errs.add(f.keyError(e, msg, hint))
		return
	}
	warnings.add(f.keyError(e, msg+" is passed over", "mkosi help settings lists all; names that start with X- are left to others"))
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

// whereAllowed says where a setting may be that is not allowed here.
func (r *resolver) whereAllowed() string {
	if r.name != toolsName {
		return "set it in the main image's configuration"
	}
	var names []string
	for _, s := range table {
		if s.ForTools {
			names = append(names, s.Name)
		}
	}
	return "only these can: " + strings.Join(names, ", ")
}

// kindOfImage names what the resolver reads, for messages.
func (r *resolver) kindOfImage() string {
	switch r.name {
	case defaultInitrdName:
		return "the default initrd"
	case toolsName:
		return "the default tools tree"
	}
	return "a subimage"
}

// defaultPaths assigns what files and directories beside mkosi.conf stand for.
func (r *resolver) defaultPaths(dir string) {
	names, err := readDir(dir)
	if err != nil {
		r.log.errors.add(&Error{File: dir, Msg: "reading the configuration: " + rootCause(err)})
	}
	// Most of the many that could be there are not.
	there := func(path string) bool {
		first, _, _ := strings.Cut(path, "/")
		return strings.ContainsAny(first, "*?[") || slices.Contains(names, first)
	}
	for _, s := range table {
		if !r.allowed(s) {
			continue
		}
		paths := slices.Clone(s.Paths)
		for _, pattern := range s.Globs {
			if !there(pattern) {
				continue
			}
			found, err := glob(filepath.Join(dir, pattern))
			if err != nil { // the directory's own name may not be a pattern
				r.log.errors.add(&Error{File: dir, Setting: s.Name, Msg: fmt.Sprintf("looking for %s: %v", pattern, err)})
			}
			for _, p := range found {
				paths = append(paths, strings.TrimPrefix(p, dir+"/"))
			}
		}
		for _, p := range paths {
			if !there(p) {
				continue
			}
			from := Origin{Kind: FromDefaultFile, File: filepath.Join(dir, p), Value: p}
			if err := r.defaultPath(s, dir, p, from); err != nil {
				r.log.errors.add(settingError(s, from, err))
			}
		}
	}
}

// defaultPath assigns one such file, if it is there.
func (r *resolver) defaultPath(s *Setting, dir, name string, from Origin) error {
	path := followLost(from.File, &r.log.warnings)
	info, err := stat(path)
	if err != nil {
		return nil
	}
	switch {
	case s.kind.directory != nil && info.IsDir():
		v, err := s.kind.directory(r.place(s, dir), path)
		if err != nil {
			return err
		}
		r.current.entry(s).add(s, v, from)
		return nil
	case s.ReadsPath:
		text, err := r.content(s, path, info)
		if err != nil {
			return err
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
