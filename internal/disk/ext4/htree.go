package ext4

import (
	"cmp"
	"math/bits"
	"slices"
)

const (
	flagIndex = 0x1000

	compatIndex  = 0x20
	halfMD4      = 1 // the hash, in the superblock and in folders ...
	unsignedMD4  = 4 // ... and there with the bytes of names unsigned
	flagUnsigned = 2 // which is said here in the superblock

	// indexRoot is where the entries of the index begin in its first block,
	// behind the two names that every folder has and 8 bytes about the index;
	// indexNode is the same in other blocks.
	indexRoot, indexNode = 32, 8
	indexEntry           = 8
	indexTail            = 8
)

// indexed reports whether folders of more than one block get an index.
func (v *volume) indexed() bool {
	return le.Uint32(v.super[92:])&compatIndex != 0 && v.super[252] == halfMD4
}

// reference is an entry of the index: the names from a hash on are in, or
// below, a block of the folder.
type reference struct{ hash, block uint32 }

// encodeIndexed encodes a folder with a tree of hashes, in which the kernel
// finds a name without reading all of them: its first block leads to leaves, or
// to nodes that do. It returns nil if the tree would need more levels.
func (n *inode) encodeIndexed(v *volume) []byte {
	leaves, refs := n.hashedLeaves(v)
	perRoot := (int(v.blockSize) - indexRoot - indexTail) / indexEntry
	perNode := (int(v.blockSize) - indexNode - indexTail) / indexEntry
	nodes := 0
	if len(refs) > perRoot {
		nodes = (len(refs) + perNode - 1) / perNode
	}
	if nodes > perRoot {
		return nil
	}
	for i := range refs {
		refs[i].block += uint32(1 + nodes)
	}
	data := make([]byte, v.blockSize, (int64(1+nodes)+int64(len(refs)))*v.blockSize)
	top := refs
	if nodes > 0 {
		top = nil
		for node := range slices.Chunk(refs, perNode) {
			top = append(top, reference{node[0].hash, uint32(1 + len(top))})
			block := make([]byte, v.blockSize)
			le.PutUint16(block[4:], uint16(v.blockSize))
			n.putIndex(v, block, indexNode, node)
			data = append(data, block...)
		}
	}
	n.putIndexRoot(v, data[:v.blockSize], top, nodes > 0)
	return append(data, leaves...)
}

// putIndexRoot writes the first block of an indexed folder.
func (n *inode) putIndexRoot(v *volume, block []byte, refs []reference, deep bool) {
	const info, infoSize = 24, 8
	putName(block, child{".", n}, 12)
	putName(block[12:], child{"..", n.parent}, int(v.blockSize)-12)
	block[info+4], block[info+5] = halfMD4, infoSize
	if le.Uint32(v.super[352:])&flagUnsigned != 0 {
		block[info+4] = unsignedMD4
	}
	if deep {
		block[info+6] = 1
	}
	n.putIndex(v, block, indexRoot, refs)
}

// putIndex writes the entries of a block of the index, of which the first one
// has the room of its hash for how many there are and could be.
func (n *inode) putIndex(v *volume, block []byte, at int, refs []reference) {
	limit := (len(block) - at) / indexEntry
	if v.checksums {
		limit = (len(block) - at - indexTail) / indexEntry
	}
	for i, r := range refs {
		le.PutUint32(block[at+i*indexEntry:], r.hash)
		le.PutUint32(block[at+i*indexEntry+4:], r.block)
	}
	le.PutUint16(block[at:], uint16(limit))
	le.PutUint16(block[at+2:], uint16(len(refs)))
	if v.checksums {
		tail := block[at+limit*indexEntry:]
		sum := checksum(n.seed(v), block[:at+len(refs)*indexEntry])
		le.PutUint32(tail[4:], checksum(sum, make([]byte, indexTail)))
	}
}

// hashedLeaves encodes the names in the order of their hashes, and says with
// which hash each block begins.
func (n *inode) hashedLeaves(v *volume) ([]byte, []reference) {
	type hashed struct {
		hash uint32
		child
	}
	names := make([]hashed, len(n.children))
	for i, c := range n.children {
		names[i] = hashed{v.hash(c.name), c}
	}
	slices.SortFunc(names, func(a, b hashed) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.name, b.name))
	})
	sorted := make([]child, len(names))
	for i, h := range names {
		sorted[i] = h.child
	}
	var data []byte
	var refs []reference
	for done := 0; done < len(sorted); {
		block, count := n.encodeNames(v, sorted[done:])
		ref := reference{names[done].hash, uint32(len(refs))}
		if done > 0 && names[done-1].hash == ref.hash {
			ref.hash |= 1 // the block before has names with this hash too
		}
		data = append(data, block...)
		refs = append(refs, ref)
		done += count
	}
	return data, refs
}

// hash is the hash of a name, an even number: 32 bits of a shortened MD4 that
// begins with the seed in the superblock.
func (v *volume) hash(name string) uint32 {
	var state [4]uint32
	for i := range state {
		state[i] = le.Uint32(v.super[236+4*i:])
	}
	unsigned := le.Uint32(v.super[352:])&flagUnsigned != 0
	for rest := name; len(rest) > 0; rest = rest[min(32, len(rest)):] {
		halfMD4Block(&state, hashWords(rest, unsigned))
	}
	const end = 0xfffffffe // is not a hash, but stands for the end
	h := state[1] &^ 1
	if h == end {
		h = end - 2
	}
	return h
}

// hashWords makes the next 32 bytes of a name into words, filled up with the
// length of the name from there on.
func hashWords(name string, unsigned bool) (words [8]uint32) {
	pad := uint32(len(name)) | uint32(len(name))<<8
	pad |= pad << 16
	for i := range words {
		words[i] = pad
		for j := 4 * i; j < min(4*i+4, len(name)); j++ {
			c := uint32(name[j])
			if !unsigned {
				c = uint32(int8(name[j]))
			}
			words[i] = c + words[i]<<8
		}
	}
	return words
}

// halfMD4Round is a round of the hash: which words it takes, a constant added
// to each, and how far it rotates.
type halfMD4Round struct {
	order [8]int
	add   uint32
	turn  [4]int
	mix   func(x, y, z uint32) uint32
}

var halfMD4Rounds = [3]halfMD4Round{
	{[8]int{0, 1, 2, 3, 4, 5, 6, 7}, 0, [4]int{3, 7, 11, 19}, func(x, y, z uint32) uint32 { return z ^ x&(y^z) }},
	{[8]int{1, 3, 5, 7, 0, 2, 4, 6}, 0x5a827999, [4]int{3, 5, 9, 13}, func(x, y, z uint32) uint32 { return x&y + (x^y)&z }},
	{[8]int{3, 7, 2, 6, 1, 5, 0, 4}, 0x6ed9eba1, [4]int{3, 9, 11, 15}, func(x, y, z uint32) uint32 { return x ^ y ^ z }},
}

// halfMD4Block adds 32 bytes to a hash.
func halfMD4Block(state *[4]uint32, words [8]uint32) {
	s := *state
	for _, r := range halfMD4Rounds {
		for i, word := range r.order {
			// The four words of the state take turns, backwards.
			a, b, c, d := (8-i)%4, (9-i)%4, (10-i)%4, (11-i)%4
			s[a] = bits.RotateLeft32(s[a]+r.mix(s[b], s[c], s[d])+words[word]+r.add, r.turn[i%4])
		}
	}
	for i := range state {
		state[i] += s[i]
	}
}
