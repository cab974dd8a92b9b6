package layout

import (
	"cmp"
	"slices"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
)

// number gives the new partitions their numbers: area by area, beginning with
// the smallest, the first that is free behind those of the same type, so that
// the next run matches partitions and definitions as this one did.
func (p *placer) number() {
	used := map[int]bool{}
	for _, s := range slices.Concat(p.slots, p.foreign) {
		used[s.Number] = true
	}
	for _, a := range p.areas {
		for _, s := range a.slots {
			n := 1
			for _, o := range slices.Concat(p.slots, p.foreign) {
				if o.exists && o.Type == s.Type {
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
}

// Table is the table on the disk, if there is one, with the partitions as Place
// placed them. New ones have only a type, a number and a place.
func (d *Disk) Table(parts []*Partition) *gpt.Table {
	t := &gpt.Table{}
	if d.Existing != nil {
		*t = *d.Existing
		t.Partitions = slices.Clone(t.Partitions)
	}
	sector := int64(d.SectorSize)
	t.SectorSize, t.Sectors = d.SectorSize, uint64(d.Size/sector)
	t.FirstUsable, t.LastUsable = d.FirstUsable, d.LastUsable
	for _, p := range parts {
		if p.Dropped || p.IsMerged {
			continue
		}
		first, last := uint64(p.Offset/sector), uint64((p.Offset+p.Size)/sector)-1
		i := slices.IndexFunc(t.Partitions, func(q gpt.Partition) bool { return q.Number == p.Number })
		if i >= 0 {
			t.Partitions[i].First, t.Partitions[i].Last = first, last
		} else {
			t.Partitions = append(t.Partitions, gpt.Partition{Number: p.Number, Type: p.Type, First: first, Last: last})
		}
	}
	slices.SortFunc(t.Partitions, func(a, b gpt.Partition) int { return cmp.Compare(a.Number, b.Number) })
	return t
}
