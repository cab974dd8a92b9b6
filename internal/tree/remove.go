package tree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// ErrMountPoint is in the error of RemoveAll and Remove when something is
// mounted in what was to be removed. Nothing below the mount is touched.
var ErrMountPoint = errors.New("is a mount point")

// RemoveAll removes the file or directory at path and everything below it. It
// follows no symbolic link, makes directories without write permission
// writable first, and removes nothing below a mount point: that ends it with
// ErrMountPoint. A path that does not exist is no error.
func RemoveAll(ctx context.Context, path string) error {
	parent, err := openDir(unix.AT_FDCWD, filepath.Dir(path), 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening %s: %w", filepath.Dir(path), err)
	}
	defer unix.Close(parent)
	return removeAt(ctx, parent, filepath.Base(path), path)
}

// removeAt removes name in the directory parent; full is its path for people.
func removeAt(ctx context.Context, parent int, name, full string) error {
	r := remover{tokens: make(chan struct{}, runtime.GOMAXPROCS(0))}
	return r.remove(ctx, parent, name, full, 0)
}

// remover removes a tree with as many goroutines as it has tokens, one for
// each directory that has found a free one.
type remover struct{ tokens chan struct{} }

func (r *remover) remove(ctx context.Context, parent int, name, full string, depth int) error {
	err := unlink(parent, name)
	switch {
	case err == nil || errors.Is(err, unix.ENOENT):
		return nil
	case !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM):
		return fmt.Errorf("removing %s: %w", full, busy(err))
	}
	var st unix.Stat_t
	if e := unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW); e != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return fmt.Errorf("removing %s: %w", full, err)
	}
	fd, err := openToEmpty(parent, name)
	if err != nil {
		return fmt.Errorf("removing %s: %w", full, err)
	}
	err = r.empty(ctx, fd, full, depth)
	unix.Close(fd)
	if err != nil {
		return err
	}
	if err := unix.Unlinkat(parent, name, unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT {
		return fmt.Errorf("removing %s: %w", full, busy(err))
	}
	return nil
}

func (r *remover) empty(ctx context.Context, fd int, full string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > maxDepth {
		return fmt.Errorf("removing %s: %w", full, errTooDeep)
	}
	names, err := readNames(fd)
	if err != nil {
		return fmt.Errorf("reading %s: %w", full, err)
	}
	var g errgroup.Group
	for _, name := range names {
		// Only a directory is worth a goroutine: unlinking the files of one
		// directory contends for that directory's lock.
		if err := unlink(fd, name); err == nil || err == unix.ENOENT {
			continue
		}
		select {
		case r.tokens <- struct{}{}:
			g.Go(func() error {
				defer func() { <-r.tokens }()
				return r.remove(ctx, fd, name, path.Join(full, name), depth+1)
			})
		default:
			if err := r.remove(ctx, fd, name, path.Join(full, name), depth+1); err != nil {
				return errors.Join(err, g.Wait())
			}
		}
	}
	return g.Wait()
}

// openToEmpty opens the directory name so that what it holds can be listed and
// unlinked. It never leaves the mount that parent is on.
func openToEmpty(parent int, name string) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	open := func() (int, error) {
		return retry(func() (int, error) { return unix.Openat2(parent, name, &how) })
	}
	fd, err := open()
	if err == unix.EACCES {
		// fchmodat follows links, so it goes by a descriptor of the directory.
		if err := chmodDir(parent, name); err != nil {
			return -1, err
		}
		fd, err = open()
	}
	if err == unix.EXDEV {
		return -1, ErrMountPoint
	}
	if err != nil {
		return -1, err
	}
	if os.Geteuid() != 0 {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Mode&0o300 != 0o300 {
			if err := unix.Fchmod(fd, 0o700); err != nil {
				unix.Close(fd)
				return -1, err
			}
		}
	}
	return fd, nil
}

func chmodDir(parent int, name string) error {
	fd, err := unix.Openat(parent, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod(procPath(fd), 0o700)
}

// procPath names the file behind a descriptor, O_PATH ones included, for
// system calls that take no descriptor.
func procPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

func unlink(parent int, name string) error {
	_, err := retry(func() (int, error) { return 0, unix.Unlinkat(parent, name, 0) })
	return err
}

func busy(err error) error {
	if errors.Is(err, unix.EBUSY) {
		return ErrMountPoint
	}
	return err
}
