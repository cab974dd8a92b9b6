package kernel

import (
	"context"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// DepmodPackage is the package that has depmod(8), by the same name in every
// distribution.
const DepmodPackage = "kmod"

// Depmod returns the command that makes the indexes of a kernel's modules. base
// is the tree as the command sees it; "" stands for its own root directory. Some
// builds of depmod look for /lib/modules there, which a merged /usr provides.
//
// The indexes are left to depmod: which of two modules counts, and what the
// binary indexes hold, follows its version and the configuration in the tree.
func Depmod(version, base string) []string {
	argv := []string{"depmod"}
	if base != "" {
		argv = append(argv, "--basedir="+base)
	}
	return append(argv, "--all", version)
}

// index is the file that depmod(8) writes first, and that it always writes.
const index = "modules.dep"

// StaleIndexes returns the kernels of the tree at root, the newest first, for
// which depmod(8) has to run: a module or a directory was changed after their
// index was made, or there is none. What counts is when an inode was changed,
// for files of packages bring times of their own. Changes of the last few
// milliseconds may not show: after [FilterTree] go by what that returns.
func StaleIndexes(ctx context.Context, root string) ([]string, error) {
	t, versions, err := openVersions(root)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	var stale []string
	for _, v := range versions {
		old, err := t.staleIndex(ctx, v)
		if err != nil {
			return nil, fmt.Errorf("looking at the modules of kernel %s: %w", v, err)
		}
		if old {
			stale = append(stale, v)
		}
	}
	return stale, nil
}

func (t *rootDir) staleIndex(ctx context.Context, version string) (bool, error) {
	dir, err := t.realDir(path.Join(modulesDir, version))
	if err != nil {
		return false, err
	}
	made, err := t.stat(path.Join(dir, index), unix.O_NOFOLLOW)
	if err != nil || made.Mode&unix.S_IFMT != unix.S_IFREG {
		return true, err
	}
	stale := false
	err = t.walk(ctx, dir, func(name string, kind uint32) error {
		if stale || kind != unix.S_IFDIR && moduleExtension(name) == "" {
			return nil
		}
		st, err := t.stat(name, unix.O_NOFOLLOW)
		stale = stale || st.Ctim.Nano() > made.Ctim.Nano()
		return err
	})
	return stale, err
}
