package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Settings say which modules and firmware are wanted. A pattern is one of
// KernelModules= as mkosi(1) describes them: "default" and "host" stand for
// others, "re:" begins a regular expression, and a dash one that excludes.
type Settings struct {
	// Modules are the patterns of KernelModules=, or of KernelInitrdModules=.
	// With none, and none in the next two, all modules are wanted.
	Modules []string
	// ModulesExclude are those of KernelModulesExclude= or its like for the
	// initrd: what matches is not wanted unless one of Modules has it. With
	// these, modules that no pattern is about are wanted.
	ModulesExclude []string
	// HostModules wants the modules that are loaded on this machine, too.
	HostModules bool
	// Firmware are the patterns of FirmwareFiles=. What they include is wanted
	// besides what modules need, what they exclude is not even if it is needed.
	Firmware []string
	// FirmwareExclude are those of FirmwareExclude=: what matches is not
	// wanted unless one of Firmware has it.
	FirmwareExclude []string
	// Default are the patterns that "default" stands for.
	Default []string
	// Loaded returns the names of the modules that are loaded on this machine;
	// see [LoadedModules]. It is only called for "host" and HostModules.
	Loaded func() ([]string, error)
}

// Any reports whether the settings leave out anything.
func (s Settings) Any() bool {
	return s.limitsModules() || len(s.Firmware) > 0 || len(s.FirmwareExclude) > 0
}

func (s Settings) limitsModules() bool {
	return len(s.Modules) > 0 || len(s.ModulesExclude) > 0 || s.HostModules
}

// Check returns an error about a pattern that is none.
func (s Settings) Check() error {
	for _, list := range [][]string{s.Modules, s.ModulesExclude, s.Firmware, s.FirmwareExclude} {
		if _, err := parsePatterns(list); err != nil {
			return err
		}
	}
	return nil
}

// Selection is what of one kernel's modules, and of the firmware, is wanted or
// needed. Paths are relative to the root of the tree, sorted, each one once.
type Selection struct {
	// Modules are the module files, and the links over which they are found.
	Modules []string
	// Firmware are files below usr/lib/firmware, and the links over which they
	// are found.
	Firmware []string
	// Missing says in words, sorted, which modules others need that are not
	// there, and which links among those that are wanted lead to no module, as
	// kernels that were removed leave them behind. Such links are in no list.
	Missing []string
	// Broken says in words, sorted, which of Modules are none, such as empty
	// files, and why: what those need is not known. depmod(8) passes them over.
	Broken []string
}

// Select returns which modules of a kernel of the tree at root, and which
// firmware, are wanted or are needed by those that are. Dependencies are taken
// from the modules themselves; indexes of depmod(8) are looked at for aliases
// alone.
func Select(ctx context.Context, root string, k Kernel, s Settings) (Selection, error) {
	t, err := openTree(root)
	if err != nil {
		return Selection{}, err
	}
	defer t.Close()
	sel, err := selectFrom(ctx, t, k, s)
	if err != nil {
		return Selection{}, fmt.Errorf("selecting modules and firmware for kernel %s: %w", k.Version, err)
	}
	return sel, nil
}

func selectFrom(ctx context.Context, t *rootDir, k Kernel, s Settings) (sel Selection, err error) {
	set, err := readModules(ctx, t, k.Version)
	if err != nil {
		return sel, err
	}
	wanted, err := s.wanted(set)
	if err != nil {
		return sel, err
	}
	fw, err := readFirmware(ctx, t, k.Version)
	if err != nil {
		return sel, err
	}
	needed := set.firmware
	if len(wanted) < len(set.files) || len(fw.files) > 0 {
		c := closure{set: set, seen: map[*module]bool{}}
		if err := c.run(ctx, wanted); err != nil {
			return sel, err
		}
		wanted, sel.Missing, sel.Broken = c.modules, c.missing, c.broken
		needed = append(needed, c.firmware...)
	}
	if sel.Modules, err = set.paths(wanted); err != nil {
		return sel, err
	}
	sel.Firmware, err = s.firmware(fw, needed)
	slices.Sort(sel.Missing)
	sel.Missing = slices.Compact(sel.Missing)
	slices.Sort(sel.Broken)
	return sel, err
}

