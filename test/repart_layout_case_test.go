//go:build integration

package test

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/layout"
)

// layoutTypes are partition types that systemd-repart has no special rules for.
var layoutTypes = []struct {
	name string
	uuid uuid.UUID
}{
	{"linux-generic", uuid.MustParse("0fc63daf-8483-4772-8e79-3d69d8477de4")},
	{"home", uuid.MustParse("933ac7e1-2eb4-4f13-b844-0e14e2aef915")},
	{"srv", uuid.MustParse("3b8f8425-20e0-4f3b-907f-1a25a76f98e8")},
	{"tmp", uuid.MustParse("7ec6f557-3bc5-4aca-b293-16ef5df639d1")},
}

// layoutCase is a random set of definitions and the disk that they are for.
type layoutCase struct {
	random *rand.Rand
	// definitions are the files' contents, parts what they mean.
	definitions []string
	parts       []*layout.Partition
	// table is what is on the disk already, in a file of size bytes, or nil.
	table *gpt.Table
	size  int64
	// option is --size=: zero for none, -1 for "auto".
	option int64
	// sector and grain are the options' values; a grain of zero means none.
	sector int
	grain  int64
}

// one picks one of several numbers.
func (c *layoutCase) one(list ...int64) int64 { return list[c.random.IntN(len(list))] }

// chance is true once in n times.
func (c *layoutCase) chance(n int) bool { return c.random.IntN(n) == 0 }

// randomLayout is the case with a number, the same every time.
func randomLayout(number int) *layoutCase {
	c := &layoutCase{random: rand.New(rand.NewPCG(uint64(number), 262))}
	c.sector = int(c.one(512, 512, 512, 512, 1024, 2048, 4096, 4096))
	if c.chance(2) {
		c.grain = c.one(4096, 8192, 65536, 1<<20, 1<<20, 4<<20)
	}
	for range 1 + c.random.IntN(7) {
		c.define()
	}
	switch c.random.IntN(6) {
	case 0:
		c.option = -1
	case 1:
		c.option = 1<<20 + c.random.Int64N(200<<20)
	case 2:
		c.option = 4096 * (1<<10 + c.random.Int64N(1<<17))
	default:
		c.exist()
	}
	return c
}

// bytes is a size, from small to many mebibytes. systemd-repart rounds what is
// no multiple of 4096 when it reads a definition.
func (c *layoutCase) bytes() int64 {
	return 4096 * c.one(c.random.Int64N(5), c.random.Int64N(2000), c.random.Int64N(7000), c.random.Int64N(40)<<8)
}

// define adds a definition, which may supplement the one before.
func (c *layoutCase) define() {
	t := layoutTypes[c.random.IntN(len(layoutTypes))]
	p := &layout.Partition{
		Name: fmt.Sprintf("%02d", len(c.parts)), Type: t.uuid,
		Bounds: layout.Bounds{Weight: 1000, MinSize: layout.DefaultMinSize, MaxSize: layout.Unlimited, MaxPadding: layout.Unlimited},
	}
	text := "[Partition]\nType=" + t.name + "\n"
	set := func(key string, value int64) {
		text += fmt.Sprintf("%s=%d\n", key, value)
	}
	limit := func(key string, lower, upper *int64) {
		low := int64(0)
		if c.chance(2) {
			low = c.bytes()
			set(key+"MinBytes", low)
			*lower = low
		}
		if c.chance(3) {
			*upper = low + c.one(0, c.bytes(), c.bytes())
			set(key+"MaxBytes", *upper)
		}
	}
	limit("Size", &p.MinSize, &p.MaxSize)
	if c.chance(3) {
		limit("Padding", &p.MinPadding, &p.MaxPadding)
	}
	if c.chance(2) {
		p.Weight = uint32(c.one(0, 1, 100, 333, 2000, 1000000, c.random.Int64N(1000001)))
		set("Weight", int64(p.Weight))
	}
	if c.chance(3) {
		p.PaddingWeight = uint32(c.one(1, 100, 1000, c.random.Int64N(1000001)))
		set("PaddingWeight", int64(p.PaddingWeight))
	}
	if c.chance(3) {
		p.Priority = int32(c.random.IntN(5) - 1)
		set("Priority", int64(p.Priority))
	}
	if c.chance(4) && c.supplement(p) {
		text += "SupplementFor=" + p.Target.Name + "\n"
	}
	c.parts = append(c.parts, p)
	c.definitions = append(c.definitions, text)
}

// supplement has p supplement the definition before it, if that is allowed.
func (c *layoutCase) supplement(p *layout.Partition) bool {
	if len(c.parts) == 0 {
		return false
	}
	target := c.parts[len(c.parts)-1]
	b := layout.Bounds{
		Weight: p.Weight, PaddingWeight: p.PaddingWeight,
		MinSize: max(p.MinSize, target.MinSize), MaxSize: min(p.MaxSize, target.MaxSize),
		MinPadding: max(p.MinPadding, target.MinPadding), MaxPadding: min(p.MaxPadding, target.MaxPadding),
	}
	// What systemd-repart does when only one of the definitions says something
	// about a size is not for the layout to know.
	plain := p.MinSize == layout.DefaultMinSize || target.MinSize == layout.DefaultMinSize || (p.MinPadding == 0) != (target.MinPadding == 0)
	if target.Target != nil || plain || b.MinSize > b.MaxSize || b.MinPadding > b.MaxPadding {
		return false
	}
	p.Target, p.Merged = target, b
	return true
}

// exist puts a table with partitions at random places onto the disk, in random
// order and with gaps between the numbers. The disk may be larger than the table
// says.
func (c *layoutCase) exist() {
	r, sector := c.random, uint64(c.sector)
	c.size = 4096 * (512 + r.Int64N(50000))
	t := &gpt.Table{UUID: uuid.UUID{1}, SectorSize: c.sector, Sectors: uint64(c.size) / sector}
	t.FirstUsable, t.LastUsable = gpt.HeadSectors(c.sector), t.Sectors-gpt.TailSectors(c.sector)-1
	if c.chance(2) {
		t.FirstUsable = 1 << 20 / sector
	}
	align := uint64(c.one(c.one(512, 4096, 1<<20), int64(sector))) / sector
	align = max(align, 1)
	var cuts []uint64
	for range 2 * r.IntN(5) {
		if n := t.FirstUsable + r.Uint64N(t.LastUsable-t.FirstUsable+1); n-n%align >= t.FirstUsable {
			cuts = append(cuts, n-n%align)
		}
	}
	slices.Sort(cuts)
	for i := 1; i < len(cuts); i++ {
		if cuts[i-1] == cuts[i] || c.chance(3) {
			continue
		}
		p := gpt.Partition{Type: layoutTypes[r.IntN(len(layoutTypes))].uuid, UUID: uuid.UUID{15: byte(i)}, First: cuts[i-1], Last: cuts[i] - 1}
		if c.chance(8) {
			p.Type = uuid.UUID{0xab}
		}
		t.Partitions = append(t.Partitions, p)
	}
	if c.chance(3) {
		r.Shuffle(len(t.Partitions), func(i, j int) { t.Partitions[i], t.Partitions[j] = t.Partitions[j], t.Partitions[i] })
	}
	number := 0
	for i := range t.Partitions {
		number += 1 + int(c.one(0, 0, 0, r.Int64N(3)))
		t.Partitions[i].Number = number
	}
	c.table = t
	switch r.IntN(4) {
	case 0:
		c.option = -1
	case 1:
		c.option = 1 + r.Int64N(400<<20)
	case 2:
		c.size += 4096 * r.Int64N(20000)
	}
}
