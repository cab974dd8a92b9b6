package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// writeContent writes size bytes of r to fd, zeros that fill a whole block as
// holes, which sparse files of an archive are full of.
func writeContent(fd int, r io.Reader, size int64) error {
	const block = 4096
	buf := make([]byte, min(max(size, 1), 1<<20))
	f := handle(fd)
	for at := int64(0); at < size; {
		n, err := io.ReadFull(r, buf[:min(int64(len(buf)), size-at)])
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		for b := 0; b < n; {
			// The longest run of blocks that are all zero, or all not.
			zero := isZero(buf[b:min(b+block, n)])
			e := min(b+block, n)
			for e < n && isZero(buf[e:min(e+block, n)]) == zero {
				e = min(e+block, n)
			}
			if !zero {
				if err := f.writeAt(buf[b:e], at+int64(b)); err != nil {
					return err
				}
			}
			b = e
		}
		at += int64(n)
	}
	return unix.Ftruncate(fd, size)
}

// handle is an open file descriptor.
type handle int

func (h handle) writeAt(b []byte, at int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(int(h), b, at)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// setAttributes gives the file base, which was just made, its owner, extended
// attributes, mode and time, in the order in which none undoes another.
func (x *extractor) setAttributes(parent int, base string, h *tar.Header) error {
	file := fmt.Sprintf("/proc/self/fd/%d/%s", parent, base)
	if !x.IgnoreOwners {
		if err := unix.Fchownat(parent, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("setting the owner to %d:%d: %w", h.Uid, h.Gid, err)
		}
	}
	if err := x.setXattrs(file, h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := chmodAt(parent, base, uint32(h.Mode)&0o7777); err != nil {
			return fmt.Errorf("setting the mode: %w", err)
		}
	}
	mtime, err := timespec(h.ModTime)
	if err == nil {
		err = unix.UtimesNanoAt(parent, base, []unix.Timespec{mtime, mtime}, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return fmt.Errorf("setting the time: %w", err)
	}
	return nil
}

// paxXattr starts the names of the pax records that hold extended attributes.
const paxXattr = "SCHILY.xattr."

func (x *extractor) setXattrs(file string, h *tar.Header) error {
	for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		name, ok := strings.CutPrefix(key, paxXattr)
		if !ok {
			if strings.HasPrefix(key, "SCHILY.acl.") {
				return errors.New("access control lists in tar archives are not supported")
			}
			continue
		}
		err := unix.Lsetxattr(file, name, []byte(h.PAXRecords[key]), 0)
		if x.IgnoreOwners && (err == unix.EPERM || err == unix.EOPNOTSUPP) {
			continue
		}
		if err != nil {
			return fmt.Errorf("setting extended attribute %q: %w", name, err)
		}
	}
	return nil
}

// chmodAt sets the mode of what is not a link. fchmodat(2) follows links, and
// the one here was just made by us, so a link in its place is an error.
func chmodAt(parent int, base string, mode uint32) error {
	fd, err := unix.Openat(parent, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode)
}
