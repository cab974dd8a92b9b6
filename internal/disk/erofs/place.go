package erofs

import (
	"errors"
	"fmt"
	"math"
)

// place gives each inode its place in the metadata blocks, which come first in
// a plain image and last in a compressed one, and each file's data its place
// behind or before them.
func (im *Image) place() error {
	var s shelf
	s.next = 1
	if im.compressed() {
		// No inode may have the number zero.
		s.put(0, slotSize)
	} else {
		// The rest of the first block, behind the superblock.
		s.put(0, superOffset+superSize)
	}
	for _, n := range im.nodes {
		n.nid = uint64(s.take(n.head()+n.tail, n.head())) / slotSize
	}
	if im.root.nid > math.MaxUint16 {
		return fmt.Errorf("the attributes of the root folder are too large")
	}
	shared := s.next
	s.next += (int64(len(im.shared)) + BlockSize - 1) / BlockSize

	next := s.next
	if im.compressed() {
		next = im.packedEnd
	}
	for _, n := range im.nodes {
		if count := n.blocks(); count > 0 {
			n.block = uint32(next)
			next += count
		}
		if next > math.MaxUint32 {
			return errTooLarge
		}
	}
	if im.compressed() {
		im.meta = uint32(next)
		next += s.next
	}
	if next > math.MaxUint32 {
		return errTooLarge
	}
	im.blocks = uint32(next)
	for _, n := range im.nodes {
		n.base = int64(im.meta) * BlockSize
	}
	if len(im.shared) > 0 {
		im.sharedBlock = im.meta + uint32(shared)
	}
	return nil
}

var errTooLarge = errors.New("the content is larger than the 16 TiB that fit into an EROFS image")

// compressed reports whether files are compressed.
func (im *Image) compressed() bool { return im.options.Compression != Uncompressed }

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
