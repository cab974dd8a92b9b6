package squashfs

import (
	"fmt"
	"io"
)

// metadataSize is how much a block of metadata holds at most.
const metadataSize = 8 << 10

// metadata reads the block of metadata at a place.
func (v *reader) metadata(at int64) (block, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if b, ok := v.blocks.blocks[at]; ok {
		return b, nil
	}
	var head [2]byte
	if err := v.readAt(head[:], at); err != nil {
		return block{}, err
	}
	const uncompressed = 1 << 15
	size := int(le.Uint16(head[:]))
	packed := size&uncompressed == 0
	size &^= uncompressed
	if size == 0 || size > metadataSize {
		return block{}, fmt.Errorf("a block of metadata of %d bytes", size)
	}
	raw := make([]byte, size)
	if err := v.readAt(raw, at+2); err != nil {
		return block{}, err
	}
	b := block{raw, at + 2 + int64(size)}
	if packed {
		var err error
		if b.data, err = v.unpack(raw, make([]byte, metadataSize)); err != nil {
			return block{}, fmt.Errorf("unpacking the metadata at %d: %w", at, err)
		}
	}
	v.blocks.put(at, b)
	return b, nil
}

// cursor reads metadata that goes on from block to block.
type cursor struct {
	v    *reader
	next int64 // where the next block starts
	rest []byte
}

// cursor starts to read at an offset within the unpacked block at a place.
func (v *reader) cursor(at int64, offset int) (*cursor, error) {
	b, err := v.metadata(at)
	if err != nil {
		return nil, err
	}
	if offset > len(b.data) {
		return nil, fmt.Errorf("metadata at %d of a block of %d bytes", offset, len(b.data))
	}
	return &cursor{v, b.next, b.data[offset:]}, nil
}

// Read implements io.Reader.
func (c *cursor) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		b, err := c.v.metadata(c.next)
		if err != nil {
			return 0, err
		}
		c.rest, c.next = b.data, b.next
		if len(b.data) == 0 {
			return 0, fmt.Errorf("an empty block of metadata at %d", c.next)
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// bytes reads so many bytes; the caller bounds them.
func (c *cursor) bytes(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(c, b)
	return b, err
}

// entry reads an entry of a table that is reached over a list of where its
// blocks are: size bytes, which divide a block.
func (v *reader) entry(table uint64, index int64, size int) ([]byte, error) {
	per := int64(metadataSize / size)
	var pointer [8]byte
	if table > uint64(v.Size) {
		return nil, fmt.Errorf("there is no such table")
	}
	if err := v.readAt(pointer[:], int64(table)+index/per*8); err != nil {
		return nil, err
	}
	c, err := v.cursor(int64(le.Uint64(pointer[:])), int(index%per)*size)
	if err != nil {
		return nil, err
	}
	return c.bytes(size)
}

// readIDs reads the users and groups that inodes name by number.
func (v *reader) readIDs() error {
	for i := range v.ids {
		b, err := v.entry(v.idTable, i, 4)
		if err != nil {
			return err
		}
		v.id = append(v.id, le.Uint32(b))
	}
	return nil
}
