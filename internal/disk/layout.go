package disk

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
)

// grain is what partitions start at and are sized in multiples of, in bytes.
const grain = 4096

// alignment is where the first partition of a disk that is not tiny starts, in
// bytes, and what a disk of automatic size sets aside for that.
const alignment = 1 << 20

// unlimited is the upper bound of a size that has none.
const unlimited = math.MaxInt64

// extent is a partition or the free space behind one, before its size is known.
type extent struct {
	weight   uint32
	min, max int64
	size     int64
	fixed    bool
}

// slot is what the layout has to know about a partition, and what it finds out.
type slot struct {
	part, padding extent
	offset        int64
}

// layout is where everything on a disk is.
type layout struct {
	sectorSize              int
	size                    int64
	firstUsable, lastUsable uint64
	slots                   []slot
}

// makeLayout places partitions of the given bounds one behind the other on a
// disk of size bytes, or on the smallest that they fit on when size is zero.
// Space that is left over goes to partitions and paddings by weight.
func makeLayout(slots []slot, size int64, sectorSize int) (*layout, error) {
	l := &layout{sectorSize: sectorSize, size: size, slots: slots}
	sector := int64(sectorSize)
	tail := int64(gpt.TailSectors(sectorSize)) * sector
	needed := alignment + tail
	for i := range slots {
		for _, n := range []int64{slots[i].part.min, slots[i].padding.min} {
			if n > unlimited-needed {
				return nil, fmt.Errorf("the partitions need more space than a disk can have")
			}
			needed += n
		}
	}
	if l.size == 0 {
		l.size = needed
	}
	if l.size%sector != 0 {
		return nil, fmt.Errorf("a disk of %d bytes is no multiple of its sectors of %d bytes", l.size, sectorSize)
	}

	// Like libfdisk: a disk of four times the alignment or less cannot afford it.
	l.firstUsable = uint64(alignment / sector)
	if l.size <= 4*alignment {
		l.firstUsable = gpt.HeadSectors(sectorSize)
	}
	start := roundUp(int64(l.firstUsable)*sector, grain)
	end := roundDown(l.size-tail, grain)
	l.lastUsable = uint64((l.size-tail)/sector) - 1
	if err := distribute(slots, end-start); err != nil {
		return nil, err
	}
	for i := range slots {
		slots[i].offset = start
		start += slots[i].part.size + slots[i].padding.size
	}
	return l, nil
}

// distribute sets the sizes of the partitions and paddings so that they fill
// span bytes as far as their bounds allow: what its share would make too small
// gets its lower bound, then what it would make too large its upper one, and
// the others share the rest.
func distribute(slots []slot, span int64) error {
	var extents []*extent
	var needed int64
	for i := range slots {
		extents = append(extents, &slots[i].part, &slots[i].padding)
		needed += slots[i].part.min + slots[i].padding.min
	}
	if needed > span {
		return fmt.Errorf("the partitions need %d bytes, the disk has room for %d", needed, max(span, 0))
	}
	weights := uint64(0)
	for _, e := range extents {
		e.fixed = false
		weights += uint64(e.weight)
	}
	fix := func(e *extent, size int64) {
		e.size, e.fixed = size, true
		span -= size
		weights -= uint64(e.weight)
	}
	for again := true; again; {
		again = false
		for _, e := range extents {
			if !e.fixed && share(span, e.weight, weights) < e.min {
				fix(e, e.min)
				again = true
			}
		}
	}
	for again := true; again; {
		again = false
		for _, e := range extents {
			if !e.fixed && share(span, e.weight, weights) > e.max {
				fix(e, e.max)
				again = true
			}
		}
	}
	for _, e := range extents {
		if !e.fixed {
			n := roundDown(share(span, e.weight, weights), grain)
			fix(e, min(max(n, e.min), e.max))
		}
	}
	return nil
}

// share is the part of span that a weight among weights stands for.
func share(span int64, weight uint32, weights uint64) int64 {
	if weights == 0 || weight == 0 || span <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(span), uint64(weight))
	q, _ := bits.Div64(hi, lo, weights)
	return int64(q)
}

func roundUp(n, to int64) int64   { return (n + to - 1) / to * to }
func roundDown(n, to int64) int64 { return n / to * to }
