package erofs

import (
	"fmt"
	"math"
	"sort"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// The sizes of the two forms of inodes, and how their data may be stored.
const (
	compactSize  = 32
	extendedSize = 64

	layoutPlain   = 0 // all data in blocks of its own
	layoutFull    = 1 // compressed, the index made of entries of 8 bytes
	layoutInline  = 2 // the end of the data behind the inode
	layoutCompact = 3 // compressed, the index made of packs of entries
	layoutChunks  = 4 // in chunks anywhere, possibly on other devices
)

// node is one inode.
type node struct {
	entry  *content.Entry
	number uint32
	nlink  uint32
	size   int64
	xattrs []byte

	// parent and children are set for folders.
	parent   *node
	children []child

	extended bool
	layout   uint16
	// tail is the number of bytes stored behind the inode.
	tail int64
	// nid says where the inode is, in slots from the image's meta block, which
	// is at the offset base.
	nid  uint64
	base int64
	// block is where the data outside of the inode starts.
	block uint32

	// chunks are what compressed content consists of.
	chunks []chunk
	// fragment says that the content is a part of the packed inode, which
	// starts at position there.
	fragment bool
	position int64
}

// child is a name in a folder.
type child struct {
	name string
	node *node
}

// attributesEnd is the size of the inode with its attributes.
func (n *node) attributesEnd() int64 {
	size := int64(compactSize)
	if n.extended {
		size = extendedSize
	}
	return size + int64(len(n.xattrs))
}

// head is the size of the inode with its attributes and the index of
// compressed content, without data.
func (n *node) head() int64 {
	if n.layout == layoutCompact {
		return n.indexStart() + n.indexSize()
	}
	return n.attributesEnd()
}

// offset is where the inode starts in the image.
func (n *node) offset() int64 { return n.base + int64(n.nid)*slotSize }

// blocks is the number of blocks that the data outside of the inode takes,
// unless Plan wrote it already.
func (n *node) blocks() int64 {
	if n.stored() {
		return 0
	}
	return (n.size - n.tail + BlockSize - 1) / BlockSize
}

// stored reports whether the content was written when it was compressed.
func (n *node) stored() bool { return n.fragment || n.chunks != nil }

// build turns the tree into nodes, in the order of the tree.
func (im *Image) build(tree content.Tree) error {
	shared, err := im.shareXattrs(tree)
	if err != nil {
		return err
	}
	byPath := make(map[string]*node, len(tree))
	for i := range tree {
		e := &tree[i]
		n := byPath[e.Link]
		if !e.HardLink {
			xattrs, err := encodeXattrs(e.Xattrs, shared)
			if err != nil {
				return fmt.Errorf("/%s: %w", e.Path, err)
			}
			n = im.add(e)
			n.xattrs = xattrs
		}
		byPath[e.Path] = n
		n.nlink++
		if i == 0 {
			n.parent = n
			im.root = n
			n.nlink++
			continue
		}
		parent := byPath[e.Parent()]
		parent.children = append(parent.children, child{e.Name(), n})
		if e.IsDir() && !e.HardLink {
			n.parent = parent
			n.nlink++
			parent.nlink++
		}
	}
	for _, n := range im.nodes {
		n.finish(im.options)
	}
	return nil
}

// add makes a new node for an entry.
func (im *Image) add(e *content.Entry) *node {
	n := &node{entry: e, number: uint32(len(im.nodes) + 1), block: noBlock}
	im.nodes = append(im.nodes, n)
	return n
}

// finish sets what follows from the entry and its children.
func (n *node) finish(o Options) {
	switch n.entry.Type() {
	case unix.S_IFDIR:
		n.children = append(n.children, child{".", n}, child{"..", n.parent})
		sort.Slice(n.children, func(i, j int) bool { return n.children[i].name < n.children[j].name })
		n.size = dirSize(n.children)
	case unix.S_IFREG:
		n.size = n.entry.Size
	case unix.S_IFLNK:
		n.size = int64(len(n.entry.Target))
	}
	e := n.entry
	n.extended = e.UID > math.MaxUint16 || e.GID > math.MaxUint16 || n.nlink > math.MaxUint16 ||
		n.size > math.MaxUint32 || e.Mtime != o.BuildTime || e.MtimeNsec != 0
	n.tail = n.size % BlockSize
	n.layout = layoutInline
	if n.tail == 0 || n.head()+n.tail > BlockSize {
		n.layout, n.tail = layoutPlain, 0
	}
}
