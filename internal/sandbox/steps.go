package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// bind mounts a file or directory of the caller's.
func (a *assembly) bind(op Op) error {
	flags := unix.O_PATH
	if op.noFollow {
		flags |= unix.O_NOFOLLOW
	}
	var source int
	var err error
	if op.inside {
		source, err = a.open(op.source, uint64(flags))
	} else {
		path := op.source
		if !op.noFollow {
			path = followOutside(path)
		}
		source, err = unix.Open(path, flags|unix.O_CLOEXEC, 0)
	}
	if op.try && missing(err) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "opening", Path: op.source, Err: err}
	}
	defer unix.Close(source)
	mount, err := a.clone(source, op)
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	m := hostMount{root: op.source, name: "."}
	if op.inside && !a.keep {
		path, err := fdPath(source)
		if err != nil {
			return err
		}
		m, _ = a.outside(path)
	}
	return a.attachForeign(mount, op.target, m)
}

// maxLinks is how many links the kernel follows in a path.
const maxLinks = 40

// followOutside returns where the links in a path of the caller's lead. The kernel would not find out: the assembly lies
// over "/", and a ".." in a link that goes up to there leads into it.
func followOutside(path string) string {
	if !filepath.IsAbs(path) || strings.HasPrefix(path, "/proc/") { // whose links only the kernel can follow
		return path
	}
	done, rest, links := "/", strings.Split(path, "/"), 0
	for len(rest) > 0 {
		next := filepath.Join(done, rest[0])
		rest = rest[1:]
		target, err := os.Readlink(next)
		if err != nil {
			done = next // no link, or not there, which opening it says
			continue
		}
		if links++; links > maxLinks {
			return path
		}
		if filepath.IsAbs(target) {
			done = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return done
}

// clone returns a detached mount of the open source of a bind mount.
func (a *assembly) clone(source int, op Op) (int, error) {
	if !op.inside {
		// The assembly lies over "/", and is no part of what the caller has
		// there.
		if err := setPropagation(a.scratch, unix.MS_UNBINDABLE); err != nil {
			return -1, err
		}
		defer setPropagation(a.scratch, unix.MS_PRIVATE)
	}
	return cloneMount(source, "", unix.AT_EMPTY_PATH, op.readOnly)
}

// attachForeign attaches a mount of what is m outside.
func (a *assembly) attachForeign(mount int, target string, m hostMount) error {
	if err := a.attach(mount, target); err != nil {
		return err
	}
	if m.root == "" || a.keep {
		return nil
	}
	var err error
	m.target, err = fdPath(mount)
	a.foreign = append(a.foreign, m)
	return err
}

func (a *assembly) overlay(op Op) error {
	layers := op.overlay
	if layers.Ephemeral {
		upper, err := a.memoryLayer(op.target)
		if err != nil {
			return err
		}
		defer unix.Close(upper)
		layers.Upper = fmt.Sprintf("/proc/self/fd/%d/upper", upper)
		layers.Work = fmt.Sprintf("/proc/self/fd/%d/work", upper)
	}
	mount, err := newOverlay(layers, op.lasting)
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	return a.attachForeign(mount, op.target, hostMount{root: op.overlay.Upper, name: "."})
}

// memoryLayer mounts a tmpfs for an overlay's changes at target, where the
// overlay is going to cover it.
func (a *assembly) memoryLayer(target string) (int, error) {
	mount, err := newTmpfs(0o755, 0)
	if err != nil {
		return -1, err
	}
	err = a.attach(mount, target)
	for _, name := range []string{"upper", "work"} {
		if err == nil {
			err = unix.Mkdirat(mount, name, 0o755)
		}
	}
	if err != nil {
		unix.Close(mount)
		return -1, err
	}
	return mount, nil
}

// mount attaches a mount that somebody else made.
func (a *assembly) mount(op Op) error {
	if op.mount == nil {
		return errors.New("mounts of others reach no command")
	}
	return a.attach(int(op.mount.Fd()), op.target)
}

func (a *assembly) tmpfs(target string, mode uint32, size int64) error {
	mount, err := newTmpfs(mode, size)
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	if err := a.markPrivate(mount); err != nil {
		return err
	}
	return a.attach(mount, target)
}

func (a *assembly) makeDir(op Op) error {
	if _, _, err := splitTarget(op.target); err != nil {
		return err
	}
	fd, err := a.dir(filepath.Clean(op.target), op.mode)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func (a *assembly) symlink(op Op) error {
	parent, name, err := a.parent(op.target)
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	buf := make([]byte, unix.PathMax)
	if n, err := unix.Readlinkat(parent, name, buf); err == nil && string(buf[:n]) == op.source {
		return nil
	}
	private, err := a.isPrivate(parent)
	if err != nil {
		return err
	}
	if private || op.lasting {
		if err := unix.Symlinkat(op.source, parent, name); err != unix.EEXIST {
			return err
		}
	}
	return a.cover(op.target, func(name string) error { return unix.Symlinkat(op.source, a.scratch, name) })
}

func (a *assembly) writeFile(op Op) error {
	parent, name, err := a.parent(op.target)
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	if op.lasting {
		return a.writeThrough(op)
	}
	private, err := a.isPrivate(parent)
	if err != nil {
		return err
	}
	if private {
		err := writeAt(parent, name, op.data, op.mode)
		if !errors.Is(err, unix.ELOOP) && !errors.Is(err, unix.EROFS) {
			return err
		}
	}
	return a.cover(op.target, func(name string) error { return writeAt(a.scratch, name, op.data, op.mode) })
}

// writeThrough writes the file that target leads to, whosever it is.
func (a *assembly) writeThrough(op Op) error {
	how := &unix.OpenHow{
		Flags:   unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC | unix.O_CLOEXEC,
		Mode:    uint64(op.mode),
		Resolve: unix.RESOLVE_IN_ROOT,
	}
	fd, err := a.openHow(op.target, how)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), op.target)
	_, err = f.Write(op.data)
	return errors.Join(err, f.Close())
}

// writeAt writes a file of a directory; a symbolic link gives ELOOP.
func writeAt(dir int, name string, data []byte, mode uint32) error {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		unix.Close(fd)
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// cover makes a file of the sandbox's own and mounts it over target, so that
// what is there in a directory of the caller's stays as it is.
func (a *assembly) cover(target string, create func(name string) error) error {
	const name = ".mkosi-sandbox-cover"
	if err := create(name); err != nil {
		return err
	}
	defer unix.Unlinkat(a.scratch, name, 0)
	mount, err := cloneMount(a.scratch, name, unix.AT_SYMLINK_NOFOLLOW, false)
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	return a.attach(mount, target)
}

// proc mounts a /proc of the sandbox's processes, or the caller's if the kernel
// refuses that to somebody whose own /proc is partly covered.
func (a *assembly) proc(target string) error {
	mount, err := newMount("proc", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		mount, err = cloneMount(unix.AT_FDCWD, "/proc", 0, false)
	}
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	if err := a.attach(mount, target); err != nil {
		return err
	}
	// Who is not the system's own root, whatever he is in here, may not anyhow.
	if unix.Faccessat(mount, "sys/kernel/core_pattern", unix.W_OK, unix.AT_EACCESS) != nil {
		return nil
	}
	for _, name := range kernelControls {
		if err := a.makeReadOnly(filepath.Join(target, name)); err != nil && !missing(err) {
			return fmt.Errorf("making %s read-only: %w", name, err)
		}
	}
	return nil
}

// kernelControls are the parts of /proc by which root, even without any
// capability, changes the running system: a package's script, say, that applies
// the image's kernel settings.
var kernelControls = []string{"acpi", "asound", "bus", "dynamic_debug", "fs", "irq", "scsi", "sys", "sysrq-trigger"}

// makeReadOnly binds path of the sandbox over itself, read-only.
func (a *assembly) makeReadOnly(path string) error {
	place, err := a.open(path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer unix.Close(place)
	mount, err := cloneMount(place, "", unix.AT_EMPTY_PATH, true)
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	return attachMount(mount, place)
}

// deviceNodes are the devices of a sandbox. They are bound from the host: in a
// user namespace nodes can be made but not opened.
var deviceNodes = []string{"full", "null", "random", "tty", "urandom", "zero"}

// deviceLinks are the symbolic links of a sandbox's /dev.
var deviceLinks = []struct{ name, link string }{
	{"fd", "/proc/self/fd"},
	{"stdin", "/proc/self/fd/0"},
	{"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"},
}

// dev mounts a minimal /dev.
func (a *assembly) dev(target string) error {
	if err := a.tmpfs(target, 0o755, 0); err != nil {
		return err
	}
	dir, err := a.dir(filepath.Clean(target), 0o755)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	for _, name := range deviceNodes {
		if err := bindDevice(dir, name); err != nil {
			return err
		}
	}
	for _, l := range deviceLinks {
		if err := unix.Symlinkat(l.link, dir, l.name); err != nil {
			return err
		}
	}
	if err := unix.Mkdirat(dir, "shm", 0o1777); err != nil {
		return err
	}
	return a.devpts(dir)
}

// bindDevice binds a device of the host's /dev; one that the host lacks is
// lacking in the sandbox as well.
func bindDevice(dir int, name string) error {
	mount, err := cloneMount(unix.AT_FDCWD, "/dev/"+name, 0, false)
	if missing(err) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "binding", Path: "/dev/" + name, Err: err}
	}
	defer unix.Close(mount)
	if err := unix.Mknodat(dir, name, unix.S_IFREG|0o666, 0); err != nil {
		return err
	}
	return unix.MoveMount(mount, "", dir, name, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// devpts mounts private pseudo terminals below /dev, unless the kernel refuses.
func (a *assembly) devpts(dev int) error {
	mount, err := newMount("devpts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, option{"mode", "620"}, option{"ptmxmode", "666"})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	if err := unix.Mkdirat(dev, "pts", 0o755); err != nil {
		return err
	}
	if err := unix.Symlinkat("pts/ptmx", dev, "ptmx"); err != nil {
		return err
	}
	return unix.MoveMount(mount, "", dev, "pts", unix.MOVE_MOUNT_F_EMPTY_PATH)
}
