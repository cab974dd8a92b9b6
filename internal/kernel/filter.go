package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// microcodeDirs are directories of firmware that no module asks for: it is
// loaded before there are any.
var microcodeDirs = []string{"amd-ucode", "intel-ucode"}

// Filtered is what FilterTree did.
type Filtered struct {
	// Versions are the kernels that lost modules, the newest first: their
	// indexes have to be made again with depmod(8).
	Versions []string
	// Modules and Firmware are how many files were removed.
	Modules, Firmware int
	// Missing and Broken are those of the selections, of all kernels.
	Missing, Broken []string
}

// FilterTree removes from the tree at root the modules that the settings do not
// select, and the firmware that they select for none of the kernels; microcode
// stays. Settings that leave out nothing, and a tree without kernels, are left
// alone. Directories of modules stay when they are empty, those of firmware do
// not.
//
// Modules that are there without a kernel image are filtered like others.
func FilterTree(ctx context.Context, root string, s Settings) (Filtered, error) {
	var done Filtered
	if !s.Any() {
		return done, nil
	}
	t, versions, err := openVersions(root)
	if err != nil {
		return done, err
	}
	defer t.Close()
	if len(versions) == 0 {
		return done, nil
	}
	firmware := map[string]bool{}
	for _, v := range versions {
		sel, err := selectFrom(ctx, t, Kernel{Version: v}, s)
		if err != nil {
			return done, err
		}
		done.Missing = append(done.Missing, sel.Missing...)
		done.Broken = append(done.Broken, sel.Broken...)
		for _, name := range sel.Firmware {
			firmware[name] = true
		}
		n, err := t.filterModules(ctx, v, sel.Modules)
		if err != nil {
			return done, err
		}
		if n > 0 {
			done.Versions = append(done.Versions, v)
			done.Modules += n
		}
	}
	done.Firmware, err = t.filterFirmware(ctx, firmware)
	return done, err
}

// filterModules removes modules of a kernel but for these.
func (t *rootDir) filterModules(ctx context.Context, version string, keep []string) (int, error) {
	set, err := readModules(ctx, t, version)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, m := range set.files {
		if _, found := slices.BinarySearch(keep, m.path); found {
			continue
		}
		if err := t.remove(m.path, 0); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// filterFirmware removes firmware but for these files, and directories that it
// leaves empty.
func (t *rootDir) filterFirmware(ctx context.Context, keep map[string]bool) (int, error) {
	top, err := t.realDir(firmwareDir)
	if err != nil {
		return 0, err
	}
	n := 0
	var dirs []string
	err = t.walk(ctx, top, func(name string, kind uint32) error {
		first, _, _ := strings.Cut(strings.TrimPrefix(name, top+"/"), "/")
		switch {
		case slices.Contains(microcodeDirs, first):
		case kind == unix.S_IFDIR:
			dirs = append(dirs, name)
		case !keep[name]:
			n++
			return t.remove(name, 0)
		}
		return nil
	})
	if err != nil {
		return n, err
	}
	// What a directory holds comes after it.
	for _, dir := range slices.Backward(dirs) {
		if err := t.remove(dir, unix.AT_REMOVEDIR); err != nil && !errors.Is(err, unix.ENOTEMPTY) {
			return n, err
		}
	}
	return n, nil
}

// remove removes a file, or with AT_REMOVEDIR an empty directory.
func (t *rootDir) remove(name string, flags int) error {
	dir, err := tree.OpenIn(t.fd, path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return &fs.PathError{Op: "opening", Path: path.Dir(name), Err: err}
	}
	defer unix.Close(dir)
	if err := unix.Unlinkat(dir, path.Base(name), flags); err != nil {
		return fmt.Errorf("removing %s from the image: %w", name, err)
	}
	return nil
}
