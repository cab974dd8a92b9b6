package kernel

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// Limits on what is read from a tree, in bytes. The largest modules, those of
// graphics cards, have some ten million; the lists of Linux 6.12 two million.
const (
	maxModule = 512 << 20
	maxList   = 64 << 20
)

// module is a module file.
type module struct {
	// path is where it is, relative to the root; no directory on the way to it
	// is a link.
	path string
	// link says that it is a symbolic link.
	link bool
	// candidate is its path below the kernel's directory.
	candidate
	// name is what the Linux kernel calls it, but with dashes for underscores,
	// which are the same to it.
	name string
}

// moduleExtension returns the extension by which a file is a module, "" if it is
// none.
func moduleExtension(name string) string {
	for _, ext := range moduleExtensions {
		if strings.HasSuffix(name, ext) {
			return ext
		}
	}
	return ""
}

// newModule returns the module at name, which is called rel below its kernel's
// directory.
func newModule(name, rel, extension string) *module {
	key := normalize(strings.TrimSuffix(rel, extension))
	return &module{path: name, candidate: candidate{key, strings.TrimPrefix(rel, "kernel/")}, name: path.Base(key)}
}

// normalize makes names that the Linux kernel takes for the same equal.
func normalize(name string) string { return strings.ReplaceAll(name, "_", "-") }

// The extensions of modules and firmware that the Linux kernel or modprobe(8) can
// load.
var (
	moduleExtensions   = []string{".ko", ".ko.xz", ".ko.zst", ".ko.gz"}
	firmwareExtensions = []string{"", ".xz", ".zst"}
)

// moduleSet is the modules of one kernel.
type moduleSet struct {
	tree    *rootDir
	version string
	files   []*module
	byName  map[string][]*module
	// builtin are the names of the modules that are part of the image.
	builtin map[string]bool
	// firmware is what those ask for.
	firmware []string
	// aliases are further names of modules, read when they are needed.
	aliases map[string][]string
}

// readModules lists the modules of a kernel.
func readModules(ctx context.Context, t *rootDir, version string) (*moduleSet, error) {
	s := &moduleSet{tree: t, version: version, byName: map[string][]*module{}, builtin: map[string]bool{}}
	dir, err := t.realDir(path.Join(modulesDir, version))
	if err != nil {
		return nil, err
	}
	err = t.walk(ctx, dir, func(name string, kind uint32) error {
		if kind != unix.S_IFREG && kind != unix.S_IFLNK {
			return nil
		}
		if ext := moduleExtension(name); ext != "" {
			m := newModule(name, strings.TrimPrefix(name, dir+"/"), ext)
			m.link = kind == unix.S_IFLNK
			s.files = append(s.files, m)
			s.byName[m.name] = append(s.byName[m.name], m)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing the modules of kernel %s: %w", version, err)
	}
	return s, s.readBuiltin()
}

// readBuiltin reads what is known of the modules in the kernel's image.
func (s *moduleSet) readBuiltin() error {
	list, err := s.list("modules.builtin")
	if err != nil {
		return err
	}
	for line := range bytes.Lines(list) {
		name := path.Base(strings.TrimSpace(string(line)))
		s.builtin[normalize(strings.TrimSuffix(name, ".ko"))] = true
	}
	// Fields as in .modinfo, each with the module's name and a dot before it.
	list, err = s.list("modules.builtin.modinfo")
	if err != nil {
		return err
	}
	var info modinfo
	for field := range bytes.SplitSeq(list, []byte{0}) {
		key, value, _ := strings.Cut(string(field), "=")
		if _, key, ok := strings.Cut(key, "."); ok && key == "firmware" {
			info.add(key, value)
		}
	}
	s.firmware = info.firmware
	return nil
}

// list reads a file of the kernel's directory; it is empty when there is none.
func (s *moduleSet) list(name string) ([]byte, error) {
	b, err := tree.ReadFileIn(s.tree.fd, path.Join(modulesDir, s.version, name), maxList)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return b, err
}

// errNowhere is about a link that leads to no file.
var errNowhere = errors.New("is a link to a module that is not there")

// info reads what a module says about itself. buf is memory to use, and that of
// a call that has ended may be given to the next. Errors of the file system are
// or wrap a [fs.PathError], all others are about the module: errNowhere, or what
// is wrong with what is in the file.
func (s *moduleSet) info(m *module, buf *bytes.Buffer) (info modinfo, err error) {
	if m.link {
		if found, err := s.tree.isFile(m.path); err != nil || !found {
			return info, cmp.Or(err, errNowhere)
		}
	}
	f, err := tree.OpenRegularIn(s.tree.fd, m.path)
	if err != nil {
		return info, err
	}
	defer f.Close()
	r, _, err := archive.NewReader(f)
	if err != nil {
		return info, err
	}
	defer r.Close()
	buf.Reset()
	n, err := io.Copy(buf, io.LimitReader(r, maxModule+1))
	if err != nil {
		return info, err
	}
	if n > maxModule {
		return info, fmt.Errorf("it is larger than %d bytes", maxModule)
	}
	return parseModule(buf.Bytes())
}

// resolve returns the modules that a dependency may mean; found is also true for
// one that is part of the kernel's image. Soft dependencies may name an alias.
func (s *moduleSet) resolve(name string) (files []*module, found bool, err error) {
	name = normalize(name)
	if files := s.byName[name]; len(files) > 0 {
		return files, true, nil
	}
	if s.builtin[name] {
		return nil, true, nil
	}
	if err := s.readAliases(); err != nil {
		return nil, false, err
	}
	for _, target := range s.aliases[name] {
		files = append(files, s.byName[target]...)
		found = found || s.builtin[target]
	}
	return files, found || len(files) > 0, nil
}

// readAliases reads the aliases that depmod(8) found, but for patterns of
// devices.
func (s *moduleSet) readAliases() error {
	if s.aliases != nil {
		return nil
	}
	s.aliases = map[string][]string{}
	list, err := s.list("modules.alias")
	if err != nil {
		return err
	}
	for line := range bytes.Lines(list) {
		fields := strings.Fields(string(line))
		if len(fields) == 3 && fields[0] == "alias" && !strings.ContainsAny(fields[1], "*?[") {
			alias := normalize(fields[1])
			s.aliases[alias] = append(s.aliases[alias], normalize(fields[2]))
		}
	}
	return nil
}

// paths returns the sorted paths of modules, and of the links over which these
// are found.
func (s *moduleSet) paths(modules []*module) ([]string, error) {
	var list []string
	for _, m := range modules {
		if !m.link {
			list = append(list, m.path)
			continue
		}
		trail, err := s.tree.trail(m.path)
		if err != nil {
			return nil, err
		}
		list = append(list, trail...)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}
