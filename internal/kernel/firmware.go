package kernel

import (
	"context"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/tree"
)

const firmwareDir = "usr/lib/firmware"

// firmwareSet is the firmware of a tree.
type firmwareSet struct {
	tree *rootDir
	// names are the files without what compression adds to them, relative to
	// the firmware directory and sorted.
	names []string
	// places are the directories in which the kernel looks, the first one
	// first, relative to the firmware directory.
	places []string
}

// readFirmware lists the firmware of a tree.
func readFirmware(ctx context.Context, t *rootDir, version string) (*firmwareSet, error) {
	f := &firmwareSet{tree: t, places: []string{"updates/" + version, "updates", version, "."}}
	err := t.walk(ctx, firmwareDir, func(name string, kind uint32) error {
		if kind == unix.S_IFREG || kind == unix.S_IFLNK {
			f.names = append(f.names, firmwareName(strings.TrimPrefix(name, firmwareDir+"/")))
		}
		return nil
	})
	slices.Sort(f.names)
	f.names = slices.Compact(f.names)
	return f, err
}

// firmwareName takes off what compression adds to a file's name.
func firmwareName(name string) string {
	for _, ext := range firmwareExtensions[1:] {
		if stem, ok := strings.CutSuffix(name, ext); ok {
			return stem
		}
	}
	return name
}

// firmware returns the files of the names that modules need and of those that
// the settings want.
func (s Settings) firmware(f *firmwareSet, needed []string) ([]string, error) {
	if len(f.names) == 0 {
		return nil, nil
	}
	include, err := parsePatterns(s.Firmware)
	if err != nil {
		return nil, err
	}
	exclude, err := parsePatterns(s.FirmwareExclude)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, name := range needed {
		for _, name := range f.find(name) {
			names[name] = true
		}
	}
	for name := range names {
		if !chosen(include, exclude, newCandidate(name, ""), true) {
			delete(names, name)
		}
	}
	for _, name := range f.names {
		if chosen(include, nil, newCandidate(name, ""), false) {
			names[name] = true
		}
	}
	return f.files(names)
}

// find returns the names under which firmware is there that a module asks for,
// which may be a pattern. All the directories in which the kernel looks count:
// which of them has the file differs once some are left out.
func (f *firmwareSet) find(name string) []string {
	if strings.ContainsAny(name, "*?[") {
		var list []string
		for _, candidate := range f.names {
			if slices.ContainsFunc(f.places, func(dir string) bool { return matchPath(path.Join(dir, name), candidate) }) {
				list = append(list, candidate)
			}
		}
		return list
	}
	var list []string
	for _, dir := range f.places {
		list = append(list, path.Join(dir, name))
	}
	return list
}

// matchPath matches a path with a pattern, component by component.
func matchPath(pattern, name string) bool {
	p, n := strings.Split(pattern, "/"), strings.Split(name, "/")
	if len(p) != len(n) {
		return false
	}
	for i := range p {
		if !tree.MatchName(p[i], n[i]) {
			return false
		}
	}
	return true
}

// files returns the sorted paths of the files of these names, and of the links
// over which they are found.
func (f *firmwareSet) files(names map[string]bool) ([]string, error) {
	var list []string
	for name := range names {
		if !within(name) {
			continue
		}
		for _, ext := range firmwareExtensions {
			trail, err := f.tree.trail(path.Join(firmwareDir, name+ext))
			if err != nil {
				return nil, err
			}
			list = append(list, trail...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// within reports whether a relative path stays below the directory that it is
// relative to.
func within(name string) bool {
	return name == path.Clean(name) && !path.IsAbs(name) && name != ".." && !strings.HasPrefix(name, "../")
}
