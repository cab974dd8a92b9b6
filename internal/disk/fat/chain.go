package fat

import (
	"encoding/binary"
	"fmt"
	"io"
)

// links is the file allocation table of a file system that is being read. Only
// the parts that are needed are kept, so that a large one that is mostly a hole
// takes no memory.
type links struct {
	*volume
	r      io.ReaderAt
	blocks map[int64][]byte
}

// tableBlock is how much of a table is read at a time; a multiple of three
// bytes, which are two entries of a FAT12, and of four.
const tableBlock = 12 << 10

// next returns what follows a cluster; end is set when nothing does.
func (l *links) next(cluster uint32) (next uint32, end bool, err error) {
	entry := int64(cluster) * int64(l.bits) / 8
	b, err := l.block(entry / tableBlock)
	if err != nil {
		return 0, false, err
	}
	le := binary.LittleEndian
	at := entry % tableBlock
	switch l.bits {
	case 12:
		next = uint32(le.Uint16(b[at:])) >> (cluster % 2 * 4) & 0xfff
	case 16:
		next = uint32(le.Uint16(b[at:]))
	default:
		next = le.Uint32(b[at:]) & 0x0fffffff
	}
	if next >= uint32(1)<<min(l.bits, 28)-8 {
		return 0, true, nil
	}
	if !l.valid(next) {
		return 0, false, fmt.Errorf("cluster %d is followed by cluster %d, which there is not", cluster, next)
	}
	return next, false, nil
}

// valid reports whether there is such a cluster.
func (v *volume) valid(cluster uint32) bool {
	return cluster >= firstCluster && int64(cluster) < v.clusters+firstCluster
}

// block returns a part of the first table.
func (l *links) block(n int64) ([]byte, error) {
	if b := l.blocks[n]; b != nil {
		return b, nil
	}
	b := make([]byte, tableBlock)
	length := min(tableBlock, l.table*l.sector-n*tableBlock)
	if err := readAt(l.r, b[:length], l.tableOffset(0)+n*tableBlock); err != nil {
		return nil, fmt.Errorf("reading the file allocation table: %w", err)
	}
	l.blocks[n] = b
	return b, nil
}

// run is a number of clusters that follow each other.
type run struct{ first, count uint32 }

// chain follows the clusters from the first, at most as many as limit; whole is
// set when these are all. No cluster can be found twice.
func (r *reader) chain(first uint32, limit int64) (runs []run, whole bool, err error) {
	if !r.valid(first) {
		return nil, false, fmt.Errorf("its first cluster is %d, which there is not", first)
	}
	cluster := first
	for range limit {
		if cluster%(1<<16) == 0 {
			if err := r.ctx.Err(); err != nil {
				return nil, false, err
			}
		}
		i, bit := cluster/64, uint64(1)<<(cluster%64)
		if r.taken[i]&bit != 0 {
			return nil, false, fmt.Errorf("cluster %d belongs to two files, or twice to one", cluster)
		}
		r.taken[i] |= bit
		if last := len(runs) - 1; last >= 0 && runs[last].first+runs[last].count == cluster {
			runs[last].count++
		} else {
			runs = append(runs, run{cluster, 1})
		}
		next, end, err := r.links.next(cluster)
		if err != nil || end {
			return runs, end, err
		}
		cluster = next
	}
	return runs, false, nil
}

// runReader reads clusters, at most left bytes.
type runReader struct {
	*fileSystem
	runs []run
	at   int64 // how much of the first run was read
	left int64
}

// Read is that of io.Reader.
func (r *runReader) Read(p []byte) (int, error) {
	if r.left == 0 || len(r.runs) == 0 {
		return 0, io.EOF
	}
	first := r.runs[0]
	length := int64(first.count) * r.clusterSize()
	p = p[:min(int64(len(p)), r.left, length-r.at)]
	if err := readAt(r.r, p, r.offset(first.first)+r.at); err != nil {
		return 0, err
	}
	r.left -= int64(len(p))
	if r.at += int64(len(p)); r.at == length {
		r.runs, r.at = r.runs[1:], 0
	}
	return len(p), nil
}

// Close is that of io.Closer.
func (r *runReader) Close() error { return nil }
