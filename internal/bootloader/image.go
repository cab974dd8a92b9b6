package bootloader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// image is the tree that a boot loader goes into. Paths are relative to its root, and links are resolved inside it.
type image struct{ root *os.File }

func openImage(root string) (*image, error) {
	f, err := os.OpenFile(root, unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &image{f}, nil
}

func (i *image) close() { i.root.Close() }

func (i *image) fd() int { return int(i.root.Fd()) }

// open opens a regular file for reading.
func (i *image) open(name string) (*os.File, error) {
	f, err := tree.OpenRegularIn(i.fd(), name)
	if err != nil {
		return nil, fmt.Errorf("in the image: %w", err)
	}
	return f, nil
}

// read reads a file of at most limit bytes.
func (i *image) read(name string, limit int64) ([]byte, error) {
	b, err := tree.ReadFileIn(i.fd(), name, limit)
	if err != nil {
		return nil, fmt.Errorf("in the image: %w", err)
	}
	return b, nil
}

// isFile reports whether there is a regular file of a name, which may be a link to one.
func (i *image) isFile(name string) bool {
	f, err := i.open(name)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// exists reports whether there is anything of a name, which may be a link.
func (i *image) exists(name string) bool {
	fd, err := tree.OpenIn(i.fd(), name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// maxEntries bounds how many names of one directory are looked at.
const maxEntries = 1 << 16

// list returns the sorted names in a directory; none if it does not exist.
func (i *image) list(dir string) ([]string, error) {
	fd, err := tree.OpenIn(i.fd(), dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the directory /%s of the image: %w", dir, err)
	}
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	names, err := f.Readdirnames(maxEntries)
	if err == io.EOF {
		err = nil
	}
	if err == nil && len(names) == maxEntries {
		err = fmt.Errorf("it has %d entries or more", maxEntries)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the directory /%s of the image: %w", dir, err)
	}
	slices.Sort(names)
	return names, nil
}

// find returns the regular files that match a pattern, for the first pattern with any: paths in which "*" stands for all
// of one name.
func (i *image) find(patterns []string) ([]string, error) {
	for _, p := range patterns {
		found := []string{""}
		for part := range strings.SplitSeq(p, "/") {
			var next []string
			for _, dir := range found {
				names := []string{part}
				if part == "*" {
					var err error
					if names, err = i.list(dir); err != nil {
						return nil, err
					}
				}
				for _, name := range names {
					next = append(next, path.Join(dir, name))
				}
			}
			found = next
		}
		found = slices.DeleteFunc(found, func(name string) bool { return !i.isFile(name) })
		if len(found) > 0 {
			return found, nil
		}
	}
	return nil, nil
}

// mkdir makes a directory and its parents, with mode 0755, unless they exist.
func (i *image) mkdir(name string) error {
	fd, err := tree.MkdirIn(i.fd(), name)
	if err != nil {
		return fmt.Errorf("in the image: %w", err)
	}
	return unix.Close(fd)
}

// mkdirPrivate makes a directory and its parents for the owner alone, unless they exist.
func (i *image) mkdirPrivate(name string) error {
	dir := ""
	for part := range strings.SplitSeq(name, "/") {
		dir = path.Join(dir, part)
		if i.exists(dir) {
			continue
		}
		fd, err := tree.MkdirIn(i.fd(), dir)
		if err != nil {
			return fmt.Errorf("in the image: %w", err)
		}
		err = unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), 0o700)
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			return fmt.Errorf("making directory /%s of the image: %w", dir, err)
		}
	}
	return nil
}

// write replaces a file, whatever it was before: a link is replaced, not followed. Its directory is made if necessary,
// for the owner alone: most of them become directories of a boot partition, where modes mean nothing.
func (i *image) write(name string, content []byte, mode uint32) error {
	return i.replace(name, mode, func(f *os.File) error {
		_, err := f.Write(content)
		return err
	})
}

// writeNew writes a file unless there is one.
func (i *image) writeNew(name string, content []byte, mode uint32) error {
	if i.exists(name) {
		return nil
	}
	return i.write(name, content, mode)
}

// copy copies a regular file and its modification time, and makes the copy readable for everybody.
func (i *image) copy(ctx context.Context, from, to string) error {
	in, err := i.open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return err
	}
	return i.copyFile(ctx, in, fi, to, 0o644)
}

// copyFile is copy for a file that lies anywhere.
func (i *image) copyFile(ctx context.Context, in *os.File, fi fs.FileInfo, to string, mode uint32) error {
	return i.replace(to, mode, func(out *os.File) error {
		if err := out.Truncate(fi.Size()); err != nil {
			return err
		}
		if err := tree.CopySparse(ctx, int(in.Fd()), int(out.Fd()), fi.Size(), 0); err != nil {
			return err
		}
		times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(fi.ModTime().UnixNano())}
		return unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", out.Fd()), times, 0)
	})
}

// replace makes a file, has fill write it, and puts it into its place in one step.
func (i *image) replace(name string, mode uint32, fill func(*os.File) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing /%s of the image: %w", name, err)
		}
	}()
	if err := i.mkdirPrivate(path.Dir(name)); err != nil {
		return err
	}
	dir, err := tree.OpenIn(i.fd(), path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	base := path.Base(name)
	tmp := ".mkosi-" + base
	if err := unix.Unlinkat(dir, tmp, 0); err != nil && err != unix.ENOENT {
		return err
	}
	fd, err := unix.Openat(dir, tmp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	err = fill(f)
	if err := errors.Join(err, unix.Fchmod(fd, mode), f.Close()); err != nil {
		return errors.Join(err, unix.Unlinkat(dir, tmp, 0))
	}
	if err := unix.Renameat(dir, tmp, dir, base); err != nil {
		return errors.Join(err, unix.Unlinkat(dir, tmp, 0))
	}
	return nil
}

// remove removes a file.
func (i *image) remove(name string) error {
	dir, err := tree.OpenIn(i.fd(), path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("removing /%s of the image: %w", name, err)
	}
	defer unix.Close(dir)
	if err := unix.Unlinkat(dir, path.Base(name), 0); err != nil {
		return fmt.Errorf("removing /%s of the image: %w", name, err)
	}
	return nil
}
