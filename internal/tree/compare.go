package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CompareOptions says what may differ between two trees.
type CompareOptions struct {
	IgnoreTimes  bool // modification times
	IgnoreOwners bool // users and groups
	IgnoreXattrs bool // extended attributes
}

// Difference is one way in which two trees differ.
type Difference struct {
	// Path is relative to the roots.
	Path string
	// What differs: "existence", "type", "mode", "owner", "target",
	// "device", "size", "content", "xattr", "link" or "mtime".
	What string
	// A and B are the two values in words; empty for existence in the tree
	// that lacks the file, and for content.
	A, B string
}

// String returns the difference as one line.
func (d Difference) String() string {
	switch {
	case d.What == "existence" && d.B == "":
		return d.Path + ": only in the first"
	case d.What == "existence":
		return d.Path + ": only in the second"
	case d.What == "content":
		return d.Path + ": content differs"
	}
	return fmt.Sprintf("%s: %s is %s and %s", d.Path, d.What, d.A, d.B)
}

// Compare returns how the trees at a and b differ, sorted by path: in type,
// mode, owner, content, link target, device number, extended attributes, which
// names are hard links to one file, and modification time. Directories that
// are in one tree only are reported with all they hold.
func Compare(ctx context.Context, a, b string, o CompareOptions) ([]Difference, error) {
	as, err := list(ctx, a)
	if err != nil {
		return nil, err
	}
	bs, err := list(ctx, b)
	if err != nil {
		return nil, err
	}
	c := comparer{CompareOptions: o}
	if c.a, err = openDir(unix.AT_FDCWD, a, 0); err != nil {
		return nil, fmt.Errorf("opening %s: %w", a, err)
	}
	defer unix.Close(c.a)
	if c.b, err = openDir(unix.AT_FDCWD, b, 0); err != nil {
		return nil, fmt.Errorf("opening %s: %w", b, err)
	}
	defer unix.Close(c.b)
	for p, x := range as {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		y, ok := bs[p]
		if !ok {
			c.add(p, "existence", typeName(x), "")
			continue
		}
		if err := c.compare(x, y); err != nil {
			return nil, fmt.Errorf("comparing %s: %w", p, err)
		}
	}
	for p, y := range bs {
		if as[p] == nil {
			c.add(p, "existence", "", typeName(y))
		}
	}
	slices.SortStableFunc(c.found, func(x, y Difference) int { return ComparePaths(x.Path, y.Path) })
	return c.found, nil
}

// ComparePaths orders paths as Walk does: component by component, a directory
// before what it holds.
func ComparePaths(a, b string) int {
	if a == "." || b == "." {
		return strings.Compare(strings.TrimPrefix(a, "."), strings.TrimPrefix(b, "."))
	}
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}

func list(ctx context.Context, root string) (map[string]*Entry, error) {
	entries := map[string]*Entry{}
	err := Walk(ctx, root, func(e *Entry) error {
		entries[e.Path] = e
		return nil
	})
	return entries, err
}

type comparer struct {
	CompareOptions
	a, b  int
	found []Difference
}

func (c *comparer) add(path, what, a, b string) {
	c.found = append(c.found, Difference{path, what, a, b})
}

func (c *comparer) compare(x, y *Entry) error {
	check := func(what, a, b string) {
		if a != b {
			c.add(x.Path, what, a, b)
		}
	}
	if x.Type() != y.Type() {
		check("type", typeName(x), typeName(y))
		return nil
	}
	check("target", x.Target, y.Target)
	if !x.IsSymlink() {
		check("mode", fmt.Sprintf("%04o", x.Stat.Mode&0o7777), fmt.Sprintf("%04o", y.Stat.Mode&0o7777))
	}
	if !c.IgnoreOwners {
		check("owner", fmt.Sprintf("%d:%d", x.Stat.Uid, x.Stat.Gid), fmt.Sprintf("%d:%d", y.Stat.Uid, y.Stat.Gid))
	}
	check("link", linkName(x), linkName(y))
	if !c.IgnoreTimes {
		check("mtime", timeName(x), timeName(y))
	}
	switch x.Type() {
	case unix.S_IFCHR, unix.S_IFBLK:
		check("device", deviceName(x), deviceName(y))
	case unix.S_IFREG:
		check("size", fmt.Sprint(x.Stat.Size), fmt.Sprint(y.Stat.Size))
		if x.Stat.Size == y.Stat.Size && x.First == "" {
			same, err := c.sameContent(x.Path)
			if err != nil {
				return err
			}
			if !same {
				c.add(x.Path, "content", "", "")
			}
		}
	}
	if c.IgnoreXattrs {
		return nil
	}
	return c.compareXattrs(x.Path)
}

func (c *comparer) compareXattrs(p string) error {
	as, err := xattrsOf(c.a, p)
	if err != nil {
		return err
	}
	bs, err := xattrsOf(c.b, p)
	if err != nil {
		return err
	}
	if as != bs {
		c.add(p, "xattr", "{"+as+"}", "{"+bs+"}")
	}
	return nil
}

// xattrsOf returns the extended attributes of a file in one line, sorted.
func xattrsOf(root int, p string) (string, error) {
	dir, base := split(p)
	fd, err := OpenIn(root, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return xattrText(procPath(fd) + "/" + base)
}

// xattrText returns the extended attributes of the file at a path, whose last
// component is not followed, in one line, sorted.
func xattrText(file string) (string, error) {
	names, err := listXattrs(file, false)
	if err != nil {
		return "", err
	}
	slices.Sort(names)
	for i, name := range names {
		value, err := getXattr(file, name, false)
		if err != nil {
			return "", err
		}
		names[i] = fmt.Sprintf("%s=%q", name, value)
	}
	return strings.Join(names, " "), nil
}

func (c *comparer) sameContent(p string) (bool, error) {
	a, err := openFileIn(c.a, p)
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := openFileIn(c.b, p)
	if err != nil {
		return false, err
	}
	defer b.Close()
	x, y := make([]byte, 128<<10), make([]byte, 128<<10)
	for {
		n, err := io.ReadFull(a, x)
		if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
			return false, err
		}
		m, e := io.ReadFull(b, y)
		if e != nil && e != io.EOF && !errors.Is(e, io.ErrUnexpectedEOF) {
			return false, e
		}
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		if err != nil {
			return e != nil, nil
		}
	}
}

func typeName(e *Entry) string {
	switch e.Type() {
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFREG:
		return "file"
	case unix.S_IFLNK:
		return "symbolic link"
	case unix.S_IFCHR:
		return "character device"
	case unix.S_IFBLK:
		return "block device"
	case unix.S_IFIFO:
		return "pipe"
	case unix.S_IFSOCK:
		return "socket"
	}
	return fmt.Sprintf("type %#o", e.Type())
}

func linkName(e *Entry) string {
	if e.First == "" {
		return "the first name"
	}
	return "the same file as " + path.Clean(e.First)
}

func timeName(e *Entry) string {
	return time.Unix(e.Stat.Mtim.Unix()).UTC().Format(time.RFC3339Nano)
}

func deviceName(e *Entry) string {
	return fmt.Sprintf("%d:%d", unix.Major(uint64(e.Stat.Rdev)), unix.Minor(uint64(e.Stat.Rdev)))
}
