package layout

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
)

// ErrNoRoom says that partitions that must not be dropped need more room than
// the disk has.
var ErrNoRoom = errors.New("there is not enough room for the partitions")

// maxGrain is the largest grain, in bytes.
const maxGrain = 1 << 40

// Disk is what partitions are placed on.
type Disk struct {
	// Size is that of the disk in bytes.
	Size int64
	// Auto has Place set Size to the smallest that the partitions need, if it
	// is not as large already. A Size of zero stands for that, too.
	Auto bool
	// SectorSize is in bytes; zero means 512.
	SectorSize int
	// Grain is what partitions start at and are sized in multiples of, in
	// bytes: a power of two from SectorSize to 1 TiB. Zero means DefaultGrain, or
	// the size of the sectors if they are larger.
	Grain int64
	// Existing is the table that is on the disk, or nil.
	Existing *gpt.Table

	// FirstUsable and LastUsable bound the sectors for partitions. Place sets
	// them.
	FirstUsable, LastUsable uint64
}

// Place places the partitions, which are in the order of their definitions:
// those that the disk has stay where they are and may grow into the space behind
// them, the others go into the smallest free area that is large enough. Space
// that is left over goes to partitions and paddings by weight. When there is no
// room even if everything is dropped that may be, the error wraps ErrNoRoom and
// says who needs how much.
func (d *Disk) Place(parts []*Partition) error {
	d.SectorSize = cmp.Or(d.SectorSize, 512)
	d.Grain = cmp.Or(d.Grain, max(DefaultGrain, int64(d.SectorSize)))
	if d.Grain < int64(d.SectorSize) || d.Grain > maxGrain || d.Grain&(d.Grain-1) != 0 {
		return fmt.Errorf("a grain of %d bytes is no power of two from %d, the size of a sector, to %d", d.Grain, d.SectorSize, int64(maxGrain))
	}
	p := &placer{disk: d, grain: d.Grain}
	for _, q := range parts {
		if err := p.add(q); err != nil {
			return err
		}
	}
	if err := p.match(); err != nil {
		return err
	}
	p.merge()
	if err := p.chooseSize(); err != nil {
		return err
	}
	if err := p.bound(); err != nil {
		return err
	}
	p.findAreas()
	if err := p.fit(); err != nil {
		return err
	}
	for _, a := range p.areas {
		p.fill(a)
	}
	p.number()
	for _, s := range p.slots {
		s.Offset, s.Size, s.Padding = s.offset, s.size.size, s.padding.size
	}
	return nil
}

// chooseSize sets the size of a disk of automatic size.
func (p *placer) chooseSize() error {
	d := p.disk
	if d.Size != 0 && !d.Auto {
		return nil
	}
	needed := roundUp(alignment, p.grain) + int64(d.tailSectors())*int64(d.SectorSize)
	for _, s := range slices.Concat(p.slots, p.foreign) {
		if s.IsMerged {
			continue
		}
		n := p.charge(s)
		if s.exists {
			n = p.leastEnd(s) - s.offset
		}
		if n > Unlimited-needed {
			return errors.New("the partitions need more space than a disk can have")
		}
		needed += n
	}
	d.Size = max(d.Size, needed)
	return nil
}

// tailSectors is how many sectors the backup of the table takes.
func (d *Disk) tailSectors() uint64 {
	if d.Existing != nil {
		return d.Existing.TailSectors()
	}
	return gpt.TailSectors(d.SectorSize)
}

// bound sets the sectors that there are for partitions: those of the table on
// the disk, up to where the disk ends now.
func (p *placer) bound() error {
	d := p.disk
	sector := int64(d.SectorSize)
	sectors, tail := uint64(d.Size/sector), d.tailSectors()
	switch {
	case d.Existing != nil:
		d.FirstUsable = d.Existing.FirstUsable
	case d.Size <= 4*alignment:
		// Like libfdisk: a disk of four times the alignment or less cannot
		// afford it.
		d.FirstUsable = gpt.HeadSectors(d.SectorSize)
	default:
		d.FirstUsable = uint64(alignment / sector)
	}
	if sectors <= d.FirstUsable+tail {
		return fmt.Errorf("%w: a disk of %d bytes is hardly larger than a partition table", ErrNoRoom, d.Size)
	}
	d.LastUsable = sectors - tail - 1
	if d.Existing != nil && d.Existing.Sectors >= sectors {
		d.LastUsable = d.Existing.LastUsable
	}
	p.start = roundUp(int64(d.FirstUsable)*sector, p.grain)
	p.end = roundDown(int64(d.LastUsable+1)*sector, p.grain)
	return nil
}
