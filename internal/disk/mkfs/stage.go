package mkfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// stage makes a folder that shows the tree to a program, with owners,
// permissions, times and attributes, and returns its path. Data is cloned where
// the file system can, else copied without its holes: hard links to the source
// would change the times at which that was last touched. xattr, when not nil,
// says as what an attribute is shown.
func (j *job) stage(ctx context.Context, xattr func(content.Xattr) (content.Xattr, error)) (_ string, err error) {
	top := path.Join(j.dir, "tree")
	if err := os.Mkdir(top, 0o700); err != nil {
		return "", err
	}
	fd, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: top, Err: err}
	}
	s := &stager{ctx: ctx, xattr: xattr, buf: make([]byte, copySize), top: fd}
	s.open = []openDir{{&j.tree[0], fd}}
	defer func() {
		for _, d := range s.open {
			unix.Close(d.fd)
		}
	}()
	for i := range j.tree[1:] {
		e := &j.tree[i+1]
		if err := s.closeUntil(e.Parent()); err != nil {
			return "", err
		}
		if err := s.entry(e); err != nil {
			return "", fmt.Errorf("copying /%s to a temporary folder: %w", e.Path, err)
		}
	}
	if err := s.closeUntil("/"); err != nil {
		return "", err
	}
	j.trusted = s.trusted
	return top, nil
}

// copySize is how much of a file is copied at a time.
const copySize = 256 << 10

// stager makes the entries of a tree.
type stager struct {
	ctx   context.Context
	xattr func(content.Xattr) (content.Xattr, error)
	buf   []byte
	top   int
	// trusted says that there are attributes in the namespace trusted.
	trusted bool
	// open are the folders that are being filled, from the top down. They get
	// their attributes once nothing more goes into them.
	open []openDir
}

type openDir struct {
	entry *content.Entry
	fd    int
}

// closeUntil finishes folders until the one with a path is the last one left;
// with a path that there is not, all.
func (s *stager) closeUntil(dir string) error {
	for len(s.open) > 0 {
		last := s.open[len(s.open)-1]
		if last.entry.Path == dir {
			return nil
		}
		s.open = s.open[:len(s.open)-1]
		err := s.attributes(fmt.Sprintf("/proc/self/fd/%d/.", last.fd), last.entry)
		if err := errors.Join(err, os.NewSyscallError("close", unix.Close(last.fd))); err != nil {
			return fmt.Errorf("copying /%s to a temporary folder: %w", last.entry.Path, err)
		}
	}
	return nil
}

// entry makes one entry in the last open folder.
func (s *stager) entry(e *content.Entry) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	dir, name := s.open[len(s.open)-1].fd, e.Name()
	if e.HardLink {
		return s.link(dir, name, e.Link)
	}
	var err error
	switch e.Type() {
	case unix.S_IFDIR:
		return s.dir(dir, name, e)
	case unix.S_IFREG:
		return s.file(dir, name, e)
	case unix.S_IFLNK:
		err = os.NewSyscallError("symlinkat", unix.Symlinkat(e.Target, dir, name))
	default:
		device := unix.Mkdev(e.Major, e.Minor)
		err = os.NewSyscallError("mknodat", unix.Mknodat(dir, name, e.Type()|0o600, int(device)))
	}
	if err != nil {
		return err
	}
	return s.attributesAt(dir, name, e)
}

// dir makes a folder and leaves it open.
func (s *stager) dir(dir int, name string, e *content.Entry) error {
	if err := unix.Mkdirat(dir, name, 0o700); err != nil {
		return os.NewSyscallError("mkdirat", err)
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("openat", err)
	}
	s.open = append(s.open, openDir{e, fd})
	return nil
}

// file makes a regular file.
func (s *stager) file(dir int, name string, e *content.Entry) (err error) {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return os.NewSyscallError("openat", err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { err = errors.Join(err, f.Close()) }()
	cloned, err := clone(f, e)
	if err != nil {
		return err
	}
	if !cloned {
		if err := f.Truncate(e.Size); err != nil {
			return err
		}
		err := e.DataPieces(s.ctx, s.buf, func(p []byte, off int64) error {
			_, err := f.WriteAt(p, off)
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.attributesAt(dir, name, e)
}

// clone shares the blocks of a file, if the file systems can.
func clone(f *os.File, e *content.Entry) (bool, error) {
	if e.Size == 0 {
		return true, nil
	}
	r, err := e.Open()
	if err != nil {
		return false, err
	}
	from, ok := r.(interface{ Fd() uintptr })
	cloned := ok && unix.IoctlFileClone(int(f.Fd()), int(from.Fd())) == nil
	if err := r.Close(); err != nil || !cloned {
		return false, err
	}
	st, err := f.Stat()
	if err == nil && st.Size() != e.Size {
		err = fmt.Errorf("changed its size from %d to %d bytes while it was being copied", e.Size, st.Size())
	}
	return true, err
}

// link makes a further name of the file with a path, which may be longer than
// the system takes at once.
func (s *stager) link(dir int, name, target string) error {
	parent, err := unix.FcntlInt(uintptr(s.top), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	elements := strings.Split(target, "/")
	for _, element := range elements[:len(elements)-1] {
		next, err := unix.Openat(parent, element, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		unix.Close(parent)
		if err != nil {
			return os.NewSyscallError("openat", err)
		}
		parent = next
	}
	defer unix.Close(parent)
	return os.NewSyscallError("linkat", unix.Linkat(parent, elements[len(elements)-1], dir, name, 0))
}

// attributesAt sets all attributes of a name in an open folder.
func (s *stager) attributesAt(dir int, name string, e *content.Entry) error {
	// Names may be long, so the way there leads through the folder.
	return s.attributes(fmt.Sprintf("/proc/self/fd/%d/%s", dir, name), e)
}

// attributes sets all attributes of what is at a path, without following a
// symbolic link there. Owners come first, since a new one takes permissions
// away, and permissions after extended attributes, which need them.
func (s *stager) attributes(at string, e *content.Entry) error {
	if err := unix.Lchown(at, int(e.UID), int(e.GID)); err != nil {
		return os.NewSyscallError("lchown", err)
	}
	for _, x := range e.Xattrs {
		if s.xattr != nil {
			var err error
			if x, err = s.xattr(x); err != nil {
				return err
			}
		}
		s.trusted = s.trusted || strings.HasPrefix(x.Name, "trusted.")
		if err := unix.Lsetxattr(at, x.Name, x.Value, 0); err != nil {
			return fmt.Errorf("setting the extended attribute %s: %w", x.Name, err)
		}
	}
	if e.Type() != unix.S_IFLNK {
		if err := unix.Chmod(at, e.Mode&0o7777); err != nil {
			return os.NewSyscallError("chmod", err)
		}
	}
	t := unix.Timespec{Sec: e.Mtime, Nsec: int64(e.MtimeNsec)}
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(unix.AT_FDCWD, at, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW))
}
