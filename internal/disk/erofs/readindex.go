package erofs

import (
	"encoding/binary"
	"fmt"
)

// index reads the index of a compressed file from its start to its end.
type index struct {
	in     *inode
	w      *window
	advise uint16
	// algorithms are those of the two kinds of compressed units.
	algorithms [2]byte
	// fragment is where in the packed inode the last unit is, or all content.
	fragment int64
	whole    bool
	// tail is the size of the unit behind the index.
	tail int64

	// start is where the entries start, end where they end.
	start, end int64
	clusters   int64
	// read counts the clusters whose entries were decoded; queue holds those
	// that were not asked for yet.
	read  int64
	queue []entry
	// head is where the next unit begins, and first its entry.
	head  int64
	first entry
	begun bool
}

// entry is what the index says about one cluster.
type entry struct {
	kind byte
	// offset is where a unit begins within the cluster.
	offset int64
	// blocks is the size of the unit in blocks if the entry says it, else 0.
	blocks int64
	// block is where the unit is.
	block uint32
}

// extent is one unit of a compressed file.
type extent struct {
	// start and length say which part of the file it is.
	start, length int64
	// pos and stored say where it is in the image, in bytes.
	pos, stored int64
	// algorithm is what it is compressed with, unless plain is set.
	algorithm byte
	plain     bool
	// turned says that plain content starts within its block and goes on at
	// the block's start.
	turned bool
	// fragment says that it is the part of the packed inode at pos.
	fragment bool
}

// maxUnit is how large a compressed unit may be, in bytes.
const maxUnit = 1 << 20

// index reads the header of an inode's index.
func (in *inode) index() (*index, error) {
	x := &index{in: in, w: in.im.window()}
	pos := (in.data + 7) &^ 7
	b, err := x.w.bytes(pos, indexHeader)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if v := le.Uint64(b); v&wholeFragment != 0 {
		x.whole, x.fragment = true, int64(v&^wholeFragment)
		return x, nil
	}
	x.advise = le.Uint16(b[4:])
	x.algorithms = [2]byte{b[6] & 15, b[6] >> 4}
	x.fragment = int64(le.Uint32(b))
	if x.advise&adviseTail != 0 {
		x.tail = int64(le.Uint16(b[2:]))
	}
	if b[7]&15 != 0 {
		return nil, fmt.Errorf("clusters of 2^%d blocks are not supported", b[7]&15)
	}
	x.clusters = (in.size-1)>>in.im.blockBits + 1
	if x.clusters > in.im.size {
		return nil, corrupt("an index of %d clusters", x.clusters)
	}
	x.start = pos + indexHeader
	if in.layout == layoutFull {
		x.start += 8
		x.end = x.start + 8*x.clusters
		return x, nil
	}
	if in.im.blockBits > 12 {
		return nil, fmt.Errorf("compact indexes with blocks of %d bytes are not supported", in.im.blockSize())
	}
	first, short, last := x.packs()
	x.end = x.start + (first+1)/2*8 + short*2 + (last+1)/2*8
	return x, nil
}

// packs is indexPacks for this index.
func (x *index) packs() (first, short, last int64) {
	first, short, last = indexPacks(x.start, x.clusters)
	if x.advise&adviseShort == 0 {
		return first, 0, short + last
	}
	return first, short, last
}

// big reports whether units of a kind may have many blocks.
func (x *index) big(kind byte) bool {
	if kind == clusterHead {
		return x.advise&adviseBigFirst != 0
	}
	return x.advise&adviseBigSecond != 0
}

// next returns the entry of the next cluster.
func (x *index) next() (entry, error) {
	if len(x.queue) == 0 {
		var err error
		if x.in.layout == layoutFull {
			err = x.decodeFull()
		} else {
			err = x.decodePack()
		}
		if err != nil {
			return entry{}, err
		}
	}
	e := x.queue[0]
	x.queue = x.queue[1:]
	return e, nil
}

// decodeFull decodes an entry of eight bytes.
func (x *index) decodeFull() error {
	b, err := x.w.bytes(x.start+8*x.read, 8)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	e := entry{kind: byte(le.Uint16(b) & 3)}
	if e.kind == clusterInner {
		if n := le.Uint16(b[4:]); n&blockCount != 0 && x.advise&(adviseBigFirst|adviseBigSecond) != 0 {
			e.blocks = int64(n &^ blockCount)
		}
	} else {
		e.offset, e.block = int64(le.Uint16(b[2:])), le.Uint32(b[4:])
	}
	x.queue = append(x.queue[:0], e)
	x.read++
	return nil
}

