package btrfs

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// inode is an inode with everything that its tree says of it.
type inode struct {
	entry   content.Entry
	known   bool // false for items without an inode
	names   []location
	extents []extent
}

// location is a name in a folder and what it leads to.
type location struct {
	name string
	key  inodeKey
}

// extent is a piece of a file.
type extent struct {
	at, length  int64 // in the file
	compression byte
	inline      bool
	// offset is where it is on the device, stored how many bytes it takes
	// there, and skip where in the unpacked bytes, of which there are unpacked,
	// the piece starts.
	offset, stored, skip, unpacked int64
}

// number returns what an inode is called outside of this package, and reads the
// tree that it is in.
func (v *reader) number(k inodeKey) (uint64, error) {
	if !v.loaded[k.tree] {
		root, ok := v.trees[k.tree]
		if !ok {
			return 0, fmt.Errorf("there is no tree %d", k.tree)
		}
		v.loaded[k.tree] = true
		if err := v.load(k.tree, root); err != nil {
			return 0, fmt.Errorf("reading tree %d: %w", k.tree, err)
		}
	}
	n, ok := v.numbers[k]
	if !ok {
		return 0, fmt.Errorf("tree %d has no inode %d", k.tree, k.inode)
	}
	return n, nil
}

// load reads a tree of files.
func (v *reader) load(tree uint64, root treeRoot) error {
	return v.walk(root, func(k key, data []byte, offset int64) error {
		if k.kind != inodeItem && k.kind != xattrItem && k.kind != dirIndex && k.kind != extentItem {
			return nil
		}
		// Beside its bytes every item takes some of memory.
		const most = 300
		if v.left -= int64(len(data)) + most; v.left < 0 {
			return fmt.Errorf("the trees are larger than any that are read")
		}
		id := inodeKey{tree, k.object}
		number, ok := v.numbers[id]
		if !ok {
			number = uint64(len(v.inodes))
			v.numbers[id] = number
			v.inodes = append(v.inodes, &inode{})
		}
		n := v.inodes[number]
		switch k.kind {
		case inodeItem:
			return n.parse(data)
		case xattrItem:
			return eachName(data, func(_ key, name, value []byte) error {
				n.entry.Xattrs = append(n.entry.Xattrs, content.Xattr{Name: string(name), Value: bytes.Clone(value)})
				return nil
			})
		case dirIndex:
			return eachName(data, func(to key, name, _ []byte) error {
				target := inodeKey{tree, to.object}
				if to.kind == rootItem { // a subvolume
					target = inodeKey{to.object, firstInode}
				}
				n.names = append(n.names, location{string(name), target})
				return nil
			})
		}
		x, ok, err := v.parseExtent(int64(k.offset), data, offset)
		if ok {
			n.extents = append(n.extents, x)
		}
		return err
	})
}

// parse reads what an inode says of itself.
func (n *inode) parse(b []byte) error {
	if len(b) < 160 {
		return fmt.Errorf("an inode of %d bytes", len(b))
	}
	device := le.Uint64(b[56:])
	n.known = true
	xattrs := n.entry.Xattrs
	n.entry = content.Entry{
		Mode: le.Uint32(b[52:]), UID: le.Uint32(b[44:]), GID: le.Uint32(b[48:]), Size: int64(le.Uint64(b[16:])),
		Mtime: int64(le.Uint64(b[136:])), MtimeNsec: min(le.Uint32(b[144:]), 999999999), Xattrs: xattrs,
	}
	if t := n.entry.Type(); t == unix.S_IFCHR || t == unix.S_IFBLK {
		n.entry.Major, n.entry.Minor = uint32(device>>20), uint32(device&0xfffff)
	}
	if n.entry.Size < 0 {
		return fmt.Errorf("a file of %d bytes", uint64(n.entry.Size))
	}
	return nil
}

// Inode describes an inode.
func (v *reader) Inode(number uint64) (content.Entry, error) {
	n := v.inodes[number]
	if !n.known {
		return content.Entry{}, fmt.Errorf("something without an inode")
	}
	e := n.entry
	slices.SortFunc(e.Xattrs, func(a, b content.Xattr) int { return strings.Compare(a.Name, b.Name) })
	size := e.Size
	switch e.Type() {
	case unix.S_IFREG:
		e.Open = func() (io.ReadCloser, error) { return v.open(n) }
		return e, nil
	case unix.S_IFLNK:
		const maxTarget = 4095
		if size == 0 || size > maxTarget {
			return e, fmt.Errorf("a symbolic link with a target of %d bytes", size)
		}
		f, err := v.open(n)
		if err != nil {
			return e, err
		}
		target := make([]byte, size)
		if _, err := io.ReadFull(f, target); err != nil {
			return e, err
		}
		e.Target = string(target)
	}
	e.Size = 0
	return e, nil
}

// Names lists a folder.
func (v *reader) Names(number uint64) ([]content.Name, error) {
	var list []content.Name
	for _, l := range v.inodes[number].names {
		to, err := v.number(l.key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.name, err)
		}
		list = append(list, content.Name{Name: l.name, Inode: to})
	}
	return list, nil
}
