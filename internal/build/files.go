package build

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// readFileLimited reads a file of a tree, at most limit bytes of it. Symbolic links are followed inside the tree only.
func readFileLimited(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := openRegular(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return b, nil
}

// openRegular opens a regular file of a tree for reading.
func openRegular(root *os.Root, name string) (*os.File, error) {
	// Opening a pipe would wait for somebody to write into it.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s of the image is not a regular file", name), f.Close())
	}
	return f, nil
}

// openDirIn opens a directory of the tree at root, with links resolved as a process would that is chrooted to it.
func openDirIn(root, name string) (*os.Root, error) {
	top, err := os.Open(root)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	fd, err := tree.OpenIn(int(top.Fd()), name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return openDirFD(fd)
}

// makeDirIn is openDirIn for a directory that is made, with its parents, unless it exists.
func makeDirIn(root, name string) (*os.Root, error) {
	top, err := os.Open(root)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	fd, err := tree.MkdirIn(int(top.Fd()), name)
	if err != nil {
		return nil, err
	}
	return openDirFD(fd)
}

// openDirFD opens an open directory by its path without links, and closes fd.
func openDirFD(fd int) (*os.Root, error) {
	defer unix.Close(fd)
	dir, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil, err
	}
	return os.OpenRoot(dir)
}

// writeFile replaces name in a tree, whatever it was before (a symbolic link is replaced, not followed), with mode,
// regardless of the umask. It never truncates in place: the old file may be hard linked elsewhere, or lie in a lower
// layer.
func writeFile(root *os.Root, name string, content []byte, mode fs.FileMode) (err error) {
	tmp := path.Join(path.Dir(name), ".mkosi-"+path.Base(name))
	if err := root.RemoveAll(tmp); err != nil {
		return fmt.Errorf("writing %s in the image: %w", name, err)
	}
	defer func() {
		if err != nil {
			_ = root.RemoveAll(tmp)
			err = fmt.Errorf("writing %s in the image: %w", name, err)
		}
	}()
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if old, err := root.Lstat(name); err == nil && old.Mode().IsRegular() {
		keepOwner(f, old)
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	return root.Rename(tmp, name)
}

// keepOwner gives f the owner of the file that it replaces, such as group shadow. Where owners cannot be set, in a
// user namespace with one user, every file belongs to that user anyway.
func keepOwner(f *os.File, old fs.FileInfo) {
	if st, ok := old.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(st.Uid), int(st.Gid))
	}
}

// replaceSymlink makes name in a tree a symbolic link to target, whatever it was before.
func replaceSymlink(root *os.Root, target, name string) error {
	if err := root.RemoveAll(name); err != nil {
		return fmt.Errorf("replacing %s in the image: %w", name, err)
	}
	if err := root.Symlink(target, name); err != nil {
		return fmt.Errorf("linking %s in the image: %w", name, err)
	}
	return nil
}

// exists reports whether a tree has something called name, without following a link at its end.
func exists(root *os.Root, name string) bool {
	_, err := root.Lstat(name)
	return err == nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
