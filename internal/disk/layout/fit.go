package layout

import (
	"fmt"
	"strings"
)

// fit finds an area for each partition. When that is impossible it takes
// supplements out of their targets again, then drops the partitions that matter
// least, until it is possible.
func (p *placer) fit() error {
	for {
		if p.allocate() || p.unmerge() {
			return nil
		}
		if !p.drop() {
			p.allocate()
			return p.noRoom()
		}
	}
}

// unmerge takes supplements out of their targets until all partitions have an
// area: from each on one after the other, beginning with the first. If nothing
// helps, all are merged as before.
func (p *placer) unmerge() bool {
	var merged []*slot
	for _, s := range p.slots {
		if s.IsMerged {
			merged = append(merged, s)
		}
	}
	for first := range merged {
		for _, s := range merged[first:] {
			p.setMerged(s, false)
			if p.allocate() {
				return true
			}
		}
		for _, s := range merged[first:] {
			p.setMerged(s, true)
		}
	}
	return false
}

// drop drops the partitions with the highest priority that is above zero. Those
// that are on the disk stay, but need not grow any more, and the targets of
// supplements are as if there were none.
func (p *placer) drop() bool {
	highest := int32(0)
	for _, s := range p.slots {
		if !s.Dropped {
			highest = max(highest, s.Priority)
		}
	}
	if highest == 0 {
		return false
	}
	for _, s := range p.slots {
		if s.Priority == highest {
			s.Dropped = true
			s.fixed = s.exists
			if s.IsMerged {
				p.setMerged(s, false)
			}
		}
	}
	return true
}

// noRoom is the error for partitions that do not fit.
func (p *placer) noRoom() error {
	var needs []string
	total, free := int64(0), int64(0)
	for _, a := range p.areas {
		free += max(0, a.end-a.start)
	}
	for _, s := range p.slots {
		need := p.charge(s)
		if s.exists {
			need = max(0, p.leastEnd(s)-s.offset-s.current)
		}
		if s.Dropped || s.IsMerged || need == 0 {
			continue
		}
		total += need
		verb := "needs"
		if s.exists {
			verb = "must grow by"
		}
		needs = append(needs, fmt.Sprintf("%s %s %d", s.Name, verb, need))
	}
	err := fmt.Errorf("%w: they need %d bytes (%s), the disk has room for %d", ErrNoRoom, total, strings.Join(needs, ", "), free)
	if total <= free {
		err = fmt.Errorf("%w, but not in one piece or not behind the partition that must grow", err)
	}
	return err
}
