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

// ReadAt implements io.ReaderAt.
func (f file) ReadAt(p []byte, off int64) (int, error) {
	for done := 0; done < len(p); {
		n, err := unix.Pread(int(f), p[done:], off+int64(done))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return done, os.NewSyscallError("pread", err)
		case n == 0:
			return done, io.EOF
		}
		done += n
	}
	return len(p), nil
}

// Fd is the descriptor, which stays the file's.
func (f file) Fd() uintptr { return uintptr(f) }

func (f file) Close() error { return os.NewSyscallError("close", unix.Close(int(f))) }

// open opens a regular file below the root again, and makes sure that it is
// still the same one.
func (w *walker) open(source string, id inode) (io.ReadCloser, error) {
	how := &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	fd, err := unix.Openat2(int(w.top.Fd()), source, how)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENAMETOOLONG) {
		// A sandbox may not know the call, and no call takes a path of more
		// than 4095 bytes.
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

// minSparse is the size from which on it is worth looking for holes in a file.
const minSparse = 64 << 10

// dataRanges finds the data of a regular file in the open folder dirfd.
func dataRanges(dirfd int, name string, size int64) ([]Range, error) {
	fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	ranges := []Range{}
	for at := int64(0); at < size; {
		start, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if err == unix.ENXIO || err == nil && start >= size {
			break // only a hole is left
		}
		if err != nil {
			return nil, err
		}
		if at, err = unix.Seek(fd, start, unix.SEEK_HOLE); err != nil {
			return nil, err
		}
		ranges = append(ranges, Range{start, min(at, size) - start})
	}
	if len(ranges) == 1 && ranges[0] == (Range{0, size}) {
		return nil, nil // the file system stores it in less space than it has bytes
	}
	return ranges, nil
}
