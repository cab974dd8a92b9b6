package tree

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// copyFile copies name of from, which is not a directory and has the
// attributes st, to dst in the directory to. rel is its path below the source.
func (c *copier) copyFile(from, to int, name, dst, rel string, st *unix.Stat_t) error {
	if st.Nlink == 1 {
		return c.wrap(rel, c.copyInode(from, to, name, dst, rel, st))
	}
	c.mu.Lock()
	first, ok := c.links[inodeOf(st)]
	if !ok {
		first = &link{done: make(chan struct{}), path: c.below(rel)}
		c.links[inodeOf(st)] = first
	}
	c.mu.Unlock()
	if !ok {
		first.err = c.copyInode(from, to, name, dst, rel, st)
		close(first.done)
		return c.wrap(rel, first.err)
	}
	<-first.done
	if first.err != nil {
		return c.wrap(rel, first.err)
	}
	return c.wrap(rel, c.linkTo(first.path, to, dst, st))
}

// linkTo makes dst in the directory to a further name of the file at path.
func (c *copier) linkTo(path string, to int, dst string, st *unix.Stat_t) error {
	if st.Mode&unix.S_IFMT == unix.S_IFSOCK {
		return nil
	}
	// The directory may be reached over links, the file itself is one only if
	// it was one in the source.
	dir, base := split(path)
	fd, err := OpenIn(c.root, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return replace(to, dst, func() error { return unix.Linkat(fd, base, to, dst, 0) })
}

// replace calls create, which makes name in dir, and once more after removing
// what is in its way.
func replace(dir int, name string, create func() error) error {
	err := create()
	if err != unix.EEXIST {
		return err
	}
	if err := unlink(dir, name); err != nil {
		return overDirectory(err)
	}
	return create()
}

func overDirectory(err error) error {
	if err == unix.EISDIR || err == unix.EPERM {
		return errors.New("a file cannot replace a directory")
	}
	return err
}

func (c *copier) copyInode(from, to int, name, dst, rel string, st *unix.Stat_t) error {
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return c.copyRegular(from, to, name, dst, rel, st)
	case unix.S_IFLNK:
		var target string
		target, err = readlinkat(from, name)
		if err == nil {
			err = replace(to, dst, func() error { return unix.Symlinkat(target, to, dst) })
		}
	case unix.S_IFIFO, unix.S_IFCHR, unix.S_IFBLK:
		mode := st.Mode&unix.S_IFMT | 0o600
		err = replace(to, dst, func() error { return unix.Mknodat(to, dst, mode, int(st.Rdev)) })
	case unix.S_IFSOCK:
		return nil // its server is not copied with it
	default:
		return fmt.Errorf("unknown file type %#o", st.Mode&unix.S_IFMT)
	}
	if err != nil {
		return err
	}
	return c.setNodeAttributes(from, to, name, dst, st)
}

func (c *copier) copyRegular(from, to int, name, dst, rel string, st *unix.Stat_t) error {
	in, err := retry(func() (int, error) {
		return unix.Openat(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return err
	}
	defer unix.Close(in)
	// The file may have been exchanged since it was looked at.
	if err := unix.Fstat(in, st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("changed while it was copied")
	}
	out, err := c.createRegular(to, dst, rel)
	if err != nil {
		return err
	}
	if err = c.copyData(in, out, st); err == nil {
		err = c.setAttributes(in, out, st)
	}
	if e := unix.Close(out); err == nil && e != nil {
		err = e
	}
	return err
}

// createRegular opens dst for writing. An existing file is emptied and keeps
// its inode, unless it has further names, which must keep their content. A
// link is written through, inside the root.
func (c *copier) createRegular(to int, dst, rel string) (int, error) {
	create := func() (int, error) {
		return retry(func() (int, error) {
			return unix.Openat(to, dst, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
		})
	}
	fd, err := create()
	if err != unix.EEXIST {
		return fd, err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(to, dst, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return -1, err
	}
	typ := st.Mode & unix.S_IFMT
	if typ == unix.S_IFREG && st.Nlink == 1 || typ == unix.S_IFLNK {
		return c.openExisting(typ, rel)
	}
	if err := unlink(to, dst); err != nil {
		return -1, overDirectory(err)
	}
	return create()
}

func (c *copier) openExisting(typ uint32, rel string) (int, error) {
	target := c.below(rel)
	// O_NONBLOCK, lest a link to a pipe waits for a reader; O_TRUNC comes
	// only once it is known to be a regular file.
	fd, err := OpenIn(c.root, target, unix.O_WRONLY|unix.O_NONBLOCK)
	if err != nil {
		if typ == unix.S_IFLNK && errors.Is(err, unix.ENOENT) {
			return -1, fmt.Errorf("/%s is a link to nowhere: not writing through it", target)
		}
		return -1, overDirectory(err)
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = fmt.Errorf("/%s does not lead to a regular file", target)
	}
	if err == nil {
		err = unix.Ftruncate(fd, 0)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// copyData copies st.Size bytes: by sharing the blocks if the file system
// can, else inside the kernel, holes kept.
func (c *copier) copyData(in, out int, st *unix.Stat_t) error {
	if st.Size == 0 {
		return nil
	}
	if !c.noClone.Load() {
		err := unix.IoctlFileClone(out, in)
		if err == nil {
			return nil
		}
		if err == unix.EOPNOTSUPP || err == unix.EXDEV || err == unix.ENOTTY || err == unix.EINVAL {
			c.noClone.Store(true)
		}
	}
	if st.Blocks*512 >= st.Size {
		return copyRange(in, out, 0, st.Size, 0)
	}
	if err := unix.Ftruncate(out, st.Size); err != nil {
		return err
	}
	return CopySparse(context.Background(), in, out, st.Size, 0)
}

// CopySparse copies the first size bytes of a file into another one, there
// shift bytes further on, inside the kernel if it can, and leaves out the holes:
// where these come to lie, the other file must be all zero.
func CopySparse(ctx context.Context, in, out int, size, shift int64) error {
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := unix.Seek(in, at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			return nil // only a hole is left
		}
		if err != nil {
			return err
		}
		hole, err := unix.Seek(in, data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		hole = min(hole, size)
		if err := copyRange(in, out, data, hole, shift); err != nil {
			return err
		}
		at = hole
	}
	return nil
}

// smallFile is the size up to which a read and a write are faster than
// copy_file_range, which goes over a pipe where blocks cannot be shared.
const smallFile = 256 << 10

// copyRange copies the bytes from up to, but not including, to, in the other
// file shift bytes further on.
func copyRange(in, out int, from, to, shift int64) error {
	if to-from <= smallFile {
		return copyBuffered(in, out, from, to, shift)
	}
	for from < to {
		r, w := from, from+shift
		n, err := retry(func() (int, error) {
			return unix.CopyFileRange(in, &r, out, &w, int(min(to-from, 1<<30)), 0)
		})
		switch err {
		case nil:
		case unix.EXDEV, unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP, unix.EPERM:
			return copyBuffered(in, out, from, to, shift)
		default:
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		from += int64(n)
	}
	return nil
}

func copyBuffered(in, out int, from, to, shift int64) error {
	buf := make([]byte, min(to-from, 1<<20))
	for from < to {
		n, err := retry(func() (int, error) { return unix.Pread(in, buf[:min(to-from, int64(len(buf)))], from) })
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		for done := 0; done < n; {
			m, err := retry(func() (int, error) { return unix.Pwrite(out, buf[done:n], from+shift+int64(done)) })
			if err != nil {
				return err
			}
			done += m
		}
		from += int64(n)
	}
	return nil
}
