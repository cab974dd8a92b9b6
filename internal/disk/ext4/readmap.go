package ext4

import (
	"bytes"
	"fmt"
	"io"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// mapper collects where the blocks of a file are.
type mapper struct {
	v *reader
	// last is the number of blocks of the file.
	last int64
	runs []content.Run
	// end is the block of the file behind the last run, mapped how many there
	// are in all runs, visited how many blocks with maps were read.
	end, mapped, visited int64
}

// runs returns where the content of an inode with so many bytes is.
func (v *reader) runs(b []byte, size int64) ([]content.Run, error) {
	m := &mapper{v: v, last: (size-1)/v.blockSize + 1}
	if size <= 0 {
		return nil, nil
	}
	area := b[40:100]
	var err error
	if le.Uint32(b[32:])&flagExtents != 0 {
		err = m.extents(area, -1)
	} else {
		err = m.indirect(area)
	}
	if err == nil {
		err = content.CheckRuns(m.runs, v.blocks*v.blockSize)
	}
	return m.runs, err
}

// add maps blocks of the file, which must lie behind those mapped so far.
func (m *mapper) add(logical, start, count int64) error {
	m.mapped += count
	if logical < m.end || start <= 0 || start+count > m.v.blocks || m.mapped > m.v.blocks {
		return fmt.Errorf("blocks %d to %d of a file are out of order or outside of the file system", logical, logical+count-1)
	}
	m.end = logical + count
	size := m.v.blockSize
	if n := len(m.runs); n > 0 {
		if r := &m.runs[n-1]; r.At+r.Length == logical*size && r.Offset+r.Length == start*size {
			r.Length += count * size
			return nil
		}
	}
	m.runs = append(m.runs, content.Run{At: logical * size, Length: count * size, Offset: start * size})
	return nil
}

// visit reads a block with maps. No block is part of a map twice, so there are
// not more of them than blocks.
func (m *mapper) visit(number int64) ([]byte, error) {
	if m.visited++; m.visited > m.v.blocks {
		return nil, fmt.Errorf("the map of a file is larger than the file system")
	}
	return m.v.block(number)
}

// maxDepth is how many levels a tree of extents has at most.
const maxDepth = 5

// extents reads a node of a tree of extents; depth is what its parent
// promises, -1 for the top.
func (m *mapper) extents(node []byte, depth int) error {
	entries, level := int(le.Uint16(node[2:])), int(le.Uint16(node[6:]))
	if le.Uint16(node) != extentMagic || entries > (len(node)-12)/12 || level > maxDepth || depth >= 0 && (level != depth || entries == 0) {
		return fmt.Errorf("an invalid node of a tree of extents")
	}
	for i := range entries {
		x := node[12+12*i:]
		logical := int64(le.Uint32(x))
		if level > 0 {
			if logical < m.end {
				return fmt.Errorf("the extents of a file are out of order")
			}
			b, err := m.visit(int64(le.Uint32(x[4:])) | int64(le.Uint16(x[8:]))<<32)
			if err != nil {
				return err
			}
			if err := m.extents(b, level-1); err != nil {
				return err
			}
			continue
		}
		count := int64(le.Uint16(x[4:]))
		written := count <= maxRun
		if !written {
			count -= maxRun // allocated, but zero
		}
		if logical < m.end || count == 0 {
			return fmt.Errorf("the extents of a file are out of order")
		}
		if !written {
			m.end = logical + count
			continue
		}
		if err := m.add(logical, int64(le.Uint16(x[6:]))<<32|int64(le.Uint32(x[8:])), count); err != nil {
			return err
		}
	}
	return nil
}

// indirect reads the map of ext2: twelve blocks, and then blocks with the
// numbers of blocks, one to three levels deep.
func (m *mapper) indirect(area []byte) error {
	logical := int64(0)
	for i := range 15 {
		number := int64(le.Uint32(area[4*i:]))
		var err error
		if logical, err = m.pointer(number, max(0, i-11), logical); err != nil {
			return err
		}
	}
	return nil
}

// pointer maps what a number of a block leads to, and returns the next block
// of the file.
func (m *mapper) pointer(number int64, level int, logical int64) (int64, error) {
	per := m.v.blockSize / 4
	span := int64(1)
	for range level {
		span *= per
	}
	switch {
	case logical >= m.last || number == 0:
		return logical + span, nil
	case level == 0:
		return logical + 1, m.add(logical, number, 1)
	}
	b, err := m.visit(number)
	if err != nil {
		return 0, err
	}
	for ; len(b) > 0; b = b[4:] {
		if logical, err = m.pointer(int64(le.Uint32(b)), level-1, logical); err != nil {
			return 0, err
		}
	}
	return logical, nil
}

// openInline returns content that lies in the inode itself: first where the
// map would be, then in an attribute.
func (v *reader) openInline(b []byte, size int64) (io.ReadCloser, error) {
	data, err := inlineData(b)
	if err != nil {
		return nil, err
	}
	if size > int64(len(data)) {
		return nil, fmt.Errorf("a file of %d bytes has only %d in its inode", size, len(data))
	}
	return io.NopCloser(bytes.NewReader(data[:size])), nil
}

// inlineData is all content that lies in an inode.
func inlineData(b []byte) ([]byte, error) {
	data := bytes.Clone(b[40:100])
	err := eachInInode(b, func(index byte, name string, value []byte, _ uint32) error {
		if index == indexSystem && name == inlineName {
			data = append(data, value...)
		}
		return nil
	})
	return data, err
}
