package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/layout"
	"github.com/mkosi-go/mkosi/internal/disk/luks"
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
	// old is the table of an image that exists.
	old *gpt.Table
	// generated are files that the tree gets on its way into the image.
	generated []content.File
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
	// exists says that the partition is there already.
	exists bool
	// source is what the partition is filled with; nil means nothing.
	source source
	// volume encrypts the partition; nil means that it is not encrypted.
	volume *luks.Volume
	// target is the partition that this one supplements, merged is what this
	// one becomes with its supplement in it, absorbed; all may be nil.
	target, merged, absorbed *part
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
		for _, q := range []*part{p, p.merged} {
			if q != nil && q.source != nil {
				err = errors.Join(err, q.source.close())
			}
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

// table is the partition table; deferred partitions are not in it, but keep
// their numbers.
func (b *builder) table() *gpt.Table {
	var places []*layout.Partition
	byNumber := map[int]*part{}
	for _, p := range b.parts {
		if !p.deferred {
			places = append(places, p.place)
			byNumber[p.place.Number] = p
		}
	}
	t := b.disk.Table(places)
	t.UUID = b.diskUUID()
	for i := range t.Partitions {
		entry := &t.Partitions[i]
		if p := byNumber[entry.Number]; p != nil {
			entry.UUID, entry.Name = p.uuid, p.label
			if !p.exists {
				entry.Flags = p.def.Attributes()
			}
		}
	}
	return t
}

// diskUUID identifies the disk.
func (b *builder) diskUUID() uuid.UUID {
	if b.old != nil {
		return b.old.UUID
	}
	return DiskUUID(b.Seed)
}

// result describes the finished image.
func (b *builder) result() (*Result, error) {
	r := &Result{Size: b.disk.Size, SectorSize: b.sectorSize(), UUID: b.diskUUID()}
	for _, p := range b.parts {
		q := Partition{
			File:     p.def.File,
			Type:     p.def.Type,
			Label:    p.label,
			UUID:     p.uuid,
			Number:   p.place.Number,
			Offset:   p.place.Offset,
			Size:     p.place.Size,
			Deferred: p.deferred,
			Existing: p.exists,
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
