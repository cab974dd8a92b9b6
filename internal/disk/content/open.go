package content

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// file is an open regular file. It does without the bookkeeping of os.File,
// which costs more than reading a small file does.
type file int

func (f file) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(f), p)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

func (f file) Close() error { return os.NewSyscallError("close", unix.Close(int(f))) }

// open opens a regular file below the root again, and makes sure that it is
// still the same one.
func (w *walker) open(source string, id inode) (io.ReadCloser, error) {
	how := &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	fd, err := unix.Openat2(int(w.top.Fd()), source, how)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		// A sandbox may not know the call.
		fd, err = w.openSlowly(source)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: source, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "stat", Path: source, Err: err}
	}
	if (inode{uint64(st.Dev), st.Ino}) != id {
		unix.Close(fd)
		return nil, fmt.Errorf("/%s was replaced while it was being copied", source)
	}
	return file(fd), nil
}

// openSlowly resolves the path one element at a time.
func (w *walker) openSlowly(source string) (int, error) {
	f, err := w.root.OpenFile(source, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}
