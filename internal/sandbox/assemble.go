package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// assembly is a root directory in the making. It is mounted over "/" of the
// private mount namespace, where it is out of the way: the process's own root
// stays what it was, so sources are plain paths, and targets are resolved
// below fd by openat2.
type assembly struct {
	fd      int             // the root directory
	scratch int             // the tmpfs that was the root directory at first
	private map[uint64]bool // devices of file systems that nobody else sees
	foreign []hostMount     // what of the caller's is mounted, in order
	created []hostMount     // mount points made in the caller's directories
	keep    bool            // what is made there stays
	buried  int             // former root directories, below the present one
}

// hostMount relates a path in the sandbox to the same file outside.
type hostMount struct {
	target string // in the sandbox
	root   string // directory outside, the source of the mount
	name   string // below root
}

// newAssembly mounts the empty root directory.
func newAssembly() (*assembly, error) {
	a := &assembly{private: map[uint64]bool{}}
	mount, err := newTmpfs(0o755, 0)
	if err != nil {
		return nil, fmt.Errorf("making the root directory: %w", err)
	}
	err = unix.MoveMount(mount, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err != nil {
		return nil, fmt.Errorf("mounting the root directory: %w", err)
	}
	a.fd, a.scratch = mount, mount
	return a, a.markPrivate(mount)
}

func (a *assembly) markPrivate(mount int) error {
	var st unix.Stat_t
	if err := unix.Fstat(mount, &st); err != nil {
		return err
	}
	a.private[st.Dev] = true
	return nil
}

// apply takes one step. Its errors name the step and its path.
func (a *assembly) apply(op Op) error {
	var what string
	var err error
	switch op.kind {
	case opBind:
		what, err = "binding "+op.source+" to", a.bind(op)
	case opOverlay:
		what, err = "mounting an overlay at", a.overlay(op)
	case opTmpfs:
		what, err = "mounting a tmpfs at", a.tmpfs(op.target, op.mode, op.size)
	case opDir:
		what, err = "creating the directory", a.makeDir(op)
	case opSymlink:
		what, err = "creating the symbolic link", a.symlink(op)
	case opWriteFile:
		what, err = "writing", a.writeFile(op)
	case opDev:
		what, err = "setting up devices at", a.dev(op.target)
	case opProc:
		what, err = "mounting the process file system at", a.proc(op.target)
	case opMount:
		what, err = "attaching a mount to", a.mount(op)
	default:
		what, err = "taking an unknown step for", unix.EINVAL
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, op.target, err)
	}
	return nil
}

