// Package btrfs puts right what mkfs.btrfs gets wrong when it fills a new file
// system: it drops the nanoseconds of times and the numbers of device nodes, and
// before version 6.5.3 everything about the top folder. In passing it finds out
// whether all that was to be copied is there.
//
// The format is that of the kernel's fs/btrfs documentation, on one device, with
// single or duplicated metadata.
package btrfs

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

const (
	topTree  = 5
	firstID  = 256 // of subvolumes' trees, and of what is in a tree
	lastID   = ^uint64(255)
	topInode = firstID

	inodeSize     = 160
	rootItemSize  = 239 // up to the fields that matter
	dirIndexSize  = 30  // without the name
	rootTreeStart = 176
	rootTreeLevel = 238
)

// id is a file: the tree of its subvolume, and its number in there.
type id struct{ tree, inode uint64 }

// name is a name in a folder.
type name struct {
	parent id
	name   string
}

// Repair gives everything in the file system, which is size bytes large and as
// mkfs.btrfs left it, the owner, permissions, times and device number that the
// tree says. The times of the last access, of the last change and of birth are
// that of the last modification. It is an error if the file system lacks
// something or has it in another form.
func Repair(ctx context.Context, f device, size int64, tree content.Tree) error {
	v, err := openVolume(f, size)
	if err != nil {
		return err
	}
	r := &repair{ctx: ctx, volume: v, names: map[name]id{}, trees: map[uint64]pointer{}}
	if err := r.readTrees(); err != nil {
		return err
	}
	if err := r.match(tree); err != nil {
		return err
	}
	if err := r.change(); err != nil {
		return err
	}
	for id, w := range r.wanted {
		if !w.done {
			return fmt.Errorf("/%s has no inode (%d in the tree %d)", w.entry.Path, id.inode, id.tree)
		}
	}
	return nil
}

type repair struct {
	ctx context.Context
	*volume
	// trees are those of subvolumes.
	trees map[uint64]pointer
	names map[name]id
	// wanted is what files are to be like.
	wanted map[id]*wanted
}

type wanted struct {
	entry *content.Entry
	// links is how many names the tree has for it.
	links uint32
	done  bool
}

// readTrees finds the trees of all subvolumes, and all names in them.
func (r *repair) readTrees() error {
	err := r.walk(r.root, func(n *node) error {
		for i := range n.items {
			k := n.key(i)
			if k.kind != kindRoot || k.object != topTree && (k.object < firstID || k.object > lastID) {
				continue
			}
			b := n.data(i)
			if len(b) < rootItemSize {
				return fmt.Errorf("the root of the tree %d has %d bytes", k.object, len(b))
			}
			r.trees[k.object] = pointer{int64(le.Uint64(b[rootTreeStart:])), b[rootTreeLevel]}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for tree, root := range r.trees {
		err := r.walk(root, func(n *node) error { return r.readNames(tree, n) })
		if err != nil {
			return err
		}
	}
	return nil
}

// readNames reads the names in a leaf of a subvolume's tree.
func (r *repair) readNames(tree uint64, n *node) error {
	for i := range n.items {
		k := n.key(i)
		if k.kind != kindDirIndex {
			continue
		}
		b := n.data(i)
		if len(b) < dirIndexSize || len(b) < dirIndexSize+int(le.Uint16(b[27:])) {
			return fmt.Errorf("a name in the folder %d has %d bytes", k.object, len(b))
		}
		child := id{tree, 0}
		switch at := readKey(b); at.kind {
		case kindInode:
			child.inode = at.object
		case kindRoot:
			child = id{at.object, topInode}
		default:
			return fmt.Errorf("a name in the folder %d leads to an item of the kind %d", k.object, at.kind)
		}
		text := string(b[dirIndexSize : dirIndexSize+int(le.Uint16(b[27:]))])
		r.names[name{id{tree, k.object}, text}] = child
	}
	return r.ctx.Err()
}

// match finds the file of each entry.
func (r *repair) match(tree content.Tree) error {
	r.wanted = make(map[id]*wanted, len(tree))
	at := make(map[string]id, len(tree))
	for i := range tree {
		e := &tree[i]
		file := id{topTree, topInode}
		if i > 0 {
			var ok bool
			if file, ok = r.names[name{at[e.Parent()], e.Name()}]; !ok {
				return fmt.Errorf("/%s is missing", e.Path)
			}
		}
		at[e.Path] = file
		w := r.wanted[file]
		if e.HardLink {
			// A file has no names in several subvolumes, but a copy in each.
			if other := at[e.Link]; other != file && other.tree == file.tree {
				return fmt.Errorf("/%s is not the same file as /%s", e.Path, e.Link)
			}
			if w == nil {
				w = r.wanted[at[e.Link]]
				w = &wanted{entry: w.entry}
			}
		} else if w == nil {
			w = &wanted{entry: e}
		} else {
			return fmt.Errorf("/%s is the same file as /%s", e.Path, w.entry.Path)
		}
		w.links++
		r.wanted[file] = w
	}
	return nil
}

// change writes what the entries say into the inodes.
func (r *repair) change() error {
	for tree, root := range r.trees {
		err := r.walk(root, func(n *node) error {
			changed := false
			for i := range n.items {
				k := n.key(i)
				w := r.wanted[id{tree, k.object}]
				if k.kind != kindInode || w == nil {
					continue
				}
				if err := w.write(n.data(i)); err != nil {
					return fmt.Errorf("/%s: %w", w.entry.Path, err)
				}
				changed = true
			}
			if !changed {
				return r.ctx.Err()
			}
			return r.write(n)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// write changes an inode.
func (w *wanted) write(b []byte) error {
	e := w.entry
	if len(b) < inodeSize {
		return fmt.Errorf("its inode has %d bytes", len(b))
	}
	if mode := le.Uint32(b[52:]); mode&unix.S_IFMT != e.Type() {
		return fmt.Errorf("it is of another type, mode %o", mode)
	}
	if size := int64(le.Uint64(b[16:])); e.Type() == unix.S_IFREG && size != e.Size {
		return fmt.Errorf("it has %d bytes, not %d", size, e.Size)
	}
	if links := le.Uint32(b[40:]); !e.IsDir() && links != w.links {
		return fmt.Errorf("it has %d names, not %d", links, w.links)
	}
	le.PutUint32(b[44:], e.UID)
	le.PutUint32(b[48:], e.GID)
	le.PutUint32(b[52:], e.Mode)
	if t := e.Type(); t == unix.S_IFCHR || t == unix.S_IFBLK {
		le.PutUint64(b[56:], uint64(e.Major)<<20|uint64(e.Minor))
	}
	for at := 112; at < inodeSize; at += 12 {
		le.PutUint64(b[at:], uint64(e.Mtime))
		le.PutUint32(b[at+8:], e.MtimeNsec)
	}
	w.done = true
	return nil
}
