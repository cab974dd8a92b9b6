package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var errNoSession = errors.New("mounts are made only inside a session")

// MountOverlay mounts an overlay at the directory target, for the time until
// unmount is called or the session ends. lower are the read-only layers,
// topmost first. With an empty upper (and work) the overlay is read-only. work
// is a directory on upper's file system that belongs to the kernel until
// unmount; what an earlier overlay left in it is removed.
//
// Changes lie plainly readable in upper: files whole, removed ones as
// whiteouts ([IsWhiteout]), replaced directories marked opaque ([IsOpaque]),
// no redirects. Nothing is synced to disk on behalf of the overlay, so after a
// crash of the machine upper is worthless.
//
// It fails outside of a session, where the mount would be everybody's.
func MountOverlay(lower []string, upper, work, target string) (unmount func() error, err error) {
	layers := OverlayLayers{Lower: lower, Upper: upper, Work: work}
	err = mountAt(target, "an overlay", func() (int, error) { return newOverlay(layers, false) })
	if err != nil {
		return nil, err
	}
	return func() error {
		err := Unmount(target)
		if work != "" && err == nil {
			err = cleanWork(work)
		}
		return err
	}, nil
}

// MountTmpfs mounts an empty tmpfs of at most size bytes at the directory
// target (0: the kernel's default, half of the memory). mode are the permissions
// of its root directory. It fails outside of a session.
func MountTmpfs(target string, size int64, mode fs.FileMode) error {
	return mountAt(target, "a tmpfs", func() (int, error) { return newTmpfs(unixMode(mode), size) })
}

// MountBind mounts source, a file or directory with everything mounted below
// it, on target, which has to exist and be of the same kind. With readOnly
// nothing below target can be written. It fails outside of a session.
func MountBind(source, target string, readOnly bool) error {
	return mountAt(target, source, func() (int, error) {
		return cloneMount(unix.AT_FDCWD, source, 0, readOnly)
	})
}

// unmountPatience is how long a mount may be in use before Unmount gives up.
const unmountPatience = 2 * time.Second

// Unmount removes the topmost mount at target. It fails outside of a session,
// and with an error that wraps unix.EBUSY if a process keeps using the mount.
func Unmount(target string) error {
	err := errNoSession
	if current.Active {
		// A child that is just being started still has every file open that
		// this process had, on whatever mount, until its exec is done.
		deadline := time.Now().Add(unmountPatience)
		err = unix.Unmount(target, unix.UMOUNT_NOFOLLOW)
		for err == unix.EBUSY && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
			err = unix.Unmount(target, unix.UMOUNT_NOFOLLOW)
		}
	}
	if err != nil {
		return fmt.Errorf("unmounting %s: %w", target, err)
	}
	return nil
}

// mountAt makes a mount and attaches it at target, which must exist.
func mountAt(target, what string, make func() (int, error)) error {
	attach := func() error {
		if !current.Active {
			return errNoSession
		}
		mount, err := make()
		if err != nil {
			return err
		}
		defer unix.Close(mount)
		return unix.MoveMount(mount, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS)
	}
	if err := attach(); err != nil {
		return fmt.Errorf("mounting %s at %s: %w", what, target, err)
	}
	return nil
}

// IsWhiteout reports whether info, of a file in the upper directory of an
// overlay, says that the name was removed: a character device with number 0/0.
func IsWhiteout(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Mode&syscall.S_IFMT == syscall.S_IFCHR && st.Rdev == 0
}

// IsOpaque reports whether the directory path, in the upper directory of an
// overlay, hides what the lower layers have there instead of merging with it.
// Overlays mounted in a user namespace say so in another attribute than others;
// either counts.
func IsOpaque(path string) (bool, error) {
	for _, name := range []string{"user.overlay.opaque", "trusted.overlay.opaque"} {
		value := make([]byte, 16)
		n, err := unix.Lgetxattr(path, name, value)
		switch {
		case err == nil && string(value[:n]) == "y":
			return true, nil
		case err == nil, errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ERANGE):
		default:
			return false, &os.PathError{Op: "reading overlay attributes of", Path: path, Err: err}
		}
	}
	return false, nil
}

// splitTarget checks and cleans the path of a place in the sandbox and returns
// its directory and last name; both are "/" for the root directory.
func splitTarget(target string) (dir, name string, err error) {
	if !strings.HasPrefix(target, "/") {
		return "", "", fmt.Errorf("%q is not an absolute path", target)
	}
	target = filepath.Clean(target)
	return filepath.Dir(target), filepath.Base(target), nil
}
