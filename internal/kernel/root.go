package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// rootDir is an OS tree that is open. Paths are relative to it, and links lead
// nowhere outside.
type rootDir struct{ fd int }

func openTree(root string) (*rootDir, error) {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "opening", Path: root, Err: err}
	}
	return &rootDir{fd}, nil
}

func (t *rootDir) Close() error { return unix.Close(t.fd) }

// absent reports whether an error says that there is no such file.
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENAMETOOLONG)
}

// stat returns what lies at a path, links followed; the type is zero when there
// is nothing.
func (t *rootDir) stat(name string, flags int) (st unix.Stat_t, err error) {
	fd, err := tree.OpenIn(t.fd, name, unix.O_PATH|flags)
	if absent(err) {
		return st, nil
	}
	if err != nil {
		return st, &fs.PathError{Op: "opening", Path: name, Err: err}
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return st, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return st, nil
}

// isFile reports whether there is a regular file, perhaps behind links.
func (t *rootDir) isFile(name string) (bool, error) {
	st, err := t.stat(name, 0)
	return st.Mode&unix.S_IFMT == unix.S_IFREG, err
}

// exists reports whether there is anything of that name, if only a link to
// nowhere.
func (t *rootDir) exists(name string) (bool, error) {
	st, err := t.stat(name, unix.O_NOFOLLOW)
	return st.Mode != 0, err
}

// dirEntry is a name in a directory; kind is one of the S_IF constants.
type dirEntry struct {
	name string
	kind uint32
}

// readDir returns what a directory holds, sorted by name; nothing when there is
// no such directory.
func (t *rootDir) readDir(name string) ([]dirEntry, error) {
	fd, err := tree.OpenIn(t.fd, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, &fs.PathError{Op: "opening", Path: name, Err: err}
	}
	dir := os.NewFile(uintptr(fd), name)
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	slices.Sort(names)
	var entries []dirEntry
	for _, n := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(fd, n, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return nil, &fs.PathError{Op: "stat", Path: path.Join(name, n), Err: err}
		}
		entries = append(entries, dirEntry{n, st.Mode & unix.S_IFMT})
	}
	return entries, nil
}

// walk calls fn for everything below a directory, with its path and type, in
// byte order of the names; links are not followed.
func (t *rootDir) walk(ctx context.Context, dir string, fn func(name string, kind uint32) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := t.readDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.name)
		if err := fn(name, e.kind); err != nil {
			return err
		}
		if e.kind == unix.S_IFDIR {
			if err := t.walk(ctx, name, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxLinks is how many links are followed on the way to a file, as path
// resolution in the Linux kernel does.
const maxLinks = 40

// trail returns the regular file that a path leads to and the links on the way
// to it, each by a path without links: what a copy of a part of the tree needs
// for the path to lead there. It returns nothing when it leads to no file.
func (t *rootDir) trail(name string) ([]string, error) {
	at, links, kind, err := t.resolve(name)
	if err != nil || kind != unix.S_IFREG {
		return nil, err
	}
	return append(links, at), nil
}

// realDir returns the path without links of a directory; one that is not there
// keeps its name.
func (t *rootDir) realDir(name string) (string, error) {
	at, _, kind, err := t.resolve(name)
	if err != nil || kind != unix.S_IFDIR {
		return name, err
	}
	return at, nil
}

// resolve follows the links of a path and returns where it leads to, over which
// links, and the type of what is there: zero for nothing.
func (t *rootDir) resolve(name string) (at string, links []string, kind uint32, err error) {
	rest := strings.Split(name, "/")
	kind = unix.S_IFDIR
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		if part == "" || part == "." {
			continue
		}
		if kind != unix.S_IFDIR {
			return at, links, 0, nil
		}
		if part == ".." {
			at = path.Dir("/" + at)[1:]
			continue
		}
		next := path.Join(at, part)
		st, err := t.stat(next, unix.O_NOFOLLOW)
		if err != nil {
			return at, links, 0, err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			at, kind = next, st.Mode&unix.S_IFMT
			continue
		}
		target, err := t.readlink(next)
		if err != nil {
			return at, links, 0, err
		}
		links = append(links, next)
		if len(links) > maxLinks {
			return at, links, 0, nil
		}
		if path.IsAbs(target) {
			at = ""
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return at, links, kind, nil
}

func (t *rootDir) readlink(name string) (string, error) {
	fd, err := tree.OpenIn(t.fd, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "", &fs.PathError{Op: "opening", Path: name, Err: err}
	}
	defer unix.Close(fd)
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(buf[:n]), nil
}

// copyFile copies a regular file with its mode and times to a new name, whose
// directory exists.
func (t *rootDir) copyFile(ctx context.Context, from, to string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("copying %s to %s: %w", from, to, err)
		}
	}()
	src, err := tree.OpenRegularIn(t.fd, from)
	if err != nil {
		return err
	}
	defer src.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &st); err != nil {
		return err
	}
	dir, err := tree.OpenIn(t.fd, path.Dir(to), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	fd, err := unix.Openat(dir, path.Base(to), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	dst := os.NewFile(uintptr(fd), to)
	defer func() {
		err = errors.Join(err, dst.Close())
		if err != nil {
			unix.Unlinkat(dir, path.Base(to), 0)
		}
	}()
	if err := tree.CopySparse(ctx, int(src.Fd()), fd, st.Size, 0); err != nil {
		return err
	}
	if err := errors.Join(unix.Ftruncate(fd, st.Size), unix.Fchmod(fd, st.Mode&0o7777)); err != nil {
		return err
	}
	return unix.UtimesNanoAt(dir, path.Base(to), []unix.Timespec{st.Mtim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}
