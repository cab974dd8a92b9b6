package ext4

import "math/bits"

// Flags of a block group.
const (
	inodeUninit = 1
	blockUninit = 2
	tableZeroed = 4
)

// group is a block group.
type group struct {
	desc        []byte
	blockBitmap []byte
	inodeBitmap []byte
}

// at reads a block number that is split over the two halves of a descriptor:
// 0 is that of the block bitmap, 4 of the inode bitmap, 8 of the inode table.
func (g *group) at(field int) int64 {
	n := int64(le.Uint32(g.desc[field:]))
	if len(g.desc) == descSize {
		n |= int64(le.Uint32(g.desc[32+field:])) << 32
	}
	return n
}

func (g *group) flags() uint16 { return le.Uint16(g.desc[18:]) }

// count and setCount access the counters of a descriptor by the offsets of
// their two halves.
func (g *group) count(lo, hi int) int64 {
	n := int64(le.Uint16(g.desc[lo:]))
	if len(g.desc) == descSize {
		n |= int64(le.Uint16(g.desc[hi:])) << 16
	}
	return n
}

func (g *group) setCount(lo, hi int, n int64) {
	g.put16(lo, hi, uint32(n))
}

// put16 writes the halves of a number to two places, the second of which small
// descriptors do not have.
func (g *group) put16(lo, hi int, n uint32) {
	le.PutUint16(g.desc[lo:], uint16(n))
	if len(g.desc) == descSize {
		le.PutUint16(g.desc[hi:], uint16(n>>16))
	}
}

// initBlockBitmap marks what is in use in a group whose bitmap is not on the
// disk: the backup of the superblock and the descriptors, and whatever the
// descriptors place there.
func (v *volume) initBlockBitmap(number int64) {
	g := v.groups[number]
	first := v.firstBlock + number*v.blocksPerGroup
	if hasBackup(number) {
		table := (int64(len(v.groups))*v.descSize + v.blockSize - 1) / v.blockSize
		fill(g.blockBitmap, 0, min(1+table+int64(le.Uint16(v.super[206:])), v.blocksPerGroup))
	}
	mark := func(start, count int64) {
		from, to := max(start, first), min(start+count, first+v.blocksPerGroup)
		if from < to {
			fill(g.blockBitmap, from-first, to-first)
		}
	}
	tableBlocks := roundUp(v.inodesPerGroup*v.inodeSize, v.blockSize) / v.blockSize
	for _, other := range v.groups {
		mark(other.at(0), 1)
		mark(other.at(4), 1)
		mark(other.at(8), tableBlocks)
	}
	fill(g.blockBitmap, min(v.blocksPerGroup, v.blocks-first), 8*v.blockSize)
}

// hasBackup says whether a group starts with a copy of the superblock: 0, 1
// and the powers of 3, 5 and 7.
func hasBackup(group int64) bool {
	if group <= 1 {
		return true
	}
	for _, base := range []int64{3, 5, 7} {
		n := base
		for n < group {
			n *= base
		}
		if n == group {
			return true
		}
	}
	return false
}

// fill sets the bits from up to, but not including, to.
func fill(bitmap []byte, from, to int64) {
	for i := from; i < to; i++ {
		bitmap[i/8] |= 1 << (i % 8)
	}
}

// clearBit finds the first bit that is not set, from a position on.
func clearBit(bitmap []byte, from, limit int64) (int64, bool) {
	for i := from; i < limit; {
		b := bitmap[i/8] >> (i % 8)
		n := int64(bits.TrailingZeros8(^b))
		if n < 8-i%8 {
			return i + n, i+n < limit
		}
		i += 8 - i%8
	}
	return 0, false
}
