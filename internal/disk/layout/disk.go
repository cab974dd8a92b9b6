package layout

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
)

// Disk is what partitions are placed on.
type Disk struct {
	// Size is that of the disk in bytes.
	Size int64
	// Auto has Place set Size to the smallest that the partitions fit on, if
	// it is not as large already. A Size of zero stands for that, too.
	Auto bool
	// SectorSize is in bytes; zero means 512.
	SectorSize int
	// Grain is what partitions start at and are sized in multiples of, in
	// bytes: a power of two; zero means DefaultGrain, or the size of the
	// sectors if they are larger.
	Grain int64
	// Existing is the table that is on the disk, or nil.
	Existing *gpt.Table

	// FirstUsable and LastUsable bound the sectors for partitions. Place sets
	// them.
	FirstUsable, LastUsable uint64
}

// Place places partitions.
func (d *Disk) Place(parts []*Partition) error {
	d.SectorSize = cmp.Or(d.SectorSize, 512)
	d.Grain = cmp.Or(d.Grain, max(DefaultGrain, int64(d.SectorSize)))
	p := &placer{disk: d}
	for _, q := range parts {
		if err := p.add(q); err != nil {
			return err
		}
	}
	p.match()
	if err := p.size(); err != nil {
		return err
	}
	if err := p.bound(); err != nil {
		return err
	}
	p.findAreas()
	for !p.allocate() {
		if !p.drop() {
			return fmt.Errorf("the partitions need more than the disk has room for")
		}
	}
	for _, a := range p.areas {
		p.grow(a)
	}
	p.place()
	p.number()
	return nil
}

// extent is a partition or the free space behind one.
type extent struct {
	weight   uint32
	min, max int64
	size     int64
	fixed    bool
}

// slot is a partition in the making.
type slot struct {
	*Partition
	existing, isForeign bool
	size, padding       extent
	offset              int64
	area                *area
}

type area struct {
	after             *slot
	grain, start, end int64
	slots             []*slot
}

type placer struct {
	disk       *Disk
	slots      []*slot // in order of definition
	foreign    []*slot
	areas      []*area
	start, end int64
}

func roundUp(n, to int64) int64 {
	if n > Unlimited-to+1 {
		return Unlimited / to * to
	}
	return (n + to - 1) / to * to
}
func roundDown(n, to int64) int64 { return n / to * to }

func (p *placer) add(q *Partition) error {
	g := p.disk.Grain
	s := &slot{Partition: q}
	q.Existing, q.Dropped, q.Offset, q.Size, q.Padding, q.Number = nil, false, 0, 0, 0, 0
	s.size = extent{weight: q.Weight, min: max(roundUp(q.MinSize, g), SmallestSize), max: q.MaxSize}
	if s.size.max != Unlimited {
		s.size.max = max(roundDown(max(q.MaxSize, SmallestSize), g), s.size.min)
	}
	s.padding = extent{weight: q.PaddingWeight, min: q.MinPadding, max: max(q.MaxPadding, q.MinPadding)}
	p.slots = append(p.slots, s)
	return nil
}

// match finds the partitions that exist.
func (p *placer) match() {
	if p.disk.Existing == nil {
		return
	}
	ss := int64(p.disk.SectorSize)
next:
	for i := range p.disk.Existing.Partitions {
		e := &p.disk.Existing.Partitions[i]
		offset, size := int64(e.First)*ss, int64(e.Last-e.First+1)*ss
		for _, s := range p.slots {
			if !s.existing && s.Type == e.Type {
				s.existing, s.Existing = true, e
				s.offset, s.size.size, s.Number = offset, size, e.Number
				s.size.min = max(s.size.min, size)
				s.size.max = max(s.size.min, s.size.max)
				continue next
			}
		}
		p.foreign = append(p.foreign, &slot{existing: true, isForeign: true, offset: offset, size: extent{size: size}, Partition: &Partition{Existing: e, Number: e.Number}})
	}
}

// size determines the size of the disk.
func (p *placer) size() error {
	d := p.disk
	if d.Size != 0 && !d.Auto {
		return nil
	}
	needed := roundUp(alignment, d.Grain) + int64(gpt.TailSectors(d.SectorSize))*int64(d.SectorSize)
	for _, s := range slices.Concat(p.slots, p.foreign) {
		charges := []int64{roundUp(s.size.min, d.Grain), roundUp(s.padding.min, d.Grain)}
		if s.existing {
			charges = []int64{roundUp(s.offset+max(s.size.min, s.size.size)+s.padding.min, d.Grain) - s.offset}
		}
		for _, n := range charges {
			if n > Unlimited-needed {
				return fmt.Errorf("the partitions need more space than a disk can have")
			}
			needed += n
		}
	}
	d.Size = max(d.Size, needed)
	return nil
}

func (p *placer) bound() error {
	d := p.disk
	ss := int64(d.SectorSize)
	tail := int64(gpt.TailSectors(d.SectorSize))
	sectors := d.Size / ss
	if d.Existing != nil {
		d.FirstUsable = d.Existing.FirstUsable
		d.LastUsable = d.Existing.LastUsable
		if d.Existing.Sectors < uint64(sectors) {
			d.LastUsable = uint64(sectors - tail - 1)
		}
	} else {
		d.FirstUsable = uint64(alignment / ss)
		if d.Size <= 4*alignment {
			d.FirstUsable = gpt.HeadSectors(d.SectorSize)
		}
		if sectors < int64(d.FirstUsable)+tail+1 {
			return fmt.Errorf("too small")
		}
		d.LastUsable = uint64(sectors - tail - 1)
	}
	p.start = roundUp(int64(d.FirstUsable)*ss, d.Grain)
	p.end = roundDown(int64(d.LastUsable+1)*ss, d.Grain)
	return nil
}

