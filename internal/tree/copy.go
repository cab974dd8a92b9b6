package tree

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// CopyOptions says what a copy keeps. The zero value keeps what cp -a keeps:
// types, modes, owners, times, extended attributes (ACLs and capabilities
// among them), hard links and holes.
type CopyOptions struct {
	// IgnoreOwners leaves what is copied to the caller's user and group, and
	// drops the extended attributes that the caller may not set. It is for a
	// user namespace into which a single user is mapped.
	IgnoreOwners bool
	// IgnoreTimes leaves modification times to the clock.
	IgnoreTimes bool
	// IgnoreXattrs copies no extended attributes.
	IgnoreXattrs bool
	// FollowDirLinks merges a directory of the source into the directory that
	// a link of the same name in the destination points to, resolved inside
	// the destination's root: /lib of an extra tree goes to /usr/lib where
	// /usr is merged. Otherwise such a link is an error.
	FollowDirLinks bool
	// Exclude, when set, is asked about each path below the source, relative
	// to it. What it returns true for is left out; a directory with all it
	// holds. It may be called from several goroutines at once.
	Exclude func(path string) bool
}

// Copy copies the file or directory src to dst itself, not into it. Links in
// src are copied as links; src itself may be one only as a leading component.
// A directory is merged into an existing one, which takes its mode, owner and
// times. A file replaces the content of an existing file, or of the file that
// an existing link points to inside the destination's root. A link, device
// node or pipe replaces what is not a directory. A file never replaces a
// directory, nor a directory a file. Sockets are left out.
//
// The parent of dst must exist. After an error dst is incomplete.
func Copy(ctx context.Context, src, dst string, o CopyOptions) error {
	var st unix.Stat_t
	if err := unix.Lstat(src, &st); err != nil {
		return fmt.Errorf("reading %s: %w", src, err)
	}
	from, err := openDir(unix.AT_FDCWD, filepath.Dir(src), 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", filepath.Dir(src), err)
	}
	defer unix.Close(from)
	to, err := openDir(unix.AT_FDCWD, filepath.Dir(dst), 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", filepath.Dir(dst), err)
	}
	defer unix.Close(to)
	c := newCopier(o, src)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		c.root, c.top = to, filepath.Base(dst)
		return c.copyFile(from, to, filepath.Base(src), filepath.Base(dst), ".", &st)
	}
	if err := unix.Mkdirat(to, filepath.Base(dst), 0o700); err != nil && err != unix.EEXIST {
		return fmt.Errorf("making directory %s: %w", dst, err)
	}
	c.root, err = openDir(to, filepath.Base(dst), 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", dst, err)
	}
	defer unix.Close(c.root)
	return c.copyTop(ctx, src, ".")
}

// copier copies one tree with as many goroutines as it has tokens, one for
// each directory that has found a free one.
type copier struct {
	CopyOptions
	src         string // for messages
	root        int    // links of the destination are resolved inside this directory
	plainOwners bool   // owners are the caller's by intent, not for lack of privilege
	top         string // where below root the source's top goes
	rootID      inode
	tokens      chan struct{}
	noClone     atomic.Bool // the file systems cannot share blocks

	mu    sync.Mutex
	links map[inode]*link
}

// link is the first copy of a file that has several names.
type link struct {
	done chan struct{} // closed when the copy is complete
	path string        // below the copier's root
	err  error
}

func newCopier(o CopyOptions, src string) *copier {
	return &copier{
		CopyOptions: o, src: src, top: ".",
		tokens: make(chan struct{}, runtime.GOMAXPROCS(0)-1),
		links:  map[inode]*link{},
	}
}

// copyTop copies the directory src to the existing directory top below root.
func (c *copier) copyTop(ctx context.Context, src, top string) error {
	c.top = top
	var st unix.Stat_t
	if err := unix.Fstat(c.root, &st); err != nil {
		return err
	}
	c.rootID = inodeOf(&st)
	from, err := openDir(unix.AT_FDCWD, src, unix.O_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("opening %s: %w", src, err)
	}
	defer unix.Close(from)
	to, err := OpenIn(c.root, top, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("opening the destination of %s: %w", src, err)
	}
	defer unix.Close(to)
	return c.copyDir(ctx, from, to, ".", 0)
}

// copyDir copies what the directory from holds to the directory to and then
// gives it its attributes. rel is its path below the source.
func (c *copier) copyDir(ctx context.Context, from, to int, rel string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return c.wrap(rel, err)
	}
	if inodeOf(&st) == c.rootID {
		return c.wrap(rel, errors.New("a tree cannot be copied into itself"))
	}
	if depth > maxDepth {
		return c.wrap(rel, errTooDeep)
	}
	names, err := readNames(from)
	if err != nil {
		return c.wrap(rel, err)
	}
	if err := c.copyEntries(ctx, from, to, rel, names, depth); err != nil {
		return err
	}
	// What is written into a directory changes its times, so they come last.
	return c.wrap(rel, c.setAttributes(from, to, &st))
}

func (c *copier) copyEntries(ctx context.Context, from, to int, rel string, names []string, depth int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	for _, name := range names {
		path := join(rel, name)
		if c.Exclude != nil && c.Exclude(path) {
			continue
		}
		var st unix.Stat_t
		err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		switch {
		case err != nil:
			err = c.wrap(path, err)
		case st.Mode&unix.S_IFMT != unix.S_IFDIR:
			err = c.copyFile(from, to, name, name, path, &st)
		default:
			select {
			case c.tokens <- struct{}{}:
				g.Go(func() error {
					defer func() { <-c.tokens }()
					return c.copySub(ctx, from, to, name, path, depth+1)
				})
			default:
				err = c.copySub(ctx, from, to, name, path, depth+1)
			}
		}
		if err != nil {
			// It ends the siblings too, and is the one to report unless one of
			// them had failed already.
			cancel()
			if e := g.Wait(); e != nil && !errors.Is(e, context.Canceled) {
				return e
			}
			return err
		}
	}
	return g.Wait()
}

// copySub copies the directory name of from to the directory to.
func (c *copier) copySub(ctx context.Context, from, to int, name, rel string, depth int) error {
	sub, err := openDir(from, name, unix.O_NOFOLLOW)
	if err != nil {
		return c.wrap(rel, err)
	}
	defer unix.Close(sub)
	dst, err := c.makeDir(to, name, rel)
	if err != nil {
		return c.wrap(rel, err)
	}
	defer unix.Close(dst)
	return c.copyDir(ctx, sub, dst, rel, depth)
}

// makeDir makes the directory name in to, or opens the one that is there.
func (c *copier) makeDir(to int, name, rel string) (int, error) {
	if err := unix.Mkdirat(to, name, 0o700); err != nil && err != unix.EEXIST {
		return -1, err
	}
	fd, err := openDir(to, name, unix.O_NOFOLLOW)
	if (err == unix.ELOOP || err == unix.ENOTDIR) && c.FollowDirLinks {
		fd, err = OpenIn(c.root, c.below(rel), unix.O_RDONLY|unix.O_DIRECTORY)
	}
	if err == unix.ELOOP || err == unix.ENOTDIR || err == unix.ENOENT {
		return -1, errors.New("a directory cannot replace what is not a directory")
	}
	return fd, err
}

// below turns a path below the source into one below the destination's root.
func (c *copier) below(rel string) string { return path.Join(c.top, rel) }

func (c *copier) wrap(rel string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("copying %s: %w", filepath.Join(c.src, rel), err)
}