// open opens a path of the sandbox, as chroot would resolve it.
func (a *assembly) open(path string, flags uint64) (int, error) {
	return a.openHow(path, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
}

func (a *assembly) openHow(path string, how *unix.OpenHow) (int, error) {
	for {
		fd, err := unix.Openat2(a.fd, path, how)
		// EAGAIN: a rename elsewhere in the system raced with a "..".
		if err != unix.EAGAIN && err != unix.EINTR {
			return fd, err
		}
	}
}

// dir opens the directory path, creating it and its parents if missing.
func (a *assembly) dir(path string, mode uint32) (int, error) {
	fd, err := a.open(path, unix.O_PATH|unix.O_DIRECTORY)
	if err != unix.ENOENT || path == "/" {
		return fd, err
	}
	parent, err := a.dir(filepath.Dir(path), 0o755)
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	name := filepath.Base(path)
	if err := unix.Mkdirat(parent, name, mode); err != nil {
		return -1, &os.PathError{Op: "creating the directory", Path: path, Err: err}
	}
	if err := a.noteCreated(parent, name); err != nil {
		return -1, err
	}
	return unix.Openat(parent, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// parent opens the directory of target, creating it if missing, and returns
// target's name in it.
func (a *assembly) parent(target string) (int, string, error) {
	dir, name, err := splitTarget(target)
	if err != nil {
		return -1, "", err
	}
	if name == "/" {
		return -1, "", unix.EISDIR
	}
	fd, err := a.dir(dir, 0o755)
	return fd, name, err
}

// noteCreated remembers a mount point that has to go again because it was
// created in a directory of the caller's.
func (a *assembly) noteCreated(parent int, name string) error {
	if a.keep {
		return nil
	}
	private, err := a.isPrivate(parent)
	if err != nil || private {
		return err
	}
	path, err := fdPath(parent)
	if err != nil {
		return err
	}
	if m, ok := a.outside(filepath.Join(path, name)); ok {
		a.created = append(a.created, m)
	}
	return nil
}

func (a *assembly) isPrivate(fd int) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return a.private[st.Dev], err
}

// outside finds what a path of the sandbox is outside. The last mount on it
// counts.
func (a *assembly) outside(path string) (hostMount, bool) {
	for i := len(a.foreign) - 1; i >= 0; i-- {
		m := a.foreign[i]
		rel, err := filepath.Rel(m.target, path)
		if err == nil && filepath.IsLocal(rel) {
			return hostMount{target: path, root: m.root, name: filepath.Join(m.name, rel)}, true
		}
	}
	return hostMount{}, false
}

// fdPath is the path that the kernel gives an open file. For files of the
// assembly, which lies over "/", it is the path in the sandbox.
func fdPath(fd int) (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// attach puts a detached mount in its place. A directory goes where target
// leads; a file or link goes over target itself.
func (a *assembly) attach(mount int, target string) error {
	var st unix.Stat_t
	if err := unix.Fstat(mount, &st); err != nil {
		return err
	}
	dir, name, err := splitTarget(target)
	if err != nil {
		return err
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if name == "/" {
		return a.replaceRoot(mount, isDir)
	}
	var place int
	if isDir {
		place, err = a.dir(filepath.Join(dir, name), 0o755)
	} else {
		place, err = a.file(target)
	}
	if err != nil {
		return err
	}
	defer unix.Close(place)
	return attachMount(mount, place)
}

// replaceRoot makes a mount the root directory in place of the present one.
func (a *assembly) replaceRoot(mount int, isDir bool) error {
	if !isDir {
		return unix.ENOTDIR
	}
	if err := attachMount(mount, a.fd); err != nil {
		return err
	}
	fd, err := unix.FcntlInt(uintptr(mount), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if a.fd != a.scratch {
		unix.Close(a.fd)
	}
	a.fd = fd
	a.buried++
	return nil
}

// file opens the name target, which may be a symbolic link, for mounting over
// it. An empty file is created if there is nothing.
func (a *assembly) file(target string) (int, error) {
	parent, name, err := a.parent(target)
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	const flags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	place, err := unix.Openat(parent, name, flags, 0)
	if err != unix.ENOENT {
		return place, err
	}
	if err := unix.Mknodat(parent, name, unix.S_IFREG|0o644, 0); err != nil {
		return -1, err
	}
	if err := a.noteCreated(parent, name); err != nil {
		return -1, err
	}
	return unix.Openat(parent, name, flags, 0)
}

// enter makes the assembly the root directory of this process and removes
// everything else from its mount namespace.
func (a *assembly) enter() error {
	if err := unix.Fchdir(a.fd); err != nil {
		return err
	}
	// With both arguments the same, the old root ends up mounted over the new
	// one, from where it is detached; see pivot_root(2).
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("changing the root directory: %w", err)
	}
	// Root directories that were replaced before lie on top of the old root.
	// While it is mounted there, ".." leads from our root to it.
	for range 1 + a.buried {
		if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
			return fmt.Errorf("detaching the old root directory: %w", err)
		}
	}
	if a.fd != a.scratch {
		unix.Close(a.scratch)
	}
	unix.Close(a.fd)
	return unix.Chdir("/")
}

// removeCreated removes, outside of the sandbox, mount points that were created
// for it. Each is looked up strictly below its root, which the command could
// change at will. Whatever is in use or not empty is left.
func removeCreated(created []hostMount) {
	for i := len(created) - 1; i >= 0; i-- {
		root, err := os.OpenRoot(created[i].root)
		if err != nil {
			continue
		}
		name := created[i].name
		if info, err := root.Lstat(name); err == nil && (info.IsDir() || info.Mode().IsRegular() && info.Size() == 0) {
			root.Remove(name)
		}
		root.Close()
	}
}

// missing reports whether a source does not exist.
func missing(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}
