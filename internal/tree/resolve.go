package tree

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// OpenIn opens name as a process that is chrooted to the directory root would:
// absolute links and ".." lead no further up than root. flags are those of
// open(2), with O_CLOEXEC added; the caller closes what is returned.
func OpenIn(root int, name string, flags int) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags) | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err := unix.Openat2(root, name, &how)
		// EAGAIN says that something was renamed while ".." was resolved.
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

// OpenRegularIn opens the regular file name for reading, with links resolved as
// OpenIn does. A pipe is never waited for. The caller closes what is returned.
func OpenRegularIn(root int, name string) (*os.File, error) {
	fd, err := OpenIn(root, name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ReadFileIn returns the content of a regular file of at most limit bytes, see
// OpenRegularIn.
func ReadFileIn(root int, name string, limit int64) ([]byte, error) {
	f, err := OpenRegularIn(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return b, nil
}

// MkdirIn makes the directory name and its parents below root, with mode
// 0755, and opens it with O_PATH. Links on the way are resolved inside root.
// The caller closes what is returned.
func MkdirIn(root int, name string) (int, error) {
	dir, err := OpenIn(root, ".", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	at := "."
	for part := range strings.SplitSeq(path.Clean("/" + name)[1:], "/") {
		if part == "" {
			continue
		}
		at = join(at, part)
		next, err := OpenIn(root, at, unix.O_PATH|unix.O_DIRECTORY)
		if errors.Is(err, unix.ENOENT) {
			if err = makeOne(dir, part); err == nil {
				next, err = OpenIn(root, at, unix.O_PATH|unix.O_DIRECTORY)
			}
			if errors.Is(err, unix.ENOENT) {
				err = errors.New("it is a link to nowhere")
			}
		}
		unix.Close(dir)
		if err != nil {
			return -1, fmt.Errorf("making directory %s: %w", at, err)
		}
		dir = next
	}
	return dir, nil
}

// makeOne makes a directory with mode 0755 whatever the umask is. One that
// appeared in the meantime is as good.
func makeOne(dir int, name string) error {
	err := unix.Mkdirat(dir, name, 0o755)
	if err == unix.EEXIST {
		return nil
	}
	if err != nil {
		return err
	}
	return chmodAt(dir, name, 0o755)
}

// chmodAt sets the mode of a directory, device node or pipe that was just
// made; never that of a link, nor of what one points to.
func chmodAt(dir int, name string, mode uint32) error {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod(procPath(fd), mode)
}

// openFileIn opens the regular file name for reading; the last component is
// never followed and a pipe never waited for.
func openFileIn(root int, name string) (*os.File, error) {
	fd, err := OpenIn(root, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
