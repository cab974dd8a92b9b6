package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/disk/verity"
)

// write creates the image file and fills it. The partition table comes last,
// so that a partition that is in it is complete.
func (b *builder) write(ctx context.Context) (err error) {
	f, err := os.OpenFile(b.Path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(b.disk.Size); err != nil {
		return err
	}
	if err := b.writePartitions(ctx, f); err != nil {
		return err
	}
	return b.table().WriteTo(f)
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
			if err := b.writePartition(ctx, f, p); err != nil {
				return fmt.Errorf("%s: %w", p.def.File, err)
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

// writePartition fills one partition.
func (b *builder) writePartition(ctx context.Context, f *os.File, p *part) error {
	if p.source == nil {
		return nil
	}
	return p.source.write(ctx, f, p.place.Offset, p.place.Size)
}

// writeVerity writes the hashes of a set and their signature, and sets the
// identifiers that come from the root hash.
func (b *builder) writeVerity(ctx context.Context, f *os.File, s *veritySet) (err error) {
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
