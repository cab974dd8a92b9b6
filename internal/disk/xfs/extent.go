package xfs

import (
	"fmt"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

const (
	extentSize = 16
	// longHeader is that of a block of a tree of extents.
	longHeader = 72
	maxLevels  = 9
)

// mapper collects the extents of a fork.
type mapper struct {
	v    *reader
	runs []content.Run
	end  int64 // the block of the fork behind the last extent
	// visited is how many blocks of the tree were read: no more than there are.
	visited int64
}

// runs returns where the blocks of a fork are, all of them: sizes are not
// looked at.
func (v *reader) runs(f *fork) ([]content.Run, error) {
	m := &mapper{v: v}
	var err error
	switch f.format {
	case formatExtents:
		if f.extents > uint64(len(f.area)/extentSize) {
			return nil, fmt.Errorf("%d extents do not fit an inode", f.extents)
		}
		err = m.extents(f.area, int(f.extents))
	case formatTree:
		err = m.root(f.area)
	default:
		err = fmt.Errorf("content in the unknown format %d", f.format)
	}
	if err == nil {
		err = content.CheckRuns(m.runs, v.Size)
	}
	return m.runs, err
}

// extents adds so many extents, which b must hold.
func (m *mapper) extents(b []byte, count int) error {
	for i := range count {
		high, low := be.Uint64(b[i*extentSize:]), be.Uint64(b[i*extentSize+8:])
		unwritten := high>>63 != 0
		at, length := int64(high&(1<<63-1)>>9), int64(low&(1<<21-1))
		if at < m.end || length == 0 {
			return fmt.Errorf("the extents of a file are out of order")
		}
		m.end = at + length
		if unwritten {
			continue
		}
		first := high&0x1ff<<43 | low>>21
		offset, err := m.v.offset(first)
		if err != nil {
			return err
		}
		if at > 1<<62>>m.v.blockLog {
			return fmt.Errorf("an extent at block %d of a file", at)
		}
		m.add(content.Run{At: at << m.v.blockLog, Length: length << m.v.blockLog, Offset: offset})
	}
	return nil
}

// add joins a run with the last one if it goes on there.
func (m *mapper) add(r content.Run) {
	if n := len(m.runs); n > 0 {
		last := &m.runs[n-1]
		if last.At+last.Length == r.At && last.Offset+last.Length == r.Offset {
			last.Length += r.Length
			return
		}
	}
	m.runs = append(m.runs, r)
}

// root reads the top of a tree, which is in the inode.
func (m *mapper) root(b []byte) error {
	if len(b) < 4+extentSize {
		return fmt.Errorf("a tree of extents without room")
	}
	level, count, most := int(be.Uint16(b)), int(be.Uint16(b[2:])), (len(b)-4)/extentSize
	if level == 0 || level > maxLevels || count == 0 || count > most {
		return fmt.Errorf("an invalid tree of extents")
	}
	return m.children(b[4+8*most:], count, level-1)
}

// children reads the blocks that pointers lead to.
func (m *mapper) children(pointers []byte, count, level int) error {
	for i := range count {
		if m.visited++; m.visited > m.v.blocks {
			return fmt.Errorf("a tree of extents is larger than the file system")
		}
		at, err := m.v.offset(be.Uint64(pointers[8*i:]))
		if err != nil {
			return err
		}
		b := make([]byte, m.v.BlockSize)
		if err := m.v.readAt(b, at); err != nil {
			return err
		}
		if err := m.node(b, level); err != nil {
			return err
		}
	}
	return nil
}

// node reads a block of a tree.
func (m *mapper) node(b []byte, level int) error {
	most := (len(b) - longHeader) / extentSize
	count := int(be.Uint16(b[6:]))
	if string(b[:4]) != "BMA3" || int(be.Uint16(b[4:])) != level || count == 0 || count > most {
		return fmt.Errorf("an invalid block in a tree of extents")
	}
	if level == 0 {
		return m.extents(b[longHeader:], count)
	}
	return m.children(b[longHeader+8*most:], count, level-1)
}
