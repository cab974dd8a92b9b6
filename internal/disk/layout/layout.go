// Package layout decides where the partitions of a disk go and how large they
// are, as systemd-repart(8) does. It knows numbers only.
package layout

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
)

// DefaultGrain is what partitions start at and are sized in multiples of, in
// bytes, unless something else is asked for.
const DefaultGrain = 4096

// alignment is where the first partition of a disk that is not tiny starts, in
// bytes, and what a disk of automatic size sets aside for that.
const alignment = 1 << 20

// Unlimited is the upper bound of a size that has none.
const Unlimited = math.MaxInt64

// Partition is what the layout has to know about a partition, and what it
// finds out. All sizes are in bytes.
type Partition struct {
	// Name stands for the partition in errors.
	Name string
	// Priority decides who is dropped when there is no room: the highest
	// first, those of zero and below never.
	Priority int32
	// Weight and PaddingWeight are the shares in space that is left over.
	Weight, PaddingWeight uint32
	// MinSize and MaxSize bound the size, MinPadding and MaxPadding that of
	// the free space behind it. Use Unlimited for an upper bound that there
	// is not.
	MinSize, MaxSize       int64
	MinPadding, MaxPadding int64

	// Offset and Size say where the partition is, Padding how much behind it
	// stays free. Place sets them.
	Offset, Size, Padding int64
	// Dropped says that there is no room for the partition.
	Dropped bool
}

// Disk is what partitions are placed on.
type Disk struct {
	// Size is that of the disk in bytes; with zero, Place sets it to the
	// smallest that the partitions fit on.
	Size int64
	// SectorSize is in bytes; zero means 512.
	SectorSize int
	// Grain is what partitions start at and are sized in multiples of, in
	// bytes; zero means DefaultGrain.
	Grain int64

	// FirstUsable and LastUsable bound the sectors for partitions. Place sets
	// them.
	FirstUsable, LastUsable uint64
}

// extent is a partition or the free space behind one, before its size is known.
type extent struct {
	weight   uint32
	min, max int64
	size     int64
	fixed    bool
}

// Place places partitions one behind the other. Space that is left over goes
// to partitions and paddings by weight.
func (d *Disk) Place(parts []*Partition) error {
	if d.SectorSize == 0 {
		d.SectorSize = 512
	}
	if d.Grain == 0 {
		d.Grain = DefaultGrain
	}
	sector := int64(d.SectorSize)
	tail := int64(gpt.TailSectors(d.SectorSize)) * sector
	needed := alignment + tail
	for _, p := range parts {
		for _, n := range []int64{p.MinSize, p.MinPadding} {
			if n > Unlimited-needed {
				return fmt.Errorf("the partitions need more space than a disk can have")
			}
			needed += n
		}
	}
	if d.Size == 0 {
		d.Size = needed
	}
	if d.Size%sector != 0 {
		return fmt.Errorf("a disk of %d bytes is no multiple of its sectors of %d bytes", d.Size, d.SectorSize)
	}

	// Like libfdisk: a disk of four times the alignment or less cannot afford it.
	d.FirstUsable = uint64(alignment / sector)
	if d.Size <= 4*alignment {
		d.FirstUsable = gpt.HeadSectors(d.SectorSize)
	}
	start := roundUp(int64(d.FirstUsable)*sector, d.Grain)
	end := roundDown(d.Size-tail, d.Grain)
	d.LastUsable = uint64((d.Size-tail)/sector) - 1
	if err := d.distribute(parts, end-start); err != nil {
		return err
	}
	for _, p := range parts {
		p.Offset = start
		start += p.Size + p.Padding
	}
	return nil
}

// distribute sets the sizes of the partitions and paddings so that they fill
// span bytes as far as their bounds allow: what its share would make too small
// gets its lower bound, then what it would make too large its upper one, and
// the others share the rest.
func (d *Disk) distribute(parts []*Partition, span int64) error {
	var extents []*extent
	var needed int64
	for _, p := range parts {
		extents = append(extents,
			&extent{weight: p.Weight, min: p.MinSize, max: p.MaxSize},
			&extent{weight: p.PaddingWeight, min: p.MinPadding, max: p.MaxPadding})
		needed += p.MinSize + p.MinPadding
	}
	if needed > span {
		return fmt.Errorf("the partitions need %d bytes, the disk has room for %d", needed, max(span, 0))
	}
	weights := uint64(0)
	for _, e := range extents {
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
			n := roundDown(share(span, e.weight, weights), d.Grain)
			fix(e, min(max(n, e.min), e.max))
		}
	}
	for i, p := range parts {
		p.Size, p.Padding = extents[2*i].size, extents[2*i+1].size
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
