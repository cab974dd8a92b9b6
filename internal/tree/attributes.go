package tree

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

func split(p string) (dir, base string) { return path.Dir(p), path.Base(p) }

// setAttributes gives the open file or directory out the attributes st and
// the extended attributes of in. The order matters: chown drops capabilities
// and the set-id bits, and a mode without write permission keeps an
// unprivileged owner from setting attributes.
func (c *copier) setAttributes(in, out int, st *unix.Stat_t) error {
	if c.keepsOwners() {
		if err := unix.Fchown(out, int(st.Uid), int(st.Gid)); err != nil {
			return fmt.Errorf("setting the owner to %d:%d: %w", st.Uid, st.Gid, err)
		}
	}
	if !c.IgnoreXattrs {
		if err := c.copyXattrs(procPath(in), procPath(out), true); err != nil {
			return err
		}
	}
	if err := unix.Fchmod(out, st.Mode&0o7777); err != nil {
		return fmt.Errorf("setting the mode: %w", err)
	}
	if c.IgnoreTimes {
		return nil
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, procPath(out), times, 0); err != nil {
		return fmt.Errorf("setting the time: %w", err)
	}
	return nil
}

// setNodeAttributes is setAttributes for what is not opened: links, device
// nodes and pipes.
func (c *copier) setNodeAttributes(from, to int, name, dst string, st *unix.Stat_t) error {
	if c.keepsOwners() {
		if err := unix.Fchownat(to, dst, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("setting the owner to %d:%d: %w", st.Uid, st.Gid, err)
		}
	}
	if !c.IgnoreXattrs {
		if err := c.copyXattrs(procPath(from)+"/"+name, procPath(to)+"/"+dst, false); err != nil {
			return err
		}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := chmodAt(to, dst, st.Mode&0o7777); err != nil {
			return fmt.Errorf("setting the mode: %w", err)
		}
	}
	if c.IgnoreTimes {
		return nil
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	if err := unix.UtimesNanoAt(to, dst, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("setting the time: %w", err)
	}
	return nil
}

func (c *copier) keepsOwners() bool { return !c.IgnoreOwners && !c.plainOwners }

// copyXattrs copies the extended attributes of the file at the path from. Only
// the last component of the paths may be a link; it is followed if follow is
// set, which the descriptor links of /proc need.
func (c *copier) copyXattrs(from, to string, follow bool) error {
	names, err := listXattrs(from, follow)
	if err != nil {
		return fmt.Errorf("listing extended attributes: %w", err)
	}
	for _, name := range names {
		value, err := getXattr(from, name, follow)
		if err != nil {
			return fmt.Errorf("reading extended attribute %s: %w", name, err)
		}
		set := unix.Lsetxattr
		if follow {
			set = unix.Setxattr
		}
		err = set(to, name, value, 0)
		if c.IgnoreOwners && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL)) {
			continue // an ACL may name users that are not mapped
		}
		if err != nil {
			return fmt.Errorf("setting extended attribute %s: %w", name, err)
		}
	}
	return nil
}

// Xattrs returns the extended attributes of the file at path, which is not
// followed if it is a link, as a text that is the same for the same names and
// values; "" for none.
func Xattrs(path string) (string, error) {
	text, err := xattrText(path)
	if err != nil {
		return "", fmt.Errorf("reading the extended attributes of %s: %w", path, err)
	}
	return text, nil
}

// ReadXattrs returns the extended attributes of the file at path, which is not
// followed if it is a link, by their names; nil for none.
func ReadXattrs(path string) (map[string][]byte, error) {
	names, err := listXattrs(path, false)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	xattrs := make(map[string][]byte, len(names))
	for _, name := range names {
		if xattrs[name], err = getXattr(path, name, false); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return xattrs, nil
}

// listXattrs returns the names of a file's extended attributes, sorted as the
// kernel has them. A file system without any has none.
func listXattrs(file string, follow bool) ([]string, error) {
	list := unix.Llistxattr
	if follow {
		list = unix.Listxattr
	}
	var small [512]byte
	buf := small[:]
	n, err := list(file, buf)
	for err == unix.ERANGE {
		buf = make([]byte, 1<<16) // XATTR_LIST_MAX
		n, err = list(file, buf)
	}
	if err == unix.EOPNOTSUPP || n <= 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00"), nil
}

func getXattr(file, name string, follow bool) ([]byte, error) {
	get := unix.Lgetxattr
	if follow {
		get = unix.Getxattr
	}
	buf := make([]byte, 256)
	n, err := get(file, name, buf)
	if err == unix.ERANGE {
		buf = make([]byte, 1<<16) // XATTR_SIZE_MAX
		n, err = get(file, name, buf)
	}
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}
