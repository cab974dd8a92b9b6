package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sort"

	"golang.org/x/sys/unix"
)

// Entry is one file met by Walk.
type Entry struct {
	// Path is relative to the root, slash separated; "." is the root itself.
	Path string
	// Stat is what lstat(2) reports.
	Stat unix.Stat_t
	// Target is what a symbolic link holds, empty for every other type.
	Target string
	// First is the path of the first entry of the walk with the same inode
	// when this one is a further hard link to it, else empty.
	First string
}

// IsDir reports whether the entry is a directory.
func (e *Entry) IsDir() bool { return e.Type() == unix.S_IFDIR }

// IsRegular reports whether the entry is a regular file.
func (e *Entry) IsRegular() bool { return e.Type() == unix.S_IFREG }

// IsSymlink reports whether the entry is a symbolic link.
func (e *Entry) IsSymlink() bool { return e.Type() == unix.S_IFLNK }

// Type returns the file type bits of the mode, one of the S_IF constants.
func (e *Entry) Type() uint32 { return e.Stat.Mode & unix.S_IFMT }

// inode identifies a file while a walk lasts.
type inode struct{ dev, ino uint64 }

func inodeOf(st *unix.Stat_t) inode { return inode{uint64(st.Dev), st.Ino} }

// Walk calls fn for root and for everything below it: a directory before what
// it holds, siblings in byte order of their names. No symbolic link is
// followed, root itself excepted; what is mounted in the tree is part of it. When fn returns fs.SkipDir for a directory
// it is not entered; fs.SkipAll ends the walk without an error. Walk stops
// with the context's error when ctx is done.
//
// The device and inode numbers of an overlay's files may change when they are
// written to, so fn must not write to files that have several links.
func Walk(ctx context.Context, root string, fn func(*Entry) error) error {
	fd, err := openDir(unix.AT_FDCWD, root, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", root, err)
	}
	defer unix.Close(fd)
	w := walker{ctx: ctx, root: root, fn: fn, seen: map[inode]string{}}
	e := &Entry{Path: "."}
	if err := unix.Fstat(fd, &e.Stat); err != nil {
		return fmt.Errorf("reading %s: %w", root, err)
	}
	err = fn(e)
	if err == nil {
		err = w.walk(fd, ".", 0)
	}
	if errors.Is(err, fs.SkipDir) || errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

type walker struct {
	ctx  context.Context
	root string
	fn   func(*Entry) error
	seen map[inode]string
}

// walk visits what the directory fd, called dir, holds.
func (w *walker) walk(fd int, dir string, depth int) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if depth > maxDepth {
		return fmt.Errorf("reading %s: %w", path.Join(w.root, dir), errTooDeep)
	}
	names, err := readNames(fd)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path.Join(w.root, dir), err)
	}
	for _, name := range names {
		e, err := w.entry(fd, dir, name)
		if err != nil {
			return fmt.Errorf("reading %s: %w", path.Join(w.root, dir, name), err)
		}
		err = w.fn(e)
		if err == fs.SkipDir && e.IsDir() {
			continue
		}
		if err != nil {
			return err
		}
		if !e.IsDir() {
			continue
		}
		sub, err := openDir(fd, name, unix.O_NOFOLLOW)
		if err != nil {
			return fmt.Errorf("opening %s: %w", path.Join(w.root, e.Path), err)
		}
		err = w.walk(sub, e.Path, depth+1)
		unix.Close(sub)
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(fd int, dir, name string) (*Entry, error) {
	e := &Entry{Path: join(dir, name)}
	if err := unix.Fstatat(fd, name, &e.Stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, err
	}
	if e.IsSymlink() {
		target, err := readlinkat(fd, name)
		if err != nil {
			return nil, err
		}
		e.Target = target
	}
	if !e.IsDir() && e.Stat.Nlink > 1 {
		id := inodeOf(&e.Stat)
		if first, ok := w.seen[id]; ok {
			e.First = first
		} else {
			w.seen[id] = e.Path
		}
	}
	return e, nil
}

// Size returns the disk usage of root and everything below it in bytes, each
// inode counted once, as du(1) does.
func Size(ctx context.Context, root string) (int64, error) {
	var sum int64
	err := Walk(ctx, root, func(e *Entry) error {
		if e.First == "" {
			sum += e.Stat.Blocks * 512
		}
		return nil
	})
	return sum, err
}

// maxDepth bounds how deep a tree may be nested. Every level holds a file
// descriptor open, and no operating system comes near it.
const maxDepth = 512

var errTooDeep = fmt.Errorf("nested deeper than %d directories", maxDepth)

func join(dir, name string) string {
	if dir == "." || dir == "" {
		return name
	}
	return dir + "/" + name
}

// openDir opens a directory for reading.
func openDir(fd int, name string, flags int) (int, error) {
	return retry(func() (int, error) {
		return unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|flags, 0)
	})
}

// retry repeats a system call that a signal interrupted, as the Go run time's
// preemption signals may.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// readNames lists the directory fd in byte order. The descriptor stays open
// and keeps its place at the directory's start.
func readNames(fd int) ([]string, error) {
	dup, err := openDir(fd, ".", 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(dup), ".")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	return names, nil
}

func readlinkat(fd int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
