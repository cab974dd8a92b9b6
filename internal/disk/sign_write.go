package disk

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/layout"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/disk/verity"
)

// signaturePartition returns the signature partition of a set, which is new if
// it has none, and then enters it into the table in memory.
func (s *signer) signaturePartition(set *foundSet) (gpt.Partition, error) {
	sector := uint64(s.table.SectorSize)
	needed := verity.SignatureSize / sector
	if p := set.signature; p.Number != 0 {
		if p.Last-p.First+1 < needed {
			return p, fmt.Errorf("partition %d has less than the %d bytes that a signature takes", p.Number, verity.SignatureSize)
		}
		return p, nil
	}
	p := s.describe(set.sigType)
	var err error
	if p.First, err = s.gap(needed); err != nil {
		return p, err
	}
	p.Last = p.First + needed - 1
	used := map[int]bool{}
	for _, q := range s.table.Partitions {
		used[q.Number] = true
	}
	for p.Number = 1; used[p.Number]; {
		p.Number++
	}
	s.table.Partitions = append(s.table.Partitions, p)
	slices.SortFunc(s.table.Partitions, func(a, b gpt.Partition) int { return cmp.Compare(a.Number, b.Number) })
	return p, nil
}

// describe returns a new partition of a type as its definition has it, without
// number and place.
func (s *signer) describe(t repart.PartitionType) gpt.Partition {
	n := 0
	for _, p := range s.table.Partitions {
		if p.Type == t.UUID {
			n++
		}
	}
	def := repart.Definition{Type: t, Verity: repart.VeritySignatureRole}
	seen := 0
	for _, d := range s.origin.Definitions {
		if d.Type.UUID == t.UUID && d.Verity == repart.VeritySignatureRole {
			if seen == n {
				def = d
			}
			seen++
		}
	}
	p := gpt.Partition{Type: t.UUID, UUID: PartitionUUID(s.origin.Seed, t.UUID, n), Flags: def.Attributes(), Name: def.Label}
	if def.UUID != nil {
		p.UUID = *def.UUID
	}
	if p.Name == "" {
		p.Name = t.Name
		if n > 0 {
			p.Name = fmt.Sprintf("%s-%d", t.Name, n+1)
		}
	}
	return p
}

// gap returns where the smallest free space begins that has room for a number
// of sectors; of two that are the same, the first.
func (s *signer) gap(needed uint64) (uint64, error) {
	used := slices.Clone(s.table.Partitions)
	slices.SortFunc(used, func(a, b gpt.Partition) int { return cmp.Compare(a.First, b.First) })
	grain := max(1, layout.DefaultGrain/uint64(s.table.SectorSize))
	var start, size uint64
	at := s.table.FirstUsable
	for i := 0; i <= len(used); i++ {
		end := s.table.LastUsable + 1
		if i < len(used) {
			end = used[i].First
		}
		at = (at + grain - 1) / grain * grain
		if end > at && end-at >= needed && (size == 0 || end-at < size) {
			start, size = at, end-at
		}
		if i < len(used) {
			at = used[i].Last + 1
		}
	}
	if size == 0 {
		return 0, errors.New("there is no room for a signature partition: build the image with Verity=defer, which leaves it")
	}
	return start, nil
}

// write writes the signatures and the table. Each step is on the disk before
// the next begins.
func (s *signer) write(todo []pending) ([]SignedSet, error) {
	var signed []SignedSet
	changed := s.mend
	for _, p := range todo {
		if _, err := s.f.WriteAt(p.content, int64(p.partition.First)*int64(s.table.SectorSize)); err != nil {
			return nil, err
		}
		added := p.set.signature.Number == 0
		changed = changed || added
		signed = append(signed, SignedSet{
			RootHash: p.set.rootHash, Certificate: p.cert,
			Partition: p.partition, Type: p.set.sigType, Added: added,
		})
	}
	if err := s.f.Sync(); err != nil || !changed {
		return signed, err
	}
	return signed, s.writeTable()
}

// writeTable writes the backup of the partition table, and then the table
// itself: header and entries at once, unless the table is an unusual one that
// has them apart. The boot record in front may belong to a boot loader.
func (s *signer) writeTable() error {
	var pieces tablePieces
	if err := s.table.WriteTo(&pieces); err != nil {
		return err
	}
	usable := int64(s.table.FirstUsable) * int64(s.table.SectorSize)
	var backup, primary tablePieces
	for _, p := range pieces {
		last := len(primary) - 1
		switch {
		case p.offset >= usable:
			backup = append(backup, p)
		case last >= 0 && primary[last].offset+int64(len(primary[last].data)) == p.offset:
			primary[last].data = append(primary[last].data, p.data...)
		case p.offset > 0:
			primary = append(primary, p)
		}
	}
	slices.Reverse(primary)
	for _, part := range []tablePieces{backup, primary} {
		for _, p := range part {
			if _, err := s.f.WriteAt(p.data, p.offset); err != nil {
				return fmt.Errorf("writing partition table: %w", err)
			}
		}
		if err := s.f.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// tablePieces keeps what a table writes.
type tablePieces []tablePiece

type tablePiece struct {
	offset int64
	data   []byte
}

func (t *tablePieces) WriteAt(b []byte, offset int64) (int, error) {
	*t = append(*t, tablePiece{offset, slices.Clone(b)})
	return len(b), nil
}
