package tree

import (
	"context"
	"fmt"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Tree is one source:target pair of SkeletonTrees= or ExtraTrees=.
type Tree struct {
	// Source is a directory or file of this machine. A link is followed.
	Source string
	// Target is where it goes, an absolute path inside the root. Empty means
	// the root itself for a directory and /NAME for a file called NAME.
	Target string
}

// Install copies t into the tree at root, as skeleton and extra trees are: a
// directory is merged over the target, a file becomes the target. Modes and
// hard links are kept; owners are the caller's, times are now and extended
// attributes are left out. Missing parents of the target are made with mode
// 0755. Links of the tree on the way to the target are resolved inside root,
// and so are links to directories where the source has a directory.
//
// Archives are copied like any other file; archive.ExtractTar extracts them.
func Install(ctx context.Context, root string, t Tree) error {
	var st unix.Stat_t
	src, err := filepath.EvalSymlinks(t.Source)
	if err == nil {
		err = unix.Stat(src, &st)
	}
	if err != nil {
		return fmt.Errorf("installing %s: %w", t.Source, err)
	}
	c := newCopier(CopyOptions{IgnoreTimes: true, IgnoreXattrs: true, FollowDirLinks: true}, src)
	c.plainOwners = true
	if c.root, err = openDir(unix.AT_FDCWD, root, 0); err != nil {
		return fmt.Errorf("opening %s: %w", root, err)
	}
	defer unix.Close(c.root)
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		fd, err := MkdirIn(c.root, t.Target)
		if err != nil {
			return fmt.Errorf("installing %s: %w", t.Source, err)
		}
		unix.Close(fd)
		return c.copyTop(ctx, src, path.Join(".", path.Clean("/" + t.Target)[1:]))
	}
	return c.installFile(src, t.Target, &st)
}

func (c *copier) installFile(src, target string, st *unix.Stat_t) error {
	if target == "" {
		target = filepath.Base(src)
	}
	target = path.Clean("/" + target)
	if target == "/" {
		return fmt.Errorf("installing %s: a file cannot replace the root", src)
	}
	from, err := openDir(unix.AT_FDCWD, filepath.Dir(src), 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", filepath.Dir(src), err)
	}
	defer unix.Close(from)
	dir, base := split(target)
	to, err := MkdirIn(c.root, dir)
	if err != nil {
		return fmt.Errorf("installing %s: %w", src, err)
	}
	defer unix.Close(to)
	c.top = target[1:]
	return c.copyFile(from, to, filepath.Base(src), base, ".", st)
}