// wanted returns the modules that the patterns are about.
func (s Settings) wanted(set *moduleSet) ([]*module, error) {
	if !s.limitsModules() {
		return set.files, nil
	}
	include, err := s.expand(s.Modules)
	if err != nil {
		return nil, err
	}
	if s.HostModules {
		host, err := s.expand([]string{wordHost})
		if err != nil {
			return nil, err
		}
		include = append(include, host...)
	}
	exclude, err := s.expand(s.ModulesExclude)
	if err != nil {
		return nil, err
	}
	var list []*module
	for _, m := range set.files {
		if chosen(include, exclude, m.candidate, len(exclude) > 0) {
			list = append(list, m)
		}
	}
	return list, nil
}

// chosen decides about a file by the patterns that include and exclude, and of
// the old settings that only exclude. What none is about is otherwise.
func chosen(include, exclude patterns, c candidate, otherwise bool) bool {
	if in, matched := include.decide(c); matched {
		return in
	}
	if in, matched := exclude.decide(c); matched {
		return !in
	}
	return otherwise
}

// expand parses patterns and puts others in the place of "default" and "host".
func (s Settings) expand(texts []string) (patterns, error) {
	var all []string
	for _, text := range texts {
		switch text {
		case wordDefault:
			all = append(all, s.Default...)
		case wordHost:
			if s.Loaded == nil {
				return nil, errors.New("the modules of this machine are not known")
			}
			loaded, err := s.Loaded()
			if err != nil {
				return nil, err
			}
			all = append(all, loaded...)
		default:
			all = append(all, text)
		}
	}
	return parsePatterns(all)
}

// closure collects modules and all that these need.
type closure struct {
	set      *moduleSet
	seen     map[*module]bool
	modules  []*module
	firmware []string
	missing  []string
	broken   []string
}

// run adds modules, then what these need, and so on.
func (c *closure) run(ctx context.Context, next []*module) error {
	for len(next) > 0 {
		for _, m := range next {
			c.seen[m] = true
		}
		c.modules = append(c.modules, next...)
		infos, err := c.set.infos(ctx, next)
		if err != nil {
			return err
		}
		var found []*module
		for i, info := range infos {
			if c.passesOver(next[i], info.problem) {
				continue
			}
			more, err := c.follow(next[i], info.modinfo)
			if err != nil {
				return err
			}
			found = append(found, more...)
		}
		next = found
	}
	return nil
}

// passesOver reports whether a module needs nothing as far as is known, since
// there is a problem with its file.
func (c *closure) passesOver(m *module, problem error) bool {
	switch {
	case problem == nil:
		return false
	case errors.Is(problem, errNowhere):
		c.missing = append(c.missing, fmt.Sprintf("%s %v", m.path, errNowhere))
	default:
		c.broken = append(c.broken, fmt.Sprintf("%s: %v", m.path, problem))
	}
	return true
}

// follow returns the modules that one needs and that were not met before.
func (c *closure) follow(m *module, info modinfo) ([]*module, error) {
	c.firmware = append(c.firmware, info.firmware...)
	var list []*module
	for i, name := range slices.Concat(info.depends, info.wants) {
		files, found, err := c.set.resolve(name)
		if err != nil {
			return nil, err
		}
		if !found && i < len(info.depends) {
			c.missing = append(c.missing, fmt.Sprintf("%s needs the module %s, which is not there", m.name, name))
		}
		for _, f := range files {
			if !c.seen[f] {
				c.seen[f] = true
				list = append(list, f)
			}
		}
	}
	return list, nil
}

// moduleInfo is what a module says about itself, or why it says nothing.
type moduleInfo struct {
	modinfo
	problem error
}

// infos reads what modules say about themselves, on all processors. A file that
// is no module is a problem of that module only; one that the file system
// cannot read ends everything.
func (s *moduleSet) infos(ctx context.Context, modules []*module) ([]moduleInfo, error) {
	infos := make([]moduleInfo, len(modules))
	g, ctx := errgroup.WithContext(ctx)
	queue := make(chan int, len(modules))
	for i := range modules {
		queue <- i
	}
	close(queue)
	for range min(runtime.GOMAXPROCS(0), len(modules)) {
		g.Go(func() error {
			var buf bytes.Buffer
			for i := range queue {
				if err := ctx.Err(); err != nil {
					return err
				}
				info, err := s.info(modules[i], &buf)
				if failed := (*fs.PathError)(nil); errors.As(err, &failed) {
					return fmt.Errorf("reading the module %s: %w", modules[i].path, err)
				}
				infos[i] = moduleInfo{info, err}
			}
			return nil
		})
	}
	return infos, g.Wait()
}

// LoadedModules returns the names of the modules in the file that the Linux
// kernel shows as /proc/modules.
func LoadedModules(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 0 {
			names = append(names, fields[0])
		}
	}
	return names
}
