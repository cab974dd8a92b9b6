package content

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

const (
	// maxPath is how long a path may become, so that folders in folders do
	// not add up to the square of their number.
	maxPath = 16 << 10
	// maxBytes is how many bytes of paths, targets and attributes a tree may
	// have together.
	maxBytes = 1 << 30
)

// Inodes is what a reader of a foreign file system knows of it: inodes by
// number, some of which list names.
type Inodes interface {
	// Inode describes an inode. Path, Link and HardLink are not looked at.
	Inode(number uint64) (Entry, error)
	// Names lists a folder without "." and "..", in any order.
	Names(number uint64) ([]Name, error)
}

// Name is a name in a folder of a foreign file system.
type Name struct {
	Name  string
	Inode uint64
}

// Collect makes a tree of all that can be reached from the inode at the top.
// An inode with several names becomes a file with hard links. It returns an
// error for a folder that can be reached twice, for names that Linux refuses,
// and for more than [MaxEntries] entries.
func Collect(ctx context.Context, fs Inodes, top uint64) (Tree, error) {
	c := &collector{ctx: ctx, fs: fs, first: map[uint64]int{}}
	if err := c.add("", top); err != nil {
		return nil, err
	}
	return c.tree, c.tree.Check()
}

type collector struct {
	ctx   context.Context
	fs    Inodes
	tree  Tree
	bytes int
	// first has the index of the entry with the first name of each inode.
	first map[uint64]int
}

// add adds an inode under a path, and what is below it.
func (c *collector) add(path string, number uint64) error {
	if len(c.tree) >= MaxEntries {
		return fmt.Errorf("more than %d entries", MaxEntries)
	}
	if i, ok := c.first[number]; ok {
		e := c.tree[i]
		if e.IsDir() {
			return fmt.Errorf("the folder /%s is in /%s as well", e.Path, path)
		}
		e.Path, e.HardLink, e.Link = path, true, e.Path
		return c.append(e)
	}
	e, err := c.fs.Inode(number)
	if err != nil {
		return fmt.Errorf("/%s: %w", path, err)
	}
	c.first[number] = len(c.tree)
	e.Path, e.HardLink, e.Link = path, false, ""
	if err := c.append(e); err != nil || !e.IsDir() {
		return err
	}
	if err := c.ctx.Err(); err != nil {
		return err
	}
	names, err := c.fs.Names(number)
	if err != nil {
		return fmt.Errorf("/%s: %w", path, err)
	}
	slices.SortFunc(names, func(a, b Name) int { return cmp.Compare(a.Name, b.Name) })
	for _, n := range names {
		if strings.ContainsAny(n.Name, "/\x00") || n.Name == "" || n.Name == "." || n.Name == ".." {
			return fmt.Errorf("/%s: %q is not a valid name", path, n.Name)
		}
		below := n.Name
		if path != "" {
			below = path + "/" + n.Name
		}
		if err := c.add(below, n.Inode); err != nil {
			return err
		}
	}
	return nil
}

// append adds an entry within the limits.
func (c *collector) append(e Entry) error {
	c.bytes += len(e.Path) + len(e.Target)
	for _, x := range e.Xattrs {
		c.bytes += len(x.Name) + len(x.Value)
	}
	if len(e.Path) > maxPath || c.bytes > maxBytes {
		return fmt.Errorf("/%.200s: names and attributes are longer than any that are read", e.Path)
	}
	c.tree = append(c.tree, e)
	return nil
}
