package erofs

import (
	"encoding/binary"
	"io"
)

// A compressed file is cut into logical clusters of a block each, of which the
// index says, in an entry of 14 or 16 bits, whether a compressed unit begins
// there. Entries come in packs with the number of a block at their end: pairs
// up to a boundary of 32 bytes, then packs of 16, then pairs.
const (
	indexHeader = 8

	adviseShort      = 1 << 0 // there are packs of 16
	adviseBigFirst   = 1 << 1 // units may have many blocks
	adviseBigSecond  = 1 << 2 // units of the second algorithm, too
	adviseTail       = 1 << 3 // the last unit is behind the index
	adviseInterlaced = 1 << 4 // plain units start within their block
	adviseFragment   = 1 << 5 // the last unit is in the packed inode

	clusterPlain     = 0 // a unit that is not compressed begins
	clusterHead      = 1 // a compressed unit begins
	clusterInner     = 2 // no unit begins
	clusterSecond    = 3 // a unit of the second algorithm begins
	clusterValueBits = 12
	// blockCount marks an inner cluster's value as the size of its unit.
	blockCount = 1 << 11
	// wholeFragment marks, in the header, that all content is a fragment.
	wholeFragment = 1 << 63
)

// indexStart is where the entries start, from the start of the inode.
func (n *node) indexStart() int64 { return (n.attributesEnd()+7)&^7 + indexHeader }

// indexPacks says how many of the clusters are in pairs first, in packs of 16
// then, and in pairs last. Start is where the entries start.
func indexPacks(start, clusters int64) (first, short, last int64) {
	first = min((-start&31)/4, clusters)
	short = (clusters - first) &^ 15
	return first, short, clusters - first - short
}

// indexSize is the size of the entries in bytes.
func (n *node) indexSize() int64 {
	if n.fragment {
		return 0
	}
	first, short, last := indexPacks(n.indexStart(), (n.size+BlockSize-1)/BlockSize)
	return (first+1)/2*8 + short*2 + (last+1)/2*8
}

// indexHead encodes what precedes the entries.
func (n *node) indexHead(algorithm byte) []byte {
	b := make([]byte, indexHeader)
	if n.fragment {
		binary.LittleEndian.PutUint64(b, uint64(n.position)|wholeFragment)
		return b
	}
	binary.LittleEndian.PutUint16(b[4:], adviseShort|adviseBigFirst|adviseBigSecond)
	b[6] = algorithm
	return b
}

// cluster is one logical cluster.
type cluster struct {
	kind byte
	// before and after are the distances, in clusters, to where the unit
	// begins and to where it ends.
	before, after uint16
	// blocks is the size of the unit, and block, where it is.
	blocks uint16
	block  uint32
}

// clusters calls yield for each logical cluster in turn.
func (n *node) clusters(yield func(cluster) bool) {
	block := n.block
	for _, c := range n.chunks {
		for i := range c.clusters {
			x := cluster{clusterInner, i, c.clusters - i, c.blocks, block}
			switch {
			case c.blocks == c.clusters:
				x = cluster{clusterPlain, 0, 1, 1, block + uint32(i)}
			case i == 0:
				x.kind = clusterHead
			}
			if !yield(x) {
				return
			}
		}
		block += uint32(c.blocks)
	}
}

// writeIndex writes the entries to w, at an offset, a piece at a time.
func (n *node) writeIndex(w io.WriterAt, off int64, buf []byte) error {
	first, short, _ := indexPacks(n.indexStart(), (n.size+BlockSize-1)/BlockSize)
	out := buf[:0]
	pack := make([]cluster, 0, 16)
	done := int64(0)
	for c := range n.clusters {
		pack = append(pack, c)
		size, bits := 2, 16
		if done >= first && done < first+short {
			size, bits = 16, 14
		}
		if len(pack) < size {
			continue
		}
		out = appendPack(out, pack, bits)
		done += int64(len(pack))
		pack = pack[:0]
		if len(out)+32 > cap(buf) {
			if _, err := w.WriteAt(out, off); err != nil {
				return err
			}
			off += int64(len(out))
			out = buf[:0]
		}
	}
	if len(pack) > 0 {
		out = appendPack(out, append(pack, cluster{kind: clusterInner}), 16)
	}
	_, err := w.WriteAt(out, off)
	return err
}

// appendPack appends the entries of a pack, of so many bits each, and the block
// that the first unit in it would have if all of the pack's units lay behind
// each other from there on.
func appendPack(b []byte, pack []cluster, bits int) []byte {
	size := len(pack)*bits/8 + 4
	b = append(b, make([]byte, size)...)
	out := b[len(b)-size:]
	base, found := uint32(0), false
	for i, c := range pack {
		value := uint32(0)
		switch {
		case c.kind != clusterInner:
			if !found {
				base, found = c.block, true
				if i > 0 && pack[0].before == 1 {
					// The size of the unit that ends here is in this pack.
					base -= uint32(pack[0].blocks)
				}
			}
		case c.before == 1:
			value = uint32(c.blocks) | blockCount
		case i == len(pack)-1:
			value = uint32(c.after)
		default:
			value = uint32(c.before)
		}
		value |= uint32(c.kind) << clusterValueBits
		at := i * bits
		var word [4]byte
		copy(word[:], out[at/8:])
		binary.LittleEndian.PutUint32(word[:], binary.LittleEndian.Uint32(word[:])|value<<(at%8))
		copy(out[at/8:], word[:])
	}
	binary.LittleEndian.PutUint32(out[size-4:], base)
	return b
}