func (p *placer) findAreas() {
	var there []*slot
	for _, s := range slices.Concat(p.slots, p.foreign) {
		if s.existing {
			there = append(there, s)
		}
	}
	slices.SortFunc(there, func(a, b *slot) int { return cmp.Compare(a.offset, b.offset) })
	start := p.start
	var after *slot
	add := func(end int64) {
		if end > start || after != nil {
			a := &area{grain: p.disk.Grain, after: after, start: start, end: end}
			if after != nil {
				after.area = a
			}
			p.areas = append(p.areas, a)
		}
	}
	for _, s := range there {
		add(roundDown(s.offset, p.disk.Grain))
		start = max(p.start, roundUp(s.offset+s.size.size, p.disk.Grain))
		after = s
	}
	add(p.end)
}

// available is what is free in an area beyond what is allocated there.
func (a *area) available() int64 {
	n := max(0, a.end-a.start)
	if s := a.after; s != nil && !s.isForeign {
		n -= roundUp(s.offset+s.size.min+s.padding.min, a.grain) - s.offset - s.size.size
	}
	for _, s := range a.slots {
		n -= roundUp(s.size.min, a.grain) + roundUp(s.padding.min, a.grain)
	}
	return n
}

func (p *placer) allocate() bool {
	for _, a := range p.areas {
		a.slots = nil
	}
	for _, a := range p.areas {
		if a.available() < 0 {
			return false
		}
	}
	slices.SortStableFunc(p.areas, func(a, b *area) int { return cmp.Compare(a.available(), b.available()) })
	for _, s := range p.slots {
		if s.existing || s.Dropped {
			continue
		}
		s.area = nil
		for _, a := range p.areas {
			if a.available() >= roundUp(s.size.min, a.grain)+roundUp(s.padding.min, a.grain) {
				s.area = a
				a.slots = append(a.slots, s)
				break
			}
		}
		if s.area == nil {
			return false
		}
	}
	return true
}

func (p *placer) drop() bool {
	highest := int32(0)
	for _, s := range p.slots {
		if !s.Dropped && s.Priority > highest {
			highest = s.Priority
		}
	}
	if highest == 0 {
		return false
	}
	for _, s := range p.slots {
		if s.Priority == highest {
			if s.existing {
				s.size.max, s.size.min, s.padding.min, s.isForeign = 0, 0, 0, true
			}
			s.Dropped = true
		}
	}
	return true
}

func (p *placer) grow(a *area) {
	var extents []*extent
	span := a.end - a.start
	if a.after != nil {
		s := a.after
		if s.isForeign {
			span = a.end - s.offset - roundUp(s.size.size, p.disk.Grain)
		} else {
			span = a.end - s.offset
			extents = append(extents, &s.size, &s.padding)
		}
	}
	for _, s := range a.slots {
		extents = append(extents, &s.size, &s.padding)
	}
	distribute(extents, span, p.disk.Grain)
}

func (p *placer) place() {
	for _, a := range p.areas {
		at := a.start
		if s := a.after; s != nil && !s.isForeign {
			at = s.offset + s.size.size + s.padding.size
			at = roundUp(at, p.disk.Grain)
		}
		for _, s := range a.slots {
			s.offset = at
			at += roundUp(s.size.size, p.disk.Grain) + roundUp(s.padding.size, p.disk.Grain)
		}
	}
	for _, s := range p.slots {
		s.Offset, s.Size, s.Padding = s.offset, s.size.size, s.padding.size
	}
}

func (p *placer) number() {
	used := map[int]bool{}
	for _, s := range slices.Concat(p.slots, p.foreign) {
		used[s.Number] = true
	}
	var list []*slot
	for _, a := range p.areas {
		list = append(list, a.slots...)
	}
	for _, s := range list {
		if s.Dropped || s.Number != 0 {
			continue
		}
		n := 1
		for _, o := range slices.Concat(p.slots, p.foreign) {
			if o.existing && o.Existing.Type == s.Type {
				n = max(n, o.Number+1)
			}
		}
		for used[n] {
			n++
		}
		used[n] = true
		s.Number = n
	}
}

// Table is the table.
func (d *Disk) Table(parts []*Partition) *gpt.Table {
	t := &gpt.Table{}
	if d.Existing != nil {
		*t = *d.Existing
		t.Partitions = slices.Clone(t.Partitions)
	}
	ss := int64(d.SectorSize)
	t.SectorSize, t.Sectors, t.FirstUsable, t.LastUsable = d.SectorSize, uint64(d.Size/ss), d.FirstUsable, d.LastUsable
	for _, p := range parts {
		if p.Dropped {
			continue
		}
		q := gpt.Partition{Number: p.Number, Type: p.Type, First: uint64(p.Offset / ss), Last: uint64((p.Offset+p.Size)/ss) - 1}
		if p.Existing != nil {
			for i := range t.Partitions {
				if t.Partitions[i].Number == p.Number {
					t.Partitions[i].First, t.Partitions[i].Last = q.First, q.Last
				}
			}
		} else {
			t.Partitions = append(t.Partitions, q)
		}
	}
	slices.SortFunc(t.Partitions, func(a, b gpt.Partition) int { return cmp.Compare(a.Number, b.Number) })
	return t
}
