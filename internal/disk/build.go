package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/layout"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// Build writes the image that o describes. When ctx is cancelled it stops soon
// and returns an error that wraps that of ctx.
func Build(ctx context.Context, o Options) (_ *Result, err error) {
	b := &builder{Options: o}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	if err := b.arrange(); err != nil {
		return nil, err
	}
	if err := b.write(ctx); err != nil {
		return nil, fmt.Errorf("writing %s: %w", o.Path, err)
	}
	return b.result()
}

// builder is an image that is being made.
type builder struct {
	Options
	parts []*part
	sets  []*veritySet
	disk  layout.Disk
}

// part is a partition on its way from a definition to the image.
type part struct {
	def *repart.Definition
	// place is where the partition goes.
	place *layout.Partition
	// group is the verity set that the partition belongs to, or nil.
	group *veritySet
	label string
	// uuid is what the table says; derived is what follows from the seed.
	uuid, derived uuid.UUID
	deferred      bool
	// source is what the partition is filled with; nil means nothing.
	source source
	// number is that of the entry in the table, from 1.
	number int
}

// veritySet is the partitions with one verity match key. sig may be nil.
type veritySet struct {
	key             string
	data, hash, sig *part
	rootHash        []byte
}

// close ends the use of all sources.
func (b *builder) close() (err error) {
	for _, p := range b.parts {
		if p.source != nil {
			err = errors.Join(err, p.source.close())
		}
	}
	return err
}

// warn tells the user something about a partition.
func (b *builder) warn(p *part, format string, args ...any) {
	if b.Warn != nil {
		b.Warn(p.def.File + ": " + fmt.Sprintf(format, args...))
	}
}

// tempDir is where temporary files go.
func (b *builder) tempDir() string { return cmp.Or(b.TempDir, filepath.Dir(b.Path)) }

// sectorSize is the size of the disk's sectors in bytes.
func (b *builder) sectorSize() int {
	if b.SectorSize == 0 {
		return 512
	}
	return b.SectorSize
}

// grain is what partitions are aligned to, in bytes.
func (b *builder) grain() int64 {
	if b.GrainSize == 0 {
		return layout.DefaultGrain
	}
	return b.GrainSize
}

// table is the partition table; deferred partitions are not in it, but keep
// their numbers.
func (b *builder) table() *gpt.Table {
	sector := int64(b.sectorSize())
	t := &gpt.Table{
		UUID:        DiskUUID(b.Seed),
		SectorSize:  b.sectorSize(),
		Sectors:     uint64(b.disk.Size / sector),
		FirstUsable: b.disk.FirstUsable,
		LastUsable:  b.disk.LastUsable,
	}
	for _, p := range b.parts {
		if p.deferred {
			continue
		}
		t.Partitions = append(t.Partitions, gpt.Partition{
			Number: p.number,
			Type:   p.def.Type.UUID,
			UUID:   p.uuid,
			First:  uint64(p.place.Offset / sector),
			Last:   uint64((p.place.Offset+p.place.Size)/sector) - 1,
			Flags:  p.def.Attributes(),
			Name:   p.label,
		})
	}
	return t
}

// result describes the finished image.
func (b *builder) result() (*Result, error) {
	r := &Result{Size: b.disk.Size, SectorSize: b.sectorSize(), UUID: DiskUUID(b.Seed)}
	for _, p := range b.parts {
		q := Partition{
			File:     p.def.File,
			Type:     p.def.Type,
			Label:    p.label,
			UUID:     p.uuid,
			Number:   p.number,
			Offset:   p.place.Offset,
			Size:     p.place.Size,
			Deferred: p.deferred,
		}
		if p.group != nil {
			q.RootHash = p.group.rootHash
		}
		var err error
		finished := repart.FinishedPartition{Type: q.Type, UUID: q.UUID, Number: q.Number}
		if q.SplitName, err = repart.ExpandSplitName(p.def.SplitName, finished); err != nil {
			return nil, fmt.Errorf("%s: SplitName=: %w", p.def.File, err)
		}
		r.Partitions = append(r.Partitions, q)
	}
	return r, nil
}
