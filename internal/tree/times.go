package tree

import (
	"context"
	"fmt"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// ClampTimes sets every modification time at and below root that is later than
// epoch to epoch, that of directories and symbolic links included. Access
// times are set with them, because a file system image may record them.
func ClampTimes(ctx context.Context, root string, epoch time.Time) error {
	ts, err := unix.TimeToTimespec(epoch)
	if err != nil {
		return fmt.Errorf("clamping times to %s: %w", epoch, err)
	}
	times := []unix.Timespec{ts, ts}
	fd, err := openDir(unix.AT_FDCWD, root, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", root, err)
	}
	defer unix.Close(fd)
	return Walk(ctx, root, func(e *Entry) error {
		// Links to one file are told apart here: in an overlay, each that is changed becomes a file of its own.
		if !later(e.Stat.Mtim, ts) {
			return nil
		}
		if err := utimesBeneath(fd, e.Path, times); err != nil {
			return fmt.Errorf("setting the time of %s: %w", path.Join(root, e.Path), err)
		}
		return nil
	})
}

func later(a, b unix.Timespec) bool {
	return a.Sec > b.Sec || a.Sec == b.Sec && a.Nsec > b.Nsec
}

func utimesBeneath(root int, name string, times []unix.Timespec) error {
	dir, base := path.Split(name)
	if dir == "" {
		return unix.UtimesNanoAt(root, base, times, unix.AT_SYMLINK_NOFOLLOW)
	}
	fd, err := OpenIn(root, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.UtimesNanoAt(fd, base, times, unix.AT_SYMLINK_NOFOLLOW)
}
