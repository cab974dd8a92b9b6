package ext4

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

const (
	rootInode      = 2
	lostFoundInode = 11
	lostFound      = "lost+found"
	// copySize is how much of a file is copied at a time, a number of blocks.
	copySize = 256 << 10
)

// populate fills the file system: first all metadata, in the order of the
// tree, then the contents side by side.
func (im *Image) populate(ctx context.Context, v *volume) error {
	nodes, err := im.nodes(v)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := im.writeNode(v, n); err != nil {
			return fmt.Errorf("/%s: %w", n.entry.Path, err)
		}
	}
	return copyContents(ctx, v, nodes)
}

// nodes gives each entry an inode and each folder its names.
func (im *Image) nodes(v *volume) ([]*inode, error) {
	var nodes []*inode
	byPath := make(map[string]*inode, len(im.tree))
	for i := range im.tree {
		e := &im.tree[i]
		n := byPath[e.Link]
		if !e.HardLink {
			n = &inode{entry: e}
			nodes = append(nodes, n)
			if err := n.assign(v); err != nil {
				return nil, fmt.Errorf("/%s: %w", e.Path, err)
			}
		}
		byPath[e.Path] = n
		n.links++
		if i == 0 {
			n.parent = n
			n.links++
			continue
		}
		parent := byPath[e.Parent()]
		parent.children = append(parent.children, child{e.Name(), n})
		if n.entry.IsDir() {
			n.parent = parent
			n.links++
			parent.links++
		}
	}
	if byPath[lostFound] == nil {
		// The one that mke2fs made stays as it is.
		made := &inode{entry: &content.Entry{Mode: unix.S_IFDIR}, number: lostFoundInode}
		nodes[0].children = append(nodes[0].children, child{lostFound, made})
		nodes[0].links++
	}
	return nodes, nil
}

// assign chooses the inode's number.
func (n *inode) assign(v *volume) (err error) {
	switch {
	case n.entry.Path == "":
		n.number = rootInode
	case n.entry.Path == lostFound && n.entry.IsDir():
		n.number = lostFoundInode
	case n.entry.Path == lostFound:
		return fmt.Errorf("has to be a folder in an ext4 file system")
	default:
		if n.number, err = v.allocateInode(); err != nil {
			return err
		}
		if n.entry.IsDir() {
			v.addDir(n.number)
		}
	}
	n.xattrs, err = v.splitXattrs(n.entry.Xattrs)
	return err
}

// writeNode allocates the blocks of an inode and writes everything but the
// content of a file.
func (im *Image) writeNode(v *volume, n *inode) error {
	b, err := v.inode(n.number)
	if err != nil {
		return err
	}
	if n.number < firstInode {
		if n.runs, err = readRuns(b); err != nil {
			return err
		}
	}
	var data []byte
	switch n.entry.Type() {
	case unix.S_IFDIR:
		data = n.encodeDir(v, n.blocks())
		n.size = int64(len(data))
	case unix.S_IFLNK:
		n.size = int64(len(n.entry.Target))
		if n.size >= v.blockSize {
			return fmt.Errorf("a target of %d bytes does not fit into a block of %d", n.size, v.blockSize)
		}
		if n.size >= fastSymlink {
			data = append([]byte(n.entry.Target), make([]byte, roundUp(n.size, v.blockSize)-n.size)...)
		}
	case unix.S_IFREG:
		n.size = n.entry.Size
	}
	if err := n.allocate(v, data); err != nil {
		return err
	}
	for off, r := range n.pieces(v.blockSize, 0, int64(len(data))) {
		if err := v.writeAt(data[off:off+r.count], r.start); err != nil {
			return err
		}
	}
	if n.xattrs.block != nil {
		if v.checksums {
			finishXattrBlock(v.seed, n.xattrs.block, n.xattrBlock)
		}
		if err := v.writeAt(n.xattrs.block, n.xattrBlock*v.blockSize); err != nil {
			return err
		}
	}
	return n.encode(v, b, im.options.BuildTime)
}

// allocate takes the blocks that the inode needs beyond those it has. Holes need
// none.
func (n *inode) allocate(v *volume, data []byte) (err error) {
	ranges := []content.Range{{Size: int64(len(data))}}
	if n.entry.Type() == unix.S_IFREG {
		ranges = n.entry.Ranges()
	}
	next := n.blocks()
	for _, r := range ranges {
		end := roundUp(r.Offset+r.Size, v.blockSize) / v.blockSize
		next = max(next, r.Offset/v.blockSize)
		more, err := v.allocate(end - next)
		if err != nil {
			return err
		}
		for _, x := range more {
			n.runs = appendMapped(n.runs, mapped{x, next})
			next += x.count
		}
	}
	if n.nodes, err = v.allocate(v.nodesNeeded(n.runs)); err != nil {
		return err
	}
	if n.xattrs.block != nil {
		runs, err := v.allocate(1)
		if err != nil {
			return err
		}
		n.xattrBlock = runs[0].start
	}
	return nil
}

// blocks is where the last block with content ends, in the file.
func (n *inode) blocks() int64 {
	if len(n.runs) == 0 {
		return 0
	}
	last := n.runs[len(n.runs)-1]
	return last.logical + last.count
}

func total(runs []extent) int64 {
	n := int64(0)
	for _, r := range runs {
		n += r.count
	}
	return n
}

// pieces yields where the bytes from an offset on are, which are not in a hole:
// offsets from there, and extents that count bytes rather than blocks.
func (n *inode) pieces(blockSize, from, count int64) func(yield func(int64, extent) bool) {
	return func(yield func(int64, extent) bool) {
		for _, r := range n.runs {
			start := max(from, r.logical*blockSize)
			end := min(from+count, (r.logical+r.count)*blockSize)
			if start >= end {
				continue
			}
			at := r.start*blockSize + start - r.logical*blockSize
			if !yield(start-from, extent{at, end - start}) {
				return
			}
		}
	}
}

// copyContents copies all files.
func copyContents(ctx context.Context, v *volume, nodes []*inode) error {
	g, ctx := errgroup.WithContext(ctx)
	queue := make(chan *inode)
	g.Go(func() error {
		defer close(queue)
		for _, n := range nodes {
			if n.entry.Type() != unix.S_IFREG || n.size == 0 {
				continue
			}
			select {
			case queue <- n:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range max(2, runtime.GOMAXPROCS(0)) {
		g.Go(func() error {
			buf := make([]byte, copySize)
			for n := range queue {
				err := n.entry.DataPieces(ctx, buf, func(p []byte, off int64) error {
					for at, r := range n.pieces(v.blockSize, off, int64(len(p))) {
						if err := v.writeAt(p[at:at+r.count], r.start); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					return fmt.Errorf("/%s: %w", n.entry.Path, err)
				}
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}
