package btrfs

import (
	"bytes"
	"fmt"
)

// Kinds of items.
const (
	kindInode    = 1
	kindDirIndex = 96
	kindRoot     = 132
	kindChunk    = 228
)

// key is what items are sorted by.
type key struct {
	object uint64
	kind   byte
	offset uint64
}

func readKey(b []byte) key {
	return key{le.Uint64(b), b[8], le.Uint64(b[9:])}
}

// node is a leaf of a tree, its items checked to be inside of it.
type node struct {
	raw    []byte
	items  int
	places []int64
}

func (n *node) key(i int) key { return readKey(n.raw[headerSize+i*itemSize:]) }

// data is what an item holds, to be changed in place.
func (n *node) data(i int) []byte {
	item := n.raw[headerSize+i*itemSize:]
	start := headerSize + int(le.Uint32(item[keySize:]))
	return n.raw[start : start+int(le.Uint32(item[keySize+4:]))]
}

// walk calls visit with each leaf below a node, from the left to the right.
func (v *volume) walk(p pointer, visit func(*node) error) error {
	if v.visits--; v.visits < 0 {
		return fmt.Errorf("more nodes than there is room for")
	}
	n, err := v.read(p)
	if err != nil {
		return err
	}
	if p.level == 0 {
		return visit(n)
	}
	for i := range n.items {
		child := n.raw[headerSize+i*ptrSize+keySize:]
		if err := v.walk(pointer{int64(le.Uint64(child)), p.level - 1}, visit); err != nil {
			return err
		}
	}
	return nil
}

// read reads a node.
func (v *volume) read(p pointer) (*node, error) {
	if p.level >= maxLevel {
		return nil, fmt.Errorf("a node at level %d", p.level)
	}
	places, err := v.places(p.logical)
	if err != nil {
		return nil, err
	}
	n := &node{raw: make([]byte, v.nodeSize), places: places}
	if _, err := v.f.ReadAt(n.raw, places[0]); err != nil {
		return nil, err
	}
	sum, err := v.sum(n.raw[32:])
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(sum, n.raw[:len(sum)]) {
		return nil, fmt.Errorf("the checksum of the node at %d is wrong", p.logical)
	}
	if int64(le.Uint64(n.raw[48:])) != p.logical || n.raw[100] != p.level {
		return nil, fmt.Errorf("the node at %d is another one", p.logical)
	}
	n.items = int(le.Uint32(n.raw[96:]))
	return n, n.check(p)
}

// check makes sure that everything in a node is inside of it.
func (n *node) check(p pointer) error {
	size := itemSize
	if p.level > 0 {
		size = ptrSize
	}
	if n.items < 0 || n.items > (len(n.raw)-headerSize)/size {
		return fmt.Errorf("the node at %d has %d items", p.logical, n.items)
	}
	if p.level > 0 {
		return nil
	}
	for i := range n.items {
		item := n.raw[headerSize+i*itemSize+keySize:]
		if uint64(le.Uint32(item))+uint64(le.Uint32(item[4:])) > uint64(len(n.raw)-headerSize) {
			return fmt.Errorf("an item of the node at %d reaches out of it", p.logical)
		}
	}
	return nil
}

// write writes a changed leaf to all its places.
func (v *volume) write(n *node) error {
	sum, err := v.sum(n.raw[32:])
	if err != nil {
		return err
	}
	copy(n.raw, sum)
	for _, place := range n.places {
		if _, err := v.f.WriteAt(n.raw, place); err != nil {
			return err
		}
	}
	return nil
}