// decodePack decodes a pack of entries.
func (x *index) decodePack() error {
	first, short, _ := x.packs()
	pos, count, bits := x.start+4*x.read, 2, 16
	switch {
	case x.read < first:
	case x.read < first+short:
		pos, count, bits = x.start+4*first+2*(x.read-first), 16, 14
	default:
		pos = x.start + 4*first + 2*short + 4*(x.read-first-short)
	}
	b, err := x.w.bytes(pos, count*bits/8+4)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	block := le.Uint32(b[len(b)-4:])
	// Both kinds of units are big, or none is.
	big := x.advise&adviseBigFirst != 0
	if !big {
		block++
	}
	x.queue = x.queue[:0]
	for i := range count {
		at := i * bits
		v := le.Uint32(b[min(at/8, len(b)-4):])
		v >>= at - 8*min(at/8, len(b)-4)
		e := entry{kind: byte(v >> clusterValueBits & 3)}
		v &= 1<<clusterValueBits - 1
		switch {
		case e.kind != clusterInner:
			e.offset, e.block = int64(v), block
			block++
		case big && v&blockCount != 0:
			e.blocks = int64(v &^ blockCount)
			block += uint32(e.blocks)
			if i > 0 {
				// The entry before it counted for one.
				block--
			}
		}
		x.queue = append(x.queue, e)
	}
	x.queue = x.queue[:min(int64(count), x.clusters-x.read)]
	x.read += int64(len(x.queue))
	return nil
}

// extent returns the next unit; ok is false behind the last one.
func (x *index) extent() (e extent, ok bool, err error) {
	size, bits := x.in.size, x.in.im.blockBits
	if !x.begun {
		x.begun = true
		if x.first, err = x.next(); err != nil {
			return e, false, err
		}
		if x.first.kind == clusterInner || x.first.offset != 0 {
			return e, false, corrupt("a file does not begin with a unit")
		}
	}
	if x.head >= size {
		return e, false, nil
	}
	first, blocks := x.first, int64(1)
	e = extent{start: x.head, length: size - x.head, plain: first.kind == clusterPlain}
	for inner := 0; ; inner++ {
		cluster := x.read - int64(len(x.queue))
		if cluster == x.clusters {
			x.head = size
			break
		}
		next, err := x.next()
		if err != nil {
			return e, false, err
		}
		if next.kind != clusterInner {
			x.first, x.head = next, cluster<<bits+next.offset
			if x.head <= e.start || next.offset >= 1<<bits {
				return e, false, corrupt("a unit begins at %d, the one before it at %d", x.head, e.start)
			}
			break
		}
		if inner == 0 && x.big(first.kind) {
			blocks = next.blocks
		} else if next.blocks != 0 {
			return e, false, corrupt("a unit of many blocks where there must be none")
		}
	}
	last := x.head >= size
	e.length = min(x.head, size) - e.start
	return e, true, x.locate(&e, first, blocks, last)
}

// locate sets where a unit is.
func (x *index) locate(e *extent, first entry, blocks int64, last bool) error {
	im := x.in.im
	if last && x.advise&adviseFragment != 0 {
		e.fragment, e.pos = true, x.fragment
		if x.in.layout == layoutFull {
			e.pos |= int64(first.block) << 32
		}
		return nil
	}
	e.pos, e.stored = int64(first.block)<<im.blockBits, blocks<<im.blockBits
	e.turned = e.plain && x.advise&adviseInterlaced != 0
	if last && x.advise&adviseTail != 0 {
		e.pos, e.stored, e.turned = x.end, x.tail, false
	}
	if first.kind == clusterSecond {
		e.algorithm = x.algorithms[1]
	} else {
		e.algorithm = x.algorithms[0]
	}
	if e.stored == 0 || e.stored > maxUnit || e.pos > im.size || e.stored > im.size-e.pos {
		return corrupt("a unit of %d bytes at %d", e.stored, e.pos)
	}
	if e.plain && (e.length > e.stored || e.turned && e.length > im.blockSize()) {
		return corrupt("a unit of %d bytes holds %d", e.stored, e.length)
	}
	return nil
}
