package repart

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/spelling"
)

// Limits on definition files, far above what any real one needs.
const (
	maxDefinitionSize = 1 << 20
	maxDefinitions    = 128 // as many as the partition table has entries
)

// defaultSplitName is SplitName= of a definition that says nothing about it.
const defaultSplitName = "%t"

// Options are what definitions may refer to.
type Options struct {
	// Architecture is what types such as root, and %a, stand for, named as in
	// repart.d(5).
	Architecture string
	// OSRelease returns a field of the os-release(5) of the image, empty when
	// it has none of that name. Without the function, definitions that use such
	// fields are refused.
	OSRelease func(field string) string
	// MachineID is what %m stands for; empty refuses it.
	MachineID string
}

// Parse reads the repart.d(5) files *.conf at the top of fsys, in the order of
// their names, each followed by its drop-ins NAME.conf.d/*.conf. An empty file,
// or a link to /dev/null, stands for none, so that the first of several
// directories that fsys shows as one can take back what is in the others.
//
// The error joins a [*Problem] for each mistake; a setting whose name is nearly
// that of another is one. What is ignored is in the warnings. What depends on
// several definitions is not checked, see [Check].
func Parse(fsys fs.FS, o Options) (defs []Definition, warnings []*Problem, err error) {
	log := &problems{}
	names, err := confFiles(fsys, ".", log)
	if err != nil {
		return nil, nil, fmt.Errorf("reading partition definitions: %w", err)
	}
	for _, name := range names {
		r := reader{fsys: fsys, options: &o, log: log, places: map[string]place{}}
		d, err := r.definition(name)
		if err != nil {
			return nil, nil, err
		}
		if d != nil {
			defs = append(defs, *d)
		}
	}
	if len(defs) > maxDefinitions {
		return nil, nil, fmt.Errorf("%d partition definitions are more than the %d that fit into a partition table", len(defs), maxDefinitions)
	}
	if err := log.err(); err != nil {
		return nil, log.warnings, err
	}
	return defs, log.warnings, nil
}

// ParseDefinitions is [Parse] for definitions that depend on nothing but the
// architecture, and of which nothing may be ignored.
func ParseDefinitions(fsys fs.FS, architecture string) ([]Definition, error) {
	defs, warnings, err := Parse(fsys, Options{Architecture: architecture})
	if err == nil && len(warnings) > 0 {
		return nil, warnings[0]
	}
	return defs, err
}

// confFiles lists the *.conf files of a folder, sorted, hidden ones left out.
func confFiles(fsys fs.FS, dir string, log *problems) ([]string, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if !strings.HasSuffix(name, ".conf") || e.Name()[0] == '.' {
			continue
		}
		mode := e.Type()
		if mode&fs.ModeSymlink != 0 {
			fi, err := fs.Stat(fsys, name)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				log.warn(name, 0, "the symbolic link leads nowhere and is ignored")
				continue
			case err != nil:
				return nil, err
			}
			mode = fi.Mode().Type()
		}
		switch {
		case mode.IsDir():
		case mode.IsRegular(), mode&fs.ModeCharDevice != 0: // as a link to /dev/null
			names = append(names, name)
		default:
			log.fail(name, 0, "is not a regular file")
		}
	}
	slices.Sort(names)
	return names, nil
}

// reader reads one definition.
type reader struct {
	fsys    fs.FS
	options *Options
	log     *problems
	// places are where settings were last set.
	places map[string]place
}

type place struct {
	file string
	line int
}

// definition reads a file and its drop-ins; nil is one that stands for none.
// The error is about reading; mistakes are logged.
func (r *reader) definition(name string) (*Definition, error) {
	text, err := readLimited(r.fsys, name)
	if err != nil || text == "" {
		return nil, err
	}
	d := &Definition{File: path.Base(name), Weight: defaultWeight, SplitName: defaultSplitName}
	before := len(r.log.errs)
	r.apply(d, name, text)
	if info, err := fs.Stat(r.fsys, name+".d"); err == nil && info.IsDir() {
		names, err := confFiles(r.fsys, name+".d", r.log)
		if err != nil {
			return nil, fmt.Errorf("reading %s.d: %w", name, err)
		}
		for _, dropIn := range names {
			text, err := readLimited(r.fsys, dropIn)
			if err != nil {
				return nil, err
			}
			r.apply(d, dropIn, text)
		}
	}
	if len(r.log.errs) > before {
		return d, nil
	}
	if c := d.complete(); c != nil {
		r.report(r.log.fail, name, c)
		return d, nil
	}
	for _, c := range d.idle(func(setting string) bool { _, ok := r.places[setting]; return ok }) {
		r.report(r.log.warn, name, c)
	}
	return d, nil
}

// report tells a conflict at the place of its setting.
func (r *reader) report(log func(file string, line int, format string, args ...any), file string, c *conflict) {
	p, ok := r.places[c.setting]
	if !ok {
		log(file, 0, "%s", c.msg)
		return
	}
	log(p.file, p.line, "%s=: %s", c.setting, c.msg)
}

// errIgnored is wrapped by the error about a value that counts for nothing, and
// is no reason to stop.
var errIgnored = errors.New("this is ignored")

// apply applies the text of one file to the definition.
func (r *reader) apply(d *Definition, file, text string) {
	for _, a := range scan(file, text, r.log) {
		set, ok := settings[a.key]
		if !ok {
			if near := spelling.Nearest(a.key, slices.Sorted(maps.Keys(settings))); near != "" {
				r.log.fail(file, a.line, "unknown setting %s= (did you mean %s=?)", a.key, near)
			} else {
				r.log.warn(file, a.line, "unknown setting %s= is ignored", a.key)
			}
			continue
		}
		r.places[a.key] = place{file, a.line}
		err := set(d, a.value, r.options)
		switch {
		case errors.Is(err, errIgnored):
			r.log.warn(file, a.line, "%s=: %s", a.key, err)
		case err != nil:
			r.log.fail(file, a.line, "%s=: %s", a.key, err)
		}
	}
}

// readLimited reads a file. A device is taken for an empty file.
func readLimited(fsys fs.FS, name string) (string, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !fi.Mode().IsRegular() {
		return "", nil
	}
	b, err := io.ReadAll(io.LimitReader(f, maxDefinitionSize+1))
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", name, err)
	}
	if len(b) > maxDefinitionSize {
		return "", &Problem{File: name, Msg: fmt.Sprintf("larger than %d bytes", maxDefinitionSize)}
	}
	return string(b), nil
}
