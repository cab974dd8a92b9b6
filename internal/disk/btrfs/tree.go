package btrfs

import (
	"cmp"
	"fmt"
	"slices"
	"sort"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

const (
	headerSize  = 101
	itemSize    = 25
	pointerSize = 33
	keySize     = 17
	maxLevel    = 8

	chunkHead   = 48
	stripeSize  = 32
	chunkItem   = 228
	rootItem    = 132
	inodeItem   = 1
	xattrItem   = 24
	dirItem     = 84
	dirIndex    = 96
	extentItem  = 108
	rootItemEnd = 239
)

// key is what items are sorted by.
type key struct {
	object uint64
	kind   byte
	offset uint64
}

func parseKey(b []byte) key { return key{le.Uint64(b), b[8], le.Uint64(b[9:])} }

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.object, b.object), cmp.Compare(a.kind, b.kind), cmp.Compare(a.offset, b.offset))
}

// chunk is a part of the space of addresses, and where it is on the device.
type chunk struct {
	start, length uint64
	offset        int64
}

// readChunks reads the map of addresses: first the part of it in the
// superblock, with which the rest can be read.
func (v *reader) readChunks() error {
	b := v.raw[chunksAt : chunksAt+maxChunks]
	n := int(le.Uint32(v.raw[160:]))
	if n > len(b) {
		return fmt.Errorf("the superblock has %d bytes of them", n)
	}
	for b = b[:n]; len(b) >= keySize+chunkHead; {
		k := parseKey(b)
		used, err := v.addChunk(k, b[keySize:])
		if err != nil {
			return err
		}
		b = b[keySize+used:]
	}
	v.sortChunks()
	var all []chunk
	err := v.walk(treeRoot{v.chunkRoot, v.chunkLevel}, func(k key, data []byte, _ int64) error {
		if k.kind != chunkItem {
			return nil
		}
		c, _, err := v.parseChunk(k, data)
		all = append(all, c)
		return err
	})
	if err != nil {
		return err
	}
	v.chunks = all
	v.sortChunks()
	for i, c := range v.chunks {
		if i > 0 && v.chunks[i-1].start+v.chunks[i-1].length > c.start {
			return fmt.Errorf("the chunks at %d and %d overlap", v.chunks[i-1].start, c.start)
		}
	}
	return nil
}

func (v *reader) sortChunks() {
	slices.SortFunc(v.chunks, func(a, b chunk) int { return cmp.Compare(a.start, b.start) })
}

func (v *reader) addChunk(k key, b []byte) (int, error) {
	c, used, err := v.parseChunk(k, b)
	v.chunks = append(v.chunks, c)
	return used, err
}

// parseChunk reads a chunk and how many bytes it takes. Of several copies of
// the data the first one is used.
func (v *reader) parseChunk(k key, b []byte) (chunk, int, error) {
	const spread = 1<<3 | 1<<6 | 1<<7 | 1<<8 // RAID0, 10, 5 and 6
	if len(b) < chunkHead {
		return chunk{}, 0, fmt.Errorf("a chunk of %d bytes", len(b))
	}
	stripes := int(le.Uint16(b[44:]))
	size := chunkHead + stripes*stripeSize
	if stripes == 0 || size > len(b) {
		return chunk{}, 0, fmt.Errorf("a chunk with %d stripes", stripes)
	}
	if le.Uint64(b[24:])&spread != 0 && stripes > 1 {
		return chunk{}, 0, fmt.Errorf("data that is spread over devices is not supported")
	}
	c := chunk{start: k.offset, length: le.Uint64(b), offset: int64(le.Uint64(b[chunkHead+8:]))}
	if device := le.Uint64(b[chunkHead:]); device != v.device {
		return chunk{}, 0, fmt.Errorf("a chunk on device %d", device)
	}
	if c.offset < 0 || c.start+c.length < c.start || c.length > uint64(v.size) || c.offset > v.size-int64(c.length) {
		return chunk{}, 0, fmt.Errorf("the chunk at %d, %d bytes at %d, lies outside of the file system", c.start, c.length, uint64(c.offset))
	}
	return c, size, nil
}

// locate returns where so many bytes at an address are on the device.
func (v *reader) locate(address uint64, length int64) (int64, error) {
	i := sort.Search(len(v.chunks), func(i int) bool { return v.chunks[i].start > address }) - 1
	if i < 0 {
		return 0, fmt.Errorf("nothing is at address %d", address)
	}
	c := v.chunks[i]
	if within := address - c.start; within < c.length && uint64(length) <= c.length-within {
		return c.offset + int64(within), nil
	}
	return 0, fmt.Errorf("%d bytes at address %d are in no chunk", length, address)
}

