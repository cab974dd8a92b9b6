// Package content describes what a new file system is filled with: a tree of
// entries in a fixed order, whether they come from a folder or from a test.
package content

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Entry is one name in a tree.
type Entry struct {
	// Path is relative to the top of the tree, clean and separated by
	// slashes; the top itself is the empty string.
	Path string
	// Mode is type and permissions, as in stat(2).
	Mode uint32
	// UID and GID own the entry.
	UID, GID uint32
	// Mtime and MtimeNsec are the modification time since 1970.
	Mtime     int64
	MtimeNsec uint32
	// Major and Minor are the numbers of a device node.
	Major, Minor uint32
	// Size is the length of a regular file in bytes.
	Size int64
	// Target is what a symbolic link says.
	Target string
	// Xattrs are the extended attributes, sorted by name.
	Xattrs []Xattr
	// Link, when HardLink is set, is the path of an earlier entry that this is
	// another name of; everything else but Path is as there.
	Link     string
	HardLink bool
	// Open returns the content of a regular file, exactly Size bytes long. The
	// caller closes it.
	Open func() (io.ReadCloser, error)
	// Data, when not nil, are the parts of a regular file outside of which there
	// are holes, in order and apart from each other. What Open returns then is
	// an io.ReaderAt too.
	Data []Range
}

// Range is a part of a file, in bytes. It is not empty.
type Range struct{ Offset, Size int64 }

// Ranges are the parts of a regular file that are not holes.
func (e *Entry) Ranges() []Range {
	if e.Data == nil && e.Size > 0 {
		return []Range{{0, e.Size}}
	}
	return e.Data
}

// Xattr is one extended attribute, its name with the namespace in front.
type Xattr struct {
	Name  string
	Value []byte
}

// Type is the part of Mode that says what the entry is, such as unix.S_IFREG.
func (e *Entry) Type() uint32 { return e.Mode & unix.S_IFMT }

// IsDir reports whether the entry is a folder.
func (e *Entry) IsDir() bool { return e.Type() == unix.S_IFDIR }

// Name is the last element of the path.
func (e *Entry) Name() string { return path.Base("/" + e.Path) }

// Parent is the path of the folder that the entry is in.
func (e *Entry) Parent() string {
	i := strings.LastIndexByte(e.Path, '/')
	return e.Path[:max(i, 0)]
}

// Tree is a list of entries in which each folder comes before what is in it,
// starting with the top. The order of siblings is that of their bytes.
type Tree []Entry

// maxName and maxTarget are what Linux allows.
const (
	maxName   = 255
	maxTarget = 4095
)

// Sort puts the entries into order.
func (t Tree) Sort() {
	slices.SortFunc(t, func(a, b Entry) int { return ComparePaths(a.Path, b.Path) })
}

// ComparePaths orders paths of a tree: element by element, so that what is in a folder
// follows it at once.
func ComparePaths(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		}
		return int(a[i]) - int(b[i])
	}
	return len(a) - len(b)
}

// Check returns an error when the tree is not one: no top, an entry outside of
// a folder, names that Linux refuses, links to nowhere, or a wrong order.
func (t Tree) Check() error {
	if len(t) == 0 || t[0].Path != "" || !t[0].IsDir() {
		return fmt.Errorf("the tree has no folder at its top")
	}
	dirs := map[string]bool{"": true}
	files := map[string]bool{}
	for i := range t {
		e := &t[i]
		if i == 0 {
			continue
		}
		if ComparePaths(t[i-1].Path, e.Path) >= 0 {
			return fmt.Errorf("%q and %q are out of order or the same", t[i-1].Path, e.Path)
		}
		if !dirs[e.Parent()] {
			return fmt.Errorf("%q is not in a folder", e.Path)
		}
		if name := e.Name(); name == "" || name == "." || name == ".." || name == "/" || len(name) > maxName || strings.ContainsRune(name, 0) {
			return fmt.Errorf("%q is not a valid name", e.Path)
		}
		if e.HardLink {
			if !files[e.Link] {
				return fmt.Errorf("%q is a hard link to %q, which is no earlier file", e.Path, e.Link)
			}
			continue
		}
		switch e.Type() {
		case unix.S_IFDIR:
			dirs[e.Path] = true
			continue
		case unix.S_IFREG:
			if e.Size < 0 || e.Size > 0 && e.Open == nil {
				return fmt.Errorf("%q has a size, but no content", e.Path)
			}
			if err := e.checkData(); err != nil {
				return err
			}
		case unix.S_IFLNK:
			if e.Target == "" || len(e.Target) > maxTarget || strings.ContainsRune(e.Target, 0) {
				return fmt.Errorf("%q has the invalid target %q", e.Path, e.Target)
			}
		case unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK:
		default:
			return fmt.Errorf("%q is of an unknown type, mode %o", e.Path, e.Mode)
		}
		files[e.Path] = true
	}
	return nil
}

// checkData returns an error when Data is not as it should be.
func (e *Entry) checkData() error {
	end := int64(0)
	for i, r := range e.Data {
		if r.Size <= 0 || r.Offset < end || i > 0 && r.Offset == end || r.Offset > e.Size || r.Size > e.Size-r.Offset {
			return fmt.Errorf("%q has its data in an invalid place", e.Path)
		}
		end = r.Offset + r.Size
	}
	return nil
}
