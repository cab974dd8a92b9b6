package layout

import (
	"fmt"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
)

// maxBytes bounds sizes and places, so that sums of those of a whole table do
// not overflow.
const maxBytes = 1 << 53

// placer is a run of Place.
type placer struct {
	disk  *Disk
	grain int64
	// slots are the partitions that definitions are for, in their order,
	// foreign the others that are on the disk.
	slots, foreign []*slot
	areas          []*area
	// start and end bound the places for partitions, in bytes.
	start, end int64
}

// extent is a partition or the free space behind one.
type extent struct {
	weight   uint32
	min, max int64
	size     int64
	fixed    bool
}

// slot is a partition whose place is looked for.
type slot struct {
	*Partition
	// exists says that the partition is on the disk, fixed that it stays as it
	// is there.
	exists, fixed bool
	// current is the size that the partition has on the disk.
	current       int64
	offset        int64
	size, padding extent
}

// add takes a partition in.
func (p *placer) add(q *Partition) error {
	q.Existing, q.Number, q.Offset, q.Size, q.Padding, q.Dropped, q.IsMerged = nil, 0, 0, 0, 0, false, false
	s := &slot{Partition: q}
	for _, b := range []Bounds{q.Merged, q.Bounds} {
		for _, n := range []int64{b.MinSize, b.MaxSize, b.MinPadding, b.MaxPadding} {
			if n < 0 {
				return fmt.Errorf("%s has a size of %d bytes", q.Name, n)
			}
		}
		if b.MinSize > maxBytes || b.MinPadding > maxBytes {
			return fmt.Errorf("%s needs more space than a disk can have", q.Name)
		}
	}
	p.slots = append(p.slots, s)
	p.limit(s, q.Bounds)
	return nil
}

// limit gives a partition its bounds, whole grains. What is on the disk does not
// shrink, and keeps an odd size if it does not grow.
func (p *placer) limit(s *slot, b Bounds) {
	s.size = extent{weight: b.Weight, min: max(roundUp(b.MinSize, p.grain), SmallestSize, s.current), size: s.current}
	s.size.max = max(roundDown(b.MaxSize, p.grain), s.size.min)
	s.padding = extent{weight: b.PaddingWeight, min: b.MinPadding, max: max(b.MaxPadding, b.MinPadding)}
}

// match finds the partitions that are on the disk: the first of a type is that
// of the first definition for the type, and so on.
func (p *placer) match() error {
	if p.disk.Existing == nil {
		return nil
	}
	if n := p.disk.Existing.SectorSize; n != p.disk.SectorSize {
		return fmt.Errorf("the disk has sectors of %d bytes, its table is for %d", p.disk.SectorSize, n)
	}
	sector := uint64(p.disk.SectorSize)
	for i := range p.disk.Existing.Partitions {
		e := &p.disk.Existing.Partitions[i]
		if e.First > e.Last || e.Last >= maxBytes/sector {
			return fmt.Errorf("partition %d of the table, sectors %d to %d, cannot be", e.Number, e.First, e.Last)
		}
		s := p.firstNew(e)
		if s == nil {
			s = &slot{Partition: &Partition{Type: e.Type}, fixed: true}
			p.foreign = append(p.foreign, s)
		}
		s.exists, s.Existing, s.Number = true, e, e.Number
		s.offset, s.current = int64(e.First*sector), int64((e.Last-e.First+1)*sector)
		p.limit(s, s.Bounds)
	}
	return nil
}

// firstNew is the first partition that an entry of the table may be, or nil.
func (p *placer) firstNew(e *gpt.Partition) *slot {
	for _, s := range p.slots {
		if !s.exists && s.Type == e.Type {
			return s
		}
	}
	return nil
}

// slotOf is the slot of a partition in the list, or nil.
func (p *placer) slotOf(q *Partition) *slot {
	for _, s := range p.slots {
		if s.Partition == q {
			return s
		}
	}
	return nil
}

// merge merges the supplements that are not on the disk into their targets.
func (p *placer) merge() {
	for _, s := range p.slots {
		if s.Target != nil && !s.exists {
			p.setMerged(s, true)
		}
	}
}

// setMerged merges a supplement into its target, or takes it out again.
func (p *placer) setMerged(s *slot, merged bool) {
	target := p.slotOf(s.Target)
	if target == nil {
		return
	}
	s.IsMerged = merged
	if merged {
		p.limit(target, s.Merged)
	} else {
		p.limit(target, target.Bounds)
	}
}

// roundUp rounds up to a multiple of a power of two. n is at most a few times
// maxBytes.
func roundUp(n, to int64) int64 { return (n + to - 1) &^ (to - 1) }

// roundDown rounds down to a multiple of a power of two.
func roundDown(n, to int64) int64 { return n &^ (to - 1) }
