package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The kernel's file descriptor based mount calls (Linux 5.2 and later): a mount
// is made first, detached and with all its properties, and attached last, so
// that nobody ever sees it half made.

// cloneMount returns a detached bind mount of name (relative to dirfd, with
// unix.AT_* flags), together with everything mounted below it.
func cloneMount(dirfd int, name string, flags uint, readOnly bool) (int, error) {
	fd, err := unix.OpenTree(dirfd, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|flags)
	if err != nil {
		return -1, err
	}
	if readOnly {
		attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, attr); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("making it read-only: %w", err)
		}
	}
	return fd, nil
}

// setPropagation sets how a mount propagates; see mount_namespaces(7).
func setPropagation(mount int, propagation uint64) error {
	attr := &unix.MountAttr{Propagation: propagation}
	if err := unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH, attr); err != nil {
		return fmt.Errorf("setting the propagation of a mount: %w", err)
	}
	return nil
}

// attachMount attaches the detached mount to the place that the target
// descriptor is open on.
func attachMount(mount, target int) error {
	return unix.MoveMount(mount, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// option is one parameter of a new file system; with no value it is a flag.
type option struct{ key, value string }

// newMount returns a detached mount of a new file system of this type.
func newMount(fstype string, attributes int, options ...option) (int, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	for _, o := range options {
		if o.value == "" {
			err = unix.FsconfigSetFlag(fs, o.key)
		} else {
			err = unix.FsconfigSetString(fs, o.key, o.value)
		}
		if err != nil {
			return -1, withKernelLog(fs, fmt.Errorf("option %s: %w", o.key, err))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, withKernelLog(fs, err)
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return -1, withKernelLog(fs, err)
	}
	return mount, nil
}

// withKernelLog adds to err what the kernel has to say about it, which can be
// read from the file system context, one message a read.
func withKernelLog(fs int, err error) error {
	buf := make([]byte, 1024)
	n, rerr := unix.Read(fs, buf)
	if rerr != nil || n < 3 {
		return err
	}
	return fmt.Errorf("%w (%s)", err, strings.TrimSpace(string(buf[2:n])))
}

// newTmpfs returns a detached tmpfs; size 0 is the kernel's default.
func newTmpfs(mode uint32, size int64) (int, error) {
	options := []option{{"mode", strconv.FormatUint(uint64(mode), 8)}}
	if size > 0 {
		options = append(options, option{"size", strconv.FormatInt(size, 10)})
	}
	return newMount("tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, options...)
}

// newOverlay returns a detached overlay. The layers are handed to the kernel as
// descriptors under /proc/self/fd, so that neither the length nor any character
// of their names matters. What lasts is synced to disk and has its attributes in
// the user's own part, which every user namespace understands.
func newOverlay(layers OverlayLayers, lasting bool) (int, error) {
	if len(layers.Lower) == 0 {
		return -1, errors.New("an overlay without lower layers")
	}
	if (layers.Upper == "") != (layers.Work == "") {
		return -1, errors.New("an overlay needs both an upper and a work directory, or neither")
	}
	if layers.Work != "" && !lasting {
		if err := cleanWork(layers.Work); err != nil {
			return -1, err
		}
	}
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	open := func(dir string) (string, error) {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", &os.PathError{Op: "opening the layer", Path: dir, Err: err}
		}
		fds = append(fds, fd)
		return "/proc/self/fd/" + strconv.Itoa(fd), nil
	}
	var lower []string
	for _, dir := range layers.Lower {
		name, err := open(dir)
		if err != nil {
			return -1, err
		}
		lower = append(lower, name)
	}
	var options []option
	if layers.Upper != "" {
		for _, o := range []option{{"upperdir", layers.Upper}, {"workdir", layers.Work}} {
			name, err := open(o.value)
			if err != nil {
				return -1, err
			}
			options = append(options, option{o.key, name})
		}
	}
	if layers.Upper != "" && !lasting {
		// Nothing would be gained by writing a build's work to disk each time
		// an overlay goes away; unmounting syncs the whole file system below.
		options = append(options, option{key: "volatile"})
	}
	return mountLayers(lower, append(options, plainUpper(lasting)...))
}

// plainUpper are the options that keep the upper directory readable without
// overlayfs: no redirects, no files without their content. They are implied
// by the attributes that overlays in a user namespace have to use.
func plainUpper(lasting bool) []option {
	if lasting || inUserNamespace() {
		return []option{{"index", "off"}, {key: "userxattr"}}
	}
	return []option{{"index", "off"}, {"redirect_dir", "nofollow"}, {"metacopy", "off"}}
}

// mountLayers adds the lower layers one by one, or, where the kernel is older
// than that (6.7), as one string in the manner of mount(2).
func mountLayers(lower []string, options []option) (int, error) {
	var each []option
	for _, name := range lower {
		each = append(each, option{"lowerdir+", name})
	}
	fd, err := newMount("overlay", 0, append(each, options...)...)
	if !errors.Is(err, unix.EINVAL) {
		return fd, err
	}
	return legacyOverlay(strings.Join(lower, ":"), options, err)
}

// legacyOverlay mounts an overlay with mount(2), whose options fill at most a
// page, on a directory that exists for the purpose only, and returns it
// detached. cause is the error that newer kernels' way gave.
func legacyOverlay(lower string, options []option, cause error) (int, error) {
	data := "lowerdir=" + lower
	for _, o := range options {
		data += "," + o.key
		if o.value != "" {
			data += "=" + o.value
		}
	}
	if len(data) >= os.Getpagesize() {
		return -1, fmt.Errorf("%d lower layers are too many for this kernel: %w", strings.Count(lower, ":")+1, cause)
	}
	dir, err := os.MkdirTemp("", "mkosi-overlay-")
	if err != nil {
		return -1, err
	}
	defer os.Remove(dir)
	if err := unix.Mount("overlay", dir, "overlay", 0, data); err != nil {
		return -1, cause
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	return unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
}

// cleanWork removes what an earlier overlay left in its work directory; among
// it is the mark with which the kernel refuses a volatile overlay's leftovers.
func cleanWork(work string) error {
	root, err := os.OpenRoot(work)
	if err != nil {
		return fmt.Errorf("cleaning the overlay's work directory: %w", err)
	}
	defer root.Close()
	// The kernel makes directories without permissions, which only root
	// ignores.
	for _, name := range []string{"work", "work/incompat", "work/incompat/volatile", "index"} {
		root.Chmod(name, 0o700)
	}
	for _, name := range []string{"work", "index"} {
		if err := root.RemoveAll(name); err != nil {
			return fmt.Errorf("cleaning the overlay's work directory %s: %w", work, err)
		}
	}
	return nil
}
