package fat

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// maxFile is the largest size of a file, in bytes.
const maxFile = math.MaxUint32

// node is a folder or a file.
type node struct {
	entry *content.Entry
	// index is the place among the nodes.
	index int
	// path and name are where it is; a further name of a file has another
	// path than its entry.
	path, name string
	// long is the long name in UTF-16, unless short says it all.
	long  []uint16
	short shortName
	// parent and children are set for folders.
	parent   *node
	children []*node
	// length is the number of bytes that it takes in its clusters.
	length int64
}

// clusters is how many clusters it takes. A folder has at least one.
func (n *node) clusters(v *volume) int64 {
	count := divideUp(n.length, v.clusterSize())
	if n.entry.IsDir() {
		count = max(1, count)
	}
	return count
}

// entries is how many directory entries the name takes.
func (n *node) entries() int64 { return 1 + divideUp(int64(len(n.long)), unitsPerEntry) }

// unsupported are the types of files that FAT does not have.
var unsupported = map[uint32]string{
	unix.S_IFLNK:  "symbolic links",
	unix.S_IFCHR:  "character devices",
	unix.S_IFBLK:  "block devices",
	unix.S_IFIFO:  "fifos",
	unix.S_IFSOCK: "sockets",
}

// build turns the tree into nodes, in the order of the tree.
func (im *Image) build(tree content.Tree) error {
	// entries are the files that others can be hard links to.
	entries := make(map[string]*content.Entry, len(tree))
	dirs := map[string]*node{}
	for i := range tree {
		e := &tree[i]
		path := e.Path
		if e.HardLink {
			e = entries[e.Link]
		}
		entries[path] = e
		if what, ok := unsupported[e.Type()]; ok {
			if im.options.Skipped != nil {
				im.options.Skipped(path, "vfat has no "+what)
			}
			continue
		}
		n := &node{entry: e, index: len(im.nodes), path: path, name: tree[i].Name()}
		if e.IsDir() {
			dirs[path] = n
		} else if n.length = e.Size; n.length > maxFile {
			return fmt.Errorf("/%s is %d bytes long, a file in a FAT file system at most %d", path, n.length, int64(maxFile))
		}
		if i > 0 {
			n.parent = dirs[tree[i].Parent()]
			n.parent.children = append(n.parent.children, n)
		}
		im.nodes = append(im.nodes, n)
	}
	for _, n := range im.nodes {
		if n.entry.IsDir() {
			if err := im.nameChildren(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// nameChildren chooses the names in a folder, which gives it its length.
func (im *Image) nameChildren(dir *node) error {
	seen := make(map[string]*node, len(dir.children))
	for _, n := range dir.children {
		var err error
		if n.long, err = encodeName(n.name); err != nil {
			return fmt.Errorf("/%s: %w", n.path, err)
		}
		key := foldCase(n.name)
		if other := seen[key]; other != nil {
			return fmt.Errorf("/%s and /%s differ in case only, and so cannot both be in a FAT file system", other.path, n.path)
		}
		seen[key] = n
	}
	if err := shorten(dir.children); err != nil {
		return fmt.Errorf("/%s: %w", dir.path, err)
	}
	entries := int64(2)
	if dir.parent == nil {
		entries = 0
		if im.label != "" {
			entries = 1
		}
	}
	for _, n := range dir.children {
		entries += n.entries()
	}
	if entries > maxEntries {
		return fmt.Errorf("/%s holds too many files for a folder in a FAT file system: they take %d entries of %d", dir.path, entries, maxEntries)
	}
	dir.length = entries * entrySize
	return nil
}
