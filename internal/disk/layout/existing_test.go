package layout

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
)

const mib = int64(1 << 20)

// Partition types, of which only that they differ matters.
var (
	typeA = uuid.UUID{1}
	typeB = uuid.UUID{2}
	typeC = uuid.UUID{3}
)

// define is a partition of at least some size.
func define(name string, t uuid.UUID, min int64, changes ...func(*Partition)) *Partition {
	p := &Partition{Name: name, Type: t, Bounds: Bounds{Weight: 1000, MinSize: min, MaxSize: Unlimited, MaxPadding: Unlimited}}
	for _, change := range changes {
		change(p)
	}
	return p
}

func priority(n int32) func(*Partition) { return func(p *Partition) { p.Priority = n } }

// supplement is a partition that is merged into another when there is room.
func supplement(target *Partition, name string, t uuid.UUID, min int64, changes ...func(*Partition)) *Partition {
	p := define(name, t, min, changes...)
	p.Weight = 3000
	p.Target, p.Merged = target, p.Bounds
	return p
}

// tableOf is a table with 512 byte sectors and partitions that begin at a
// sector and have so many.
func tableOf(size int64, parts ...gpt.Partition) *gpt.Table {
	t := &gpt.Table{SectorSize: 512, Sectors: uint64(size / 512), FirstUsable: 2048, LastUsable: uint64(size/512) - 34}
	for _, p := range parts {
		p.Last += p.First - 1
		t.Partitions = append(t.Partitions, p)
	}
	return t
}

// result is a partition of a finished table: its number, first sector and how
// many it has.
type result struct {
	Number      int
	First, Size uint64
}

func results(t *gpt.Table) []result {
	var list []result
	for _, p := range t.Partitions {
		list = append(list, result{p.Number, p.First, p.Last - p.First + 1})
	}
	return list
}

