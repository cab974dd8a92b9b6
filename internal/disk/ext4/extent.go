package ext4

import (
	"fmt"
	"slices"
)

// mapped is a run of blocks with its place in the file, in blocks.
type mapped struct {
	extent
	logical int64
}

// appendMapped adds a run, as a part of the last one where they touch both on
// the disk and in the file.
func appendMapped(runs []mapped, m mapped) []mapped {
	if n := len(runs); n > 0 {
		last := &runs[n-1]
		if last.start+last.count == m.start && last.logical+last.count == m.logical {
			last.count += m.count
			return runs
		}
	}
	return append(runs, m)
}

// splitRuns turns runs of blocks into extents, which have a limited length.
func splitRuns(runs []mapped) []mapped {
	var out []mapped
	for _, r := range runs {
		for r.count > 0 {
			n := min(r.count, maxRun)
			out = append(out, mapped{extent{r.start, n}, r.logical})
			r.start += n
			r.logical += n
			r.count -= n
		}
	}
	return out
}

// perNode is how many extents a block has room for, beside its checksum.
func (g geometry) perNode() int64 { return (g.blockSize - extentHeader - 4) / 12 }

// nodesNeeded is how many blocks with extents the runs need: a tree whose top
// is in the inode.
func (g geometry) nodesNeeded(runs []mapped) int64 {
	nodes := int64(0)
	for n := int64(len(splitRuns(runs))); n > extentsInline; nodes += n {
		n = (n + g.perNode() - 1) / g.perNode()
	}
	return nodes
}

// encodeExtents writes the tree of extents, from its leaves to the part that is
// in the inode.
func (n *inode) encodeExtents(v *volume, area []byte) error {
	level, depth := splitRuns(n.runs), 0
	nodes := slices.Clone(n.nodes)
	for len(level) > extentsInline {
		var above []mapped
		for len(level) > 0 {
			count := min(int64(len(level)), v.perNode())
			node := make([]byte, v.blockSize)
			putExtents(node, level[:count], int(v.perNode()), depth)
			if v.checksums {
				tail := extentHeader + 12*v.perNode()
				le.PutUint32(node[tail:], checksum(n.seed(v), node[:tail]))
			}
			for nodes[0].count == 0 {
				nodes = nodes[1:]
			}
			block := nodes[0].start
			nodes[0].start++
			nodes[0].count--
			if err := v.writeAt(node, block*v.blockSize); err != nil {
				return err
			}
			above = append(above, mapped{extent{start: block}, level[0].logical})
			level = level[count:]
		}
		level, depth = above, depth+1
	}
	putExtents(area, level, extentsInline, depth)
	return nil
}

// putExtents writes a node of the tree: at depth zero extents, else where the
// nodes below are.
func putExtents(b []byte, entries []mapped, limit, depth int) {
	le.PutUint16(b[0:], extentMagic)
	le.PutUint16(b[2:], uint16(len(entries)))
	le.PutUint16(b[4:], uint16(limit))
	le.PutUint16(b[6:], uint16(depth))
	for i, e := range entries {
		x := b[extentHeader+12*i:]
		le.PutUint32(x[0:], uint32(e.logical))
		if depth == 0 {
			le.PutUint16(x[4:], uint16(e.count))
			le.PutUint16(x[6:], uint16(e.start>>32))
			le.PutUint32(x[8:], uint32(e.start))
		} else {
			le.PutUint32(x[4:], uint32(e.start))
			le.PutUint16(x[8:], uint16(e.start>>32))
		}
	}
}

// readRuns returns the blocks of an inode whose extents are all in it.
func readRuns(b []byte) ([]mapped, error) {
	area := b[40:100]
	count := int(le.Uint16(area[2:]))
	if le.Uint16(area) != extentMagic || le.Uint16(area[6:]) != 0 || count > extentsInline {
		return nil, fmt.Errorf("unexpected extents in a new file system")
	}
	var runs []mapped
	for i := range count {
		x := area[extentHeader+12*i:]
		start := int64(le.Uint16(x[6:]))<<32 | int64(le.Uint32(x[8:]))
		runs = appendMapped(runs, mapped{extent{start, int64(le.Uint16(x[4:]))}, int64(le.Uint32(x))})
	}
	return runs, nil
}
