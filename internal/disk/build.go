package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/layout"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/disk/verity"
)

// part is a partition on its way from a definition to the image.
type part struct {
	def *repart.Definition
	// place is where the partition goes.
	place *layout.Partition
	// group is the verity set that the partition belongs to, or nil.
	group    *veritySet
	label    string
	uuid     uuid.UUID
	derived  uuid.UUID
	deferred bool
	fs       fileSystem
	number   int
}

// fileSystem is a file system that is about to be written.
type fileSystem interface {
	// size is its size in bytes, or the smallest that it can have.
	size() int64
	// write writes it into the image at an offset, at most room bytes.
	write(ctx context.Context, image *os.File, offset, room int64) error
	// close ends the use of the source.
	close() error
}

// veritySet is the partitions with one verity match key. sig may be nil.
type veritySet struct {
	key             string
	data, hash, sig *part
	rootHash        []byte
}

// Build writes the image that o describes. When ctx is cancelled it stops soon
// and returns an error that wraps that of ctx.
func Build(ctx context.Context, o Options) (_ *Result, err error) {
	if o.SectorSize == 0 {
		o.SectorSize = 512
	}
	b := &builder{Options: o}
	defer func() {
		for _, p := range b.parts {
			if p.fs != nil {
				err = errors.Join(err, p.fs.close())
			}
		}
	}()
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	b.disk = layout.Disk{Size: o.Size, SectorSize: o.SectorSize}
	var places []*layout.Partition
	for _, p := range b.parts {
		if p.place, err = p.bounds(); err != nil {
			return nil, fmt.Errorf("%s: %w", p.def.File, err)
		}
		places = append(places, p.place)
	}
	if err := b.disk.Place(places); err != nil {
		return nil, err
	}
	if err := b.write(ctx); err != nil {
		return nil, fmt.Errorf("writing %s: %w", o.Path, err)
	}
	return b.result()
}

type builder struct {
	Options
	parts []*part
	sets  []*veritySet
	disk  layout.Disk
}

// write creates the image file and fills it.
func (b *builder) write(ctx context.Context) (err error) {
	f, err := os.OpenFile(b.Path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(b.disk.Size); err != nil {
		return err
	}
	for _, p := range b.parts {
		if p.fs == nil || p.deferred {
			continue
		}
		if err := p.fs.write(ctx, f, p.place.Offset, p.place.Size); err != nil {
			return fmt.Errorf("%s: %w", p.def.File, err)
		}
	}
	for _, s := range b.sets {
		if err := b.writeVerity(ctx, f, s); err != nil {
			return fmt.Errorf("%s: %w", s.hash.def.File, err)
		}
	}
	return b.table().WriteTo(f)
}

// writeVerity writes the hashes of a set and their signature, and sets the
// identifiers that come from the root hash.
func (b *builder) writeVerity(ctx context.Context, f *os.File, s *veritySet) (err error) {
	data := io.NewSectionReader(f, s.data.place.Offset, s.data.place.Size)
	tree := io.NewOffsetWriter(f, s.hash.place.Offset)
	params := verity.Params{UUID: VerityUUID(b.Seed), Salt: VeritySalt(b.Seed)}
	s.rootHash, err = verity.Write(ctx, data, s.data.fs.size(), tree, params)
	if err != nil {
		return err
	}
	dataID, hashID := verityUUIDs(s.rootHash)
	for p, id := range map[*part]uuid.UUID{s.data: dataID, s.hash: hashID} {
		if p.def.UUID == nil {
			p.uuid = id
		}
	}
	if s.sig == nil || s.sig.deferred {
		return nil
	}
	sig, err := verity.Sign(b.Key, b.Certificate, s.rootHash)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(sig, s.sig.place.Offset)
	return err
}

// table is the partition table; deferred partitions are not in it.
func (b *builder) table() *gpt.Table {
	sector := int64(b.SectorSize)
	t := &gpt.Table{
		UUID:        DiskUUID(b.Seed),
		SectorSize:  b.SectorSize,
		Sectors:     uint64(b.disk.Size / sector),
		FirstUsable: b.disk.FirstUsable,
		LastUsable:  b.disk.LastUsable,
	}
	for _, p := range b.parts {
		if p.deferred {
			continue
		}
		t.Partitions = append(t.Partitions, gpt.Partition{
			Type:  p.def.Type.UUID,
			UUID:  p.uuid,
			First: uint64(p.place.Offset / sector),
			Last:  uint64((p.place.Offset+p.place.Size)/sector) - 1,
			Flags: p.def.Attributes(),
			Name:  p.label,
		})
		p.number = len(t.Partitions)
	}
	return t
}

func (b *builder) result() (*Result, error) {
	r := &Result{Size: b.disk.Size, UUID: DiskUUID(b.Seed)}
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