// walker goes through a tree. Keys grow from item to item, so no node is
// visited twice.
type walker struct {
	v    *reader
	item func(k key, data []byte, offset int64) error
	last key
	any  bool
}

// walk calls item for all items of a tree, in order, with their data, which is
// valid during the call, and where it is on the device.
func (v *reader) walk(root treeRoot, item func(k key, data []byte, offset int64) error) error {
	if root.level > maxLevel {
		return fmt.Errorf("a tree of %d levels", root.level)
	}
	w := &walker{v: v, item: item}
	return w.node(root.at, root.level)
}

func (w *walker) node(address uint64, level byte) error {
	if err := w.v.ctx.Err(); err != nil {
		return err
	}
	at, err := w.v.locate(address, w.v.NodeSize)
	if err != nil {
		return err
	}
	if w.v.left -= w.v.NodeSize; w.v.left < 0 {
		return fmt.Errorf("the trees are larger than any that are read")
	}
	b := make([]byte, w.v.NodeSize)
	if err := content.ReadFull(w.v.r, b, at); err != nil {
		return err
	}
	count := int(le.Uint32(b[96:]))
	if le.Uint64(b[48:]) != address || b[100] != level {
		return fmt.Errorf("there is no node of level %d at address %d", level, address)
	}
	if level == 0 {
		return w.leaf(b, count, at)
	}
	if count > (len(b)-headerSize)/pointerSize {
		return fmt.Errorf("the node at address %d is damaged", address)
	}
	for i := range count {
		p := b[headerSize+i*pointerSize:]
		if w.any && compareKeys(parseKey(p), w.last) <= 0 {
			return fmt.Errorf("the node at address %d is out of order", address)
		}
		if err := w.node(le.Uint64(p[keySize:]), level-1); err != nil {
			return err
		}
	}
	return nil
}

// leaf calls item for the items of a leaf.
func (w *walker) leaf(b []byte, count int, at int64) error {
	if count > (len(b)-headerSize)/itemSize {
		return fmt.Errorf("the leaf at %d is damaged", at)
	}
	room := len(b) - headerSize
	for i := range count {
		p := b[headerSize+i*itemSize:]
		k := parseKey(p)
		offset, size := int64(le.Uint32(p[keySize:])), int64(le.Uint32(p[keySize+4:]))
		if offset+size > int64(room) || w.any && compareKeys(k, w.last) <= 0 {
			return fmt.Errorf("the leaf at %d is damaged or out of order", at)
		}
		w.last, w.any = k, true
		start := headerSize + offset
		if err := w.item(k, b[start:start+size], at+start); err != nil {
			return err
		}
	}
	return nil
}

// readRoots finds the trees of files, and returns the number of the default
// one.
func (v *reader) readRoots() (uint64, error) {
	standard := uint64(topTree)
	err := v.walk(treeRoot{v.root, v.rootLevel}, func(k key, data []byte, _ int64) error {
		switch {
		case k.kind == rootItem && (k.object == topTree || k.object >= firstInode && k.object < 1<<63):
			if len(data) < rootItemEnd {
				return fmt.Errorf("tree %d has a root of %d bytes", k.object, len(data))
			}
			v.trees[k.object] = treeRoot{le.Uint64(data[176:]), data[238]}
		case k.kind == dirItem && k.object == rootTreeRoot:
			return eachName(data, func(location key, name, _ []byte) error {
				if string(name) == "default" {
					standard = location.object
				}
				return nil
			})
		}
		return nil
	})
	return standard, err
}

// eachName calls take for the names in an item of a folder, or the attributes
// in one of attributes, with the value.
func eachName(b []byte, take func(location key, name, value []byte) error) error {
	const head = 30
	for len(b) > 0 {
		if len(b) < head {
			return fmt.Errorf("a damaged list of names")
		}
		value, name := int(le.Uint16(b[25:])), int(le.Uint16(b[27:]))
		end := head + name + value
		if end > len(b) {
			return fmt.Errorf("a damaged list of names")
		}
		if err := take(parseKey(b), b[head:head+name], b[head+name:end]); err != nil {
			return err
		}
		b = b[end:]
	}
	return nil
}
