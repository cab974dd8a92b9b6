package btrfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	superOffset = 64 << 10
	superSize   = 4096
	magic       = "_BHRfS_M"

	headerSize = 101 // of a node
	itemSize   = 25  // of an item's place in a leaf
	keySize    = 17
	ptrSize    = 33 // of a child in an inner node
	maxLevel   = 8

	chunkSize  = 48 // without its stripes
	stripeSize = 32
	sysArray   = 811
	maxSys     = 2048
	// maxChunks is more than mkfs.btrfs makes, one for each gigabyte or so.
	maxChunks = 1 << 20

	// profileDup is the profile of chunks of which the device has two copies,
	// anyProfile the bits of all profiles but the single one.
	profileDup = 1 << 5
	anyProfile = 0xff<<3 | 0x7<<9
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// device is what holds a file system: a file, or memory in tests.
type device interface {
	io.ReaderAt
	io.WriterAt
}

// volume is an open file system on one device.
type volume struct {
	f        device
	size     int64
	nodeSize int64
	checksum uint16
	root     pointer
	chunks   []chunk
	// visits is how many nodes may still be read, so that a loop ends.
	visits int64
}

// pointer leads to a node.
type pointer struct {
	logical int64
	level   byte
}

// chunk is where a range of logical addresses is on the device.
type chunk struct {
	start, length int64
	// copies are the places on the device.
	copies []int64
}

// openVolume reads the superblock and where everything is.
func openVolume(f device, size int64) (*volume, error) {
	if size < superOffset+superSize {
		return nil, fmt.Errorf("there is no btrfs in %d bytes", size)
	}
	super := make([]byte, superSize)
	if _, err := f.ReadAt(super, superOffset); err != nil {
		return nil, err
	}
	v := &volume{
		f: f, size: size, nodeSize: int64(le.Uint32(super[148:])), checksum: le.Uint16(super[196:]),
		root: pointer{int64(le.Uint64(super[80:])), super[198]},
	}
	switch {
	case string(super[64:72]) != magic:
		return nil, fmt.Errorf("there is no btrfs")
	case v.nodeSize < 4096 || v.nodeSize > 64<<10 || v.nodeSize&(v.nodeSize-1) != 0:
		return nil, fmt.Errorf("nodes of %d bytes", v.nodeSize)
	case le.Uint64(super[136:]) != 1:
		return nil, fmt.Errorf("it is on %d devices", le.Uint64(super[136:]))
	}
	if sum, err := v.sum(super[32:]); err != nil {
		return nil, err
	} else if !bytes.Equal(sum, super[:len(sum)]) {
		return nil, fmt.Errorf("the checksum of the superblock is wrong")
	}
	// A node of the chunk tree is read twice, one of the others at most three
	// times.
	v.visits = 4 * (size/v.nodeSize + 1)
	length := int(le.Uint32(super[160:]))
	if length > maxSys {
		return nil, fmt.Errorf("%d bytes of system chunks", length)
	}
	if err := v.systemChunks(super[sysArray : sysArray+length]); err != nil {
		return nil, err
	}
	chunkRoot := pointer{int64(le.Uint64(super[88:])), super[199]}
	err := v.walk(chunkRoot, func(n *node) error {
		for i := range n.items {
			if n.key(i).kind == kindChunk {
				if err := v.addChunk(n.key(i), n.data(i)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return v, err
}

// systemChunks reads the chunks that the chunk tree is in: keys, each with its
// item.
func (v *volume) systemChunks(b []byte) error {
	for len(b) > 0 {
		if len(b) < keySize+chunkSize {
			return fmt.Errorf("the list of system chunks ends too early")
		}
		key := readKey(b)
		b = b[keySize:]
		length := chunkSize + stripeSize*int(le.Uint16(b[44:]))
		if length > len(b) {
			return fmt.Errorf("the list of system chunks ends too early")
		}
		if err := v.addChunk(key, b[:length]); err != nil {
			return err
		}
		b = b[length:]
	}
	return nil
}

func (v *volume) addChunk(k key, b []byte) error {
	if len(b) < chunkSize || len(b) < chunkSize+stripeSize*int(le.Uint16(b[44:])) || len(v.chunks) >= maxChunks {
		return fmt.Errorf("invalid chunk at %d", k.offset)
	}
	if profile := le.Uint64(b[24:]) & anyProfile; profile != 0 && profile != profileDup {
		return fmt.Errorf("chunk with the profile %#x: only single and dup are supported", profile)
	}
	c := chunk{start: int64(k.offset), length: int64(le.Uint64(b))}
	if c.start < 0 || c.length <= 0 || c.length > v.size {
		return fmt.Errorf("chunk of %d bytes at %d", c.length, c.start)
	}
	for s := b[chunkSize:]; len(s) >= stripeSize; s = s[stripeSize:] {
		place := int64(le.Uint64(s[8:]))
		if place < 0 || place > v.size-c.length {
			return fmt.Errorf("chunk of %d bytes at %d of a device of %d", c.length, place, v.size)
		}
		c.copies = append(c.copies, place)
	}
	if len(c.copies) == 0 {
		return fmt.Errorf("chunk without a place")
	}
	v.chunks = append(v.chunks, c)
	return nil
}

// places are where the copies of a node are on the device.
func (v *volume) places(logical int64) ([]int64, error) {
	for _, c := range v.chunks {
		if at := logical - c.start; at >= 0 && at <= c.length-v.nodeSize {
			var places []int64
			for _, copy := range c.copies {
				places = append(places, copy+at)
			}
			return places, nil
		}
	}
	return nil, fmt.Errorf("a node at %d, where nothing is", logical)
}

// sum is the checksum of a block without the room for it.
func (v *volume) sum(b []byte) ([]byte, error) {
	switch v.checksum {
	case 0:
		return le.AppendUint32(nil, crc32.Checksum(b, castagnoli)), nil
	case 2:
		s := sha256.Sum256(b)
		return s[:], nil
	}
	return nil, fmt.Errorf("checksums other than crc32c and sha256 are not supported")
}
