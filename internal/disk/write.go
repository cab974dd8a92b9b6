package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/mkosi-go/mkosi/internal/disk/eltorito"
	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/disk/verity"
)

// write fills the image file. The partition table comes last, so that a
// partition that is in it is complete.
func (b *builder) write(ctx context.Context) (err error) {
	flags := os.O_RDWR | os.O_CREATE | os.O_EXCL
	if b.Existing {
		flags = os.O_RDWR
	}
	f, err := os.OpenFile(b.Path, flags, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(b.disk.Size); err != nil {
		return err
	}
	if err := b.clearSpace(f); err != nil {
		return err
	}
	if err := b.writePartitions(ctx, f); err != nil {
		return err
	}
	table := b.table()
	if err := table.WriteTo(f); err != nil {
		return err
	}
	return b.writeElTorito(f, table)
}

// writePartitions fills the partitions, several at a time; those with verity
// hashes once their data is there.
func (b *builder) writePartitions(ctx context.Context, f *os.File) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, p := range b.parts {
		if p.deferred || p.def.Verity == repart.VerityHashRole || p.def.Verity == repart.VeritySignatureRole {
			continue
		}
		g.Go(func() error {
			if p.source != nil {
				if err := p.source.write(ctx, f, p.place.Offset, p.place.Size); err != nil {
					return fmt.Errorf("%s: %w", p.def.File, err)
				}
			}
			if p.group == nil {
				return nil
			}
			if err := b.writeVerity(ctx, f, p.group); err != nil {
				return fmt.Errorf("%s: %w", p.group.hash.def.File, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// writeVerity writes the hashes of a set and their signature, and sets the
// identifiers that come from the root hash.
func (b *builder) writeVerity(ctx context.Context, f *os.File, s *veritySet) (err error) {
	if s.data.exists != s.hash.exists {
		return fmt.Errorf("of %s and %s only one exists already", s.data.def.File, s.hash.def.File)
	}
	if s.data.exists {
		s.rootHash = slices.Concat(s.data.uuid[:], s.hash.uuid[:])
		return b.writeSignature(f, s)
	}
	size := s.data.place.Size
	if s.hash.minimized() {
		size = s.data.source.size()
	}
	params := b.verityParams(s.hash)
	if needed := verity.Size(size, params); needed > s.hash.place.Size {
		return fmt.Errorf("the hashes of %d bytes take %d bytes, the partition has %d: set Minimize=best here and in %s, or SizeMaxBytes= there",
			size, needed, s.hash.place.Size, s.data.def.File)
	}
	data := io.NewSectionReader(f, s.data.place.Offset, s.data.place.Size)
	tree := io.NewOffsetWriter(f, s.hash.place.Offset)
	if s.rootHash, err = verity.Write(ctx, data, size, tree, params); err != nil {
		return err
	}
	dataID, hashID := verityUUIDs(s.rootHash)
	for p, id := range map[*part]uuid.UUID{s.data: dataID, s.hash: hashID} {
		if p.def.UUID == nil {
			p.uuid = id
		}
	}
	return b.writeSignature(f, s)
}

// writeSignature writes the signature of a set's root hash, if it has one.
func (b *builder) writeSignature(f *os.File, s *veritySet) error {
	if s.sig == nil || s.sig.deferred || s.sig.exists {
		return nil
	}
	sig, err := b.signature(s.rootHash)
	if err != nil {
		return fmt.Errorf("%s: %w", s.sig.def.File, err)
	}
	_, err = f.WriteAt(sig, s.sig.place.Offset)
	return err
}

// signature is the content of a signature partition: a signature that was made
// elsewhere if there is one, else one by the image's key.
func (b *builder) signature(rootHash []byte) ([]byte, error) {
	for _, j := range b.JoinSignatures {
		if bytes.Equal(j.RootHash, rootHash) {
			content, _, err := j.content(b.Certificate)
			return content, err
		}
	}
	if b.Key == nil || b.Certificate == nil {
		return nil, fmt.Errorf("none of the signatures is one of the root hash %x", rootHash)
	}
	return verity.Sign(b.Key, b.Certificate, rootHash)
}

// writeElTorito makes an image that firmware starts from a CD-ROM, too.
func (b *builder) writeElTorito(f *os.File, t *gpt.Table) error {
	if b.ElTorito == nil {
		return nil
	}
	sector := int64(t.SectorSize)
	o := eltorito.Options{
		System: b.ElTorito.System, Volume: b.ElTorito.Volume, Publisher: b.ElTorito.Publisher,
		Application: "MKOSI", Time: time.Unix(0, 0), FirstOffset: math.MaxInt64,
	}
	if b.SourceDateEpoch != nil {
		o.Time = time.Unix(*b.SourceDateEpoch, 0)
	}
	for _, p := range t.Partitions {
		offset := int64(p.First) * sector
		o.FirstOffset = min(o.FirstOffset, offset)
		t, err := repart.ParsePartitionType(p.Type.String(), "")
		if err == nil && t.Role == repart.RoleESP && o.ESPOffset == 0 {
			o.ESPOffset = offset
		}
	}
	if o.ESPOffset == 0 {
		return errors.New("an El Torito boot catalogue needs an EFI system partition, and the image has none")
	}
	if err := eltorito.Check(o); err != nil {
		return err
	}
	return eltorito.Write(f, o)
}
