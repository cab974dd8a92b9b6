package erofs

import (
	"fmt"
	"math"
)

// place gives each inode its place in the metadata blocks at the start of the
// image, and each file's data its place behind them.
func (im *Image) place() error {
	var s shelf
	s.next = 1
	// The rest of the first block, behind the superblock.
	s.put(0, superOffset+superSize)
	for _, n := range im.nodes {
		n.nid = uint64(s.take(n.head()+n.tail, n.head())) / slotSize
	}
	next := s.next
	for _, n := range im.nodes {
		if count := n.blocks(); count > 0 {
			n.block = uint32(next)
			next += count
		}
		if next > math.MaxUint32 {
			return fmt.Errorf("the content is larger than the 16 TiB that fit into an EROFS image")
		}
	}
	im.blocks = uint32(next)
	if im.root.nid > math.MaxUint16 {
		return fmt.Errorf("the attributes of the root folder are too large")
	}
	return nil
}

// shelf finds places for inodes so that little space between them is lost.
type shelf struct {
	// next is the first block that nothing was put into.
	next int64
	// free lists blocks with a certain number of free slots at their end.
	free [BlockSize/slotSize + 1][]int64
}

// put remembers that the end of a block, from offset used on, is free.
func (s *shelf) put(block, used int64) {
	slots := (BlockSize - used) / slotSize
	s.free[slots] = append(s.free[slots], block)
}

// take returns the offset of size bytes that do not cross into another block.
// When they are more than a block, which only happens when there is no inline
// data, they begin a block of their own.
func (s *shelf) take(size, head int64) int64 {
	if size > BlockSize {
		block := s.next
		s.next += (head + BlockSize - 1) / BlockSize
		return block * BlockSize
	}
	slots := (size + slotSize - 1) / slotSize
	for have := slots; have < int64(len(s.free)); have++ {
		list := s.free[have]
		if len(list) == 0 {
			continue
		}
		block := list[len(list)-1]
		s.free[have] = list[:len(list)-1]
		used := BlockSize - have*slotSize
		s.put(block, used+slots*slotSize)
		return block*BlockSize + used
	}
	block := s.next
	s.next++
	s.put(block, slots*slotSize)
	return block * BlockSize
}