// The expected tables are those that systemd-repart 262 wrote.
func TestLayoutOnExistingLikeRepart(t *testing.T) {
	a := define("a", typeA, 10*mib)
	stuck := []gpt.Partition{{Number: 1, Type: typeA, First: 2048, Last: 20480}, {Number: 2, Type: typeC, First: 22528, Last: 8192}}
	tests := map[string]struct {
		table *gpt.Table
		disk  Disk
		parts []*Partition
		want  []result
	}{
		"grow and add": {
			tableOf(200*mib, gpt.Partition{Number: 1, Type: typeB, First: 2048, Last: 20480}), Disk{},
			[]*Partition{a, define("b", typeB, 50*mib, func(p *Partition) { p.Weight = 3000 })},
			[]result{{1, 2048, 305632}, {2, 307680, 101880}},
		},
		"supplement exists": {
			tableOf(200*mib, gpt.Partition{Number: 1, Type: typeB, First: 2048, Last: 20480}), Disk{},
			[]*Partition{a, supplement(a, "b", typeB, 50*mib)},
			[]result{{1, 2048, 305632}, {2, 307680, 101880}},
		},
		"target grows": {
			tableOf(200*mib, gpt.Partition{Number: 1, Type: typeA, First: 2048, Last: 20480}), Disk{},
			[]*Partition{a, supplement(a, "b", typeB, 50*mib)},
			[]result{{1, 2048, 407512}},
		},
		"target is stuck": {
			tableOf(200*mib, stuck...), Disk{},
			[]*Partition{a, supplement(a, "b", typeB, 50*mib)},
			[]result{{1, 2048, 20480}, {2, 22528, 8192}, {3, 30720, 378840}},
		},
		"unmerged before one is dropped": {
			tableOf(200*mib, stuck...), Disk{},
			[]*Partition{a, supplement(a, "b", typeB, 50*mib), define("d", uuid.UUID{4}, 100*mib, priority(3))},
			[]result{{1, 2048, 20480}, {2, 22528, 8192}, {3, 30720, 174040}, {4, 204760, 204800}},
		},
		"dropped because unmerged is too large": {
			tableOf(200*mib, stuck...), Disk{},
			[]*Partition{a, supplement(a, "b", typeB, 50*mib), define("d", uuid.UUID{4}, 150*mib, priority(3))},
			[]result{{1, 2048, 20480}, {2, 22528, 8192}, {3, 30720, 378840}},
		},
		"smallest area, numbers behind the type": {
			tableOf(161746944, gpt.Partition{Number: 1, Type: typeB, First: 55296, Last: 49152}, gpt.Partition{Number: 2, Type: typeB, First: 165888, Last: 4096},
				gpt.Partition{Number: 4, Type: typeC, First: 231424, Last: 14336}), Disk{},
			[]*Partition{define("a", typeA, 10*mib), define("c", typeC, 30*mib, func(p *Partition) { p.MaxSize = 30 * mib }), define("c2", typeC, 18*mib)},
			[]result{{1, 55296, 49152}, {2, 165888, 4096}, {3, 292864, 23008}, {4, 231424, 61440}, {5, 2048, 53248}},
		},
		"grown": {
			tableOf(20*mib, gpt.Partition{Number: 3, Type: typeA, First: 2048, Last: 2048}), Disk{Size: 100 * mib},
			[]*Partition{a},
			[]result{{3, 2048, 202712}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := tt.disk
			d.Existing = tt.table
			if d.Size == 0 {
				d.Size = int64(tt.table.Sectors) * 512
			}
			if err := d.Place(tt.parts); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, results(d.Table(tt.parts))); diff != "" {
				t.Errorf("layout differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLayoutPriorities(t *testing.T) {
	a, b := define("a", typeA, 10*mib, priority(1)), define("b", typeB, 30*mib, priority(5))
	c, d := define("c", typeC, 10*mib, priority(-1)), define("d", typeC, 30*mib, priority(5))
	disk := Disk{Size: 40 * mib}
	if err := disk.Place([]*Partition{a, b, c, d}); err != nil {
		t.Fatal(err)
	}
	if a.Dropped || !b.Dropped || c.Dropped || !d.Dropped {
		t.Errorf("dropped %v %v %v %v", a.Dropped, b.Dropped, c.Dropped, d.Dropped)
	}
	// A supplement that is dropped is not merged any more.
	target := define("target", typeA, 10*mib)
	extra := supplement(target, "extra", typeB, 50*mib, priority(5))
	if err := disk.Place([]*Partition{target, extra}); err != nil {
		t.Fatal(err)
	}
	if !extra.Dropped || extra.IsMerged || target.Size != 79832*512 {
		t.Errorf("extra %+v, target %+v", extra, target)
	}
}

func TestLayoutNoRoom(t *testing.T) {
	stuck := tableOf(100*mib, gpt.Partition{Number: 1, Type: typeA, First: 2048, Last: 2048}, gpt.Partition{Number: 2, Type: typeC, First: 4096, Last: 2048})
	tests := map[string]struct {
		disk  Disk
		parts []*Partition
		want  []string
	}{
		"too small": {Disk{Size: 20 * mib}, []*Partition{define("a", typeA, 15*mib), define("b", typeB, 5*mib), define("c", typeC, 5*mib, priority(1))},
			[]string{"they need 20971520 bytes (a needs 15728640, b needs 5242880), the disk has room for 19902464"}},
		"stuck": {Disk{Size: 100 * mib, Existing: stuck}, []*Partition{define("a", typeA, 5*mib)},
			[]string{"a must grow by 4194304", "not behind the partition"}},
		"pieces": {Disk{Size: 100 * mib, Existing: tableOf(100*mib, gpt.Partition{Number: 1, Type: typeC, First: 100000, Last: 2048})}, []*Partition{define("a", typeA, 60*mib)},
			[]string{"a needs 62914560", "not in one piece"}},
		"tiny": {Disk{Size: 4096}, []*Partition{define("a", typeA, 0)}, []string{"hardly larger"}},
	}
	for name, tt := range tests {
		err := tt.disk.Place(tt.parts)
		if !errors.Is(err, ErrNoRoom) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not contain %q", name, err, want)
			}
		}
	}
}

func TestLayoutRefuses(t *testing.T) {
	part := func() []*Partition { return []*Partition{define("a", typeA, 10*mib)} }
	negative, far := part(), tableOf(100*mib, gpt.Partition{Number: 1, Type: typeC, First: 1 << 60, Last: 1})
	negative[0].MinPadding = -1
	for name, tt := range map[string]struct {
		disk  Disk
		parts []*Partition
	}{
		"grain":        {Disk{Grain: 5000}, part()},
		"small grain":  {Disk{Grain: 512, SectorSize: 4096}, part()},
		"large grain":  {Disk{Grain: 1 << 41}, part()},
		"no size":      {Disk{Size: -1}, part()},
		"large disk":   {Disk{Size: Unlimited}, part()},
		"sectors":      {Disk{SectorSize: 4096, Existing: tableOf(100 * mib)}, part()},
		"negative":     {Disk{}, negative},
		"far away":     {Disk{Existing: far}, part()},
		"large":        {Disk{}, []*Partition{define("a", typeA, Unlimited)}},
		"large in sum": {Disk{Grain: maxGrain, SectorSize: 4096}, manyParts(2000)},
	} {
		if err := tt.disk.Place(tt.parts); err == nil {
			t.Errorf("%s: accepted, %+v", name, tt.disk)
		}
	}
}

// manyParts are partitions that are as large as one can be.
func manyParts(n int) []*Partition {
	var list []*Partition
	for range n {
		list = append(list, define("a", typeA, maxBytes))
	}
	return list
}

// Whatever is asked for: partitions are within the usable sectors, whole sectors
// large, apart from each other, and have numbers of their own.
func FuzzPlace(f *testing.F) {
	f.Add(int64(100<<20), uint8(0), uint8(0), []byte{0, 10, 0, 3, 1, 20, 1, 1, 2, 3, 0, 0})
	f.Add(int64(0), uint8(3), uint8(8), []byte{0, 10, 255, 3, 1, 20, 4, 1, 2, 3, 0, 0})
	f.Fuzz(func(t *testing.T, size int64, sectors, grain uint8, data []byte) {
		d := Disk{Size: size, SectorSize: 512 << (sectors % 4), Grain: 4096 << (grain % 20)}
		var parts []*Partition
		for ; len(data) >= 4; data = data[4:] {
			p := define("p", uuid.UUID{data[0] % 3}, int64(data[1])<<16)
			p.MinPadding, p.Weight, p.Priority = int64(data[2])<<12, uint32(data[3])*100, int32(data[3]%4)
			if len(parts) > 0 && data[0] > 200 {
				p.Target, p.Merged = parts[0], p.Bounds
			}
			parts = append(parts, p)
		}
		if d.Place(parts) != nil {
			return
		}
		check := func(d *Disk, parts []*Partition) {
			table := d.Table(parts)
			taken := map[int]bool{}
			for i, p := range table.Partitions {
				if p.First < d.FirstUsable || p.Last > d.LastUsable || p.Last < p.First || taken[p.Number] || p.Number < 1 {
					t.Fatalf("%+v of %+v", p, table)
				}
				taken[p.Number] = true
				for _, q := range table.Partitions[:i] {
					if p.First <= q.Last && q.First <= p.Last {
						t.Fatalf("%+v and %+v", p, q)
					}
				}
			}
		}
		check(&d, parts)
		again := Disk{Size: d.Size + d.Size/4, SectorSize: d.SectorSize, Grain: d.Grain, Existing: d.Table(parts)}
		if len(parts) > 1 && again.Place(parts[1:]) == nil {
			check(&again, parts[1:])
		}
	})
}
