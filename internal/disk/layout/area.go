package layout

import (
	"cmp"
	"slices"
)

// area is free space, whole grains of it.
type area struct {
	// before is the partition that it follows, or nil.
	before *slot
	// start and end are in bytes. Behind a partition that ends within the last
	// grain before the next, end is before start.
	start, end int64
	// slots are the partitions that go there, in this order.
	slots []*slot
}

// follows reports whether the area follows a partition that may grow into it.
func (a *area) follows() bool { return a.before != nil && !a.before.fixed }

// charge is what a new partition takes at least of an area.
func (p *placer) charge(s *slot) int64 {
	return roundUp(s.size.min+s.padding.min, p.grain)
}

// leastEnd is where the next partition may start behind one that is on the disk
// when that has grown as far as it has to.
func (p *placer) leastEnd(s *slot) int64 {
	return roundUp(s.offset+max(s.size.min, s.current)+s.padding.min, p.grain)
}

// findAreas finds the free space: behind each partition in the order of the
// table, and at the start of the disk.
func (p *placer) findAreas() {
	var there []*slot
	for _, s := range slices.Concat(p.slots, p.foreign) {
		if s.exists {
			there = append(there, s)
		}
	}
	slices.SortFunc(there, func(a, b *slot) int { return cmp.Compare(a.offset, b.offset) })
	first := &area{start: p.start, end: p.end}
	for i, s := range there {
		if i == 0 {
			first.end = roundDown(s.offset, p.grain)
		}
		a := &area{before: s, start: max(p.start, roundUp(s.offset+s.current, p.grain)), end: p.end}
		if i+1 < len(there) {
			a.end = roundDown(there[i+1].offset, p.grain)
		}
		p.areas = append(p.areas, a)
	}
	slices.SortFunc(p.areas, func(a, b *area) int { return cmp.Compare(a.before.Number, b.before.Number) })
	if first.end > first.start {
		p.areas = append(p.areas, first)
	}
}

// canGrow reports whether the partition before an area can grow as far as it has
// to: what that takes beyond its own end, up to a whole grain, has to be there in
// whole grains.
func (p *placer) canGrow(a *area) bool {
	return !a.follows() || p.leastEnd(a.before)-a.before.offset-a.before.current <= max(0, a.end-a.start)
}

// room is what an area has for new partitions beyond those that are in it.
func (p *placer) room(a *area) int64 {
	n := max(0, a.end-a.start)
	if a.follows() {
		n = a.end - p.leastEnd(a.before)
	}
	for _, s := range a.slots {
		n -= p.charge(s)
	}
	return n
}

// allocate puts each new partition into the smallest area that has room for it,
// and reports whether there is one for all.
func (p *placer) allocate() bool {
	for _, a := range p.areas {
		a.slots = nil
		if !p.canGrow(a) {
			return false
		}
	}
	// Of areas with the same room the one that was first before stays first.
	slices.SortStableFunc(p.areas, func(a, b *area) int { return cmp.Compare(p.room(a), p.room(b)) })
	for _, s := range p.slots {
		if s.exists || s.Dropped || s.IsMerged {
			continue
		}
		i := slices.IndexFunc(p.areas, func(a *area) bool { return p.room(a) >= p.charge(s) })
		if i < 0 {
			return false
		}
		p.areas[i].slots = append(p.areas[i].slots, s)
	}
	return true
}

// fill gives the partitions of an area, and the one that it follows, their
// sizes, and the new ones their places.
func (p *placer) fill(a *area) {
	var extents []*extent
	span := a.end - a.start
	if s := a.before; s != nil {
		span = a.end - s.offset
		if s.fixed {
			span -= roundUp(s.current, p.grain)
		} else {
			extents = append(extents, &s.size, &s.padding)
		}
	}
	for _, s := range a.slots {
		extents = append(extents, &s.size, &s.padding)
	}
	distribute(extents, span, p.grain)
	at := a.start
	if s := a.before; a.follows() {
		at = roundUp(s.offset+s.size.size+s.padding.size, p.grain)
	}
	for _, s := range a.slots {
		s.offset = at
		at = roundUp(at+s.size.size+s.padding.size, p.grain)
	}
}
