package kernel

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/tree"
)

const firmwareDir = "usr/lib/firmware"

// firmwareSet is the firmware of a tree. Files are relative to its directory.
type firmwareSet struct {
	tree *rootDir
	// files are all there are, links among them, in the walk's order.
	files []string
	// places are the directories in which the Linux kernel looks.
	places []string
}

// readFirmware lists the firmware of a tree.
func readFirmware(ctx context.Context, t *rootDir, version string) (*firmwareSet, error) {
	f := &firmwareSet{tree: t, places: []string{"updates/" + version, "updates", version, "."}}
	dir, err := t.realDir(firmwareDir)
	if err != nil {
		return nil, err
	}
	err = t.walk(ctx, dir, func(name string, kind uint32) error {
		if kind == unix.S_IFREG || kind == unix.S_IFLNK {
			f.files = append(f.files, strings.TrimPrefix(name, dir+"/"))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing the firmware: %w", err)
	}
	return f, nil
}

// firmwareName takes off what compression adds to a file's name.
func firmwareName(file string) string {
	for _, ext := range firmwareExtensions[1:] {
		if stem, ok := strings.CutSuffix(file, ext); ok {
			return stem
		}
	}
	return file
}

// firmware returns the paths of the firmware that modules need and of what the
// settings want, and of the links over which it is found.
func (s Settings) firmware(f *firmwareSet, needed []string) ([]string, error) {
	if len(f.files) == 0 {
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
	slices.Sort(needed)
	files := map[string]bool{}
	for _, name := range slices.Compact(needed) {
		for _, file := range f.find(name) {
			if chosen(include, exclude, firmwareCandidate(file), true) {
				files[file] = true
			}
		}
	}
	if len(include) > 0 {
		for _, file := range f.files {
			if chosen(include, nil, firmwareCandidate(file), false) {
				files[file] = true
			}
		}
	}
	return f.paths(files)
}

func firmwareCandidate(file string) candidate {
	return candidate{normalize(firmwareName(file)), file}
}

// find returns the files, which may not be there, that a module means by a name,
// which may be a pattern. All the directories in which the Linux kernel looks
// count: which of them has the file differs once some are left out.
func (f *firmwareSet) find(name string) []string {
	var list []string
	for _, dir := range f.places {
		name := path.Join(dir, name)
		if strings.HasPrefix(name, "../") {
			continue
		}
		if strings.ContainsAny(name, "*?[") {
			for _, file := range f.files {
				if matchPath(name, firmwareName(file)) {
					list = append(list, file)
				}
			}
			continue
		}
		for _, ext := range firmwareExtensions {
			list = append(list, name+ext)
		}
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

// paths returns the sorted paths of files, as far as they are there, and of the
// links over which they are found.
func (f *firmwareSet) paths(files map[string]bool) ([]string, error) {
	var list []string
	for file := range files {
		trail, err := f.tree.trail(path.Join(firmwareDir, file))
		if err != nil {
			return nil, err
		}
		list = append(list, trail...)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}
