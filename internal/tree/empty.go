package tree

import (
	"context"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// RemoveEmptyDirs removes the directories below root that hold nothing but
// empty directories, as is done for extension images, so that these carry no
// directory of which they have no content. root itself stays. Directories on
// other mounts count as not empty.
func RemoveEmptyDirs(ctx context.Context, root string) error {
	fd, err := openDir(unix.AT_FDCWD, root, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", root, err)
	}
	defer unix.Close(fd)
	return removeEmptyIn(ctx, fd, root, 0)
}

func removeEmptyIn(ctx context.Context, fd int, full string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > maxDepth {
		return fmt.Errorf("reading %s: %w", full, errTooDeep)
	}
	names, err := readNames(fd)
	if err != nil {
		return fmt.Errorf("reading %s: %w", full, err)
	}
	for _, name := range names {
		sub, err := openDir(fd, name, unix.O_NOFOLLOW)
		if err == unix.ENOTDIR || err == unix.ELOOP {
			continue
		}
		if err != nil {
			return fmt.Errorf("opening %s: %w", path.Join(full, name), err)
		}
		err = removeEmptyIn(ctx, sub, path.Join(full, name), depth+1)
		unix.Close(sub)
		if err != nil {
			return err
		}
		err = unix.Unlinkat(fd, name, unix.AT_REMOVEDIR)
		if err != nil && err != unix.ENOTEMPTY && err != unix.EBUSY && err != unix.EEXIST {
			return fmt.Errorf("removing %s: %w", path.Join(full, name), err)
		}
	}
	return nil
}
