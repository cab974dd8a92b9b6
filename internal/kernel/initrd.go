package kernel

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/mkosi-go/mkosi/internal/archive"
)

// WriteModulesInitrd writes the part of an initrd that belongs to one kernel of
// the tree at root: the modules and firmware of the selection and the kernel's
// module indexes, modules.dep and its like, as an uncompressed cpio archive that
// the Linux kernel unpacks over another one. Later times than epoch are set to
// it, unless it is zero. The bytes depend on nothing but the tree and these.
func WriteModulesInitrd(ctx context.Context, w io.Writer, root string, k Kernel, s Selection, epoch time.Time) error {
	keep := map[string]bool{}
	parents := map[string]bool{}
	add := func(name string) {
		keep[name] = true
		for dir := path.Dir(name); dir != "." && !parents[dir]; dir = path.Dir(dir) {
			parents[dir] = true
		}
	}
	for _, name := range s.Modules {
		add(name)
	}
	for _, name := range s.Firmware {
		add(name)
	}
	indexes, err := moduleIndexes(root, k.Version)
	if err != nil {
		return err
	}
	for _, name := range indexes {
		add(name)
	}
	err = archive.WriteCPIO(ctx, w, root, archive.CPIOOptions{
		Epoch:   epoch,
		Exclude: func(name string) bool { return !keep[name] && !parents[name] },
		// The archive below has them, perhaps with other attributes.
		Unlisted: func(name string) bool { return name == "usr" || name == "usr/lib" },
	})
	if err != nil {
		return fmt.Errorf("writing the initrd with the modules of kernel %s: %w", k.Version, err)
	}
	return nil
}

// moduleIndexes returns the paths of the files by which modprobe(8) finds
// modules, see depmod(8).
func moduleIndexes(root, version string) ([]string, error) {
	t, err := openTree(root)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	dir := path.Join(modulesDir, version)
	entries, err := t.readDir(dir)
	if err != nil {
		return nil, err
	}
	var indexes []string
	for _, e := range entries {
		if strings.HasPrefix(e.name, "modules.") {
			indexes = append(indexes, path.Join(dir, e.name))
		}
	}
	return indexes, nil
}
