package disk

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/mkosi-go/mkosi/internal/disk/layout"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/disk/verity"
)

// encryptionSize is what systemd-repart sets aside for a LUKS header, in bytes.
// The header itself takes half of it.
const encryptionSize = 32 << 20

// sizeUnit is what the size of an image is rounded up to, in bytes.
const sizeUnit = 4096

// arrange places the partitions.
func (b *builder) arrange() error {
	b.disk = layout.Disk{Size: (b.Size + sizeUnit - 1) / sizeUnit * sizeUnit, Auto: b.Size == 0, SectorSize: b.sectorSize(), Grain: b.GrainSize, Existing: b.old}
	if b.old != nil {
		b.disk.Size = max(b.disk.Size, int64(b.old.Sectors)*int64(b.old.SectorSize))
	}
	var places []*layout.Partition
	for _, p := range b.parts {
		p.place = &layout.Partition{Name: p.def.File, Type: p.def.Type.UUID, Priority: p.def.Priority}
		places = append(places, p.place)
	}
	for _, p := range b.parts {
		var err error
		if p.place.Bounds, err = b.bounds(p); err != nil {
			return fmt.Errorf("%s: %w", p.def.File, err)
		}
		if p.target == nil {
			continue
		}
		p.place.Target = p.target.place
		if p.place.Merged, err = b.bounds(p.target.merged); err != nil {
			return fmt.Errorf("%s, merged into %s: %w", p.def.File, p.target.def.File, err)
		}
	}
	if err := b.disk.Place(places); err != nil {
		return err
	}
	if err := b.settle(); err != nil {
		return err
	}
	for _, p := range b.parts {
		if p.place.Dropped && !p.exists {
			b.warn(p, "there is no room for this partition, which has Priority=%d", p.def.Priority)
		}
	}
	return b.dropUnplaced()
}

// dropUnplaced forgets the partitions that there is no room for.
func (b *builder) dropUnplaced() error {
	b.parts = slices.DeleteFunc(b.parts, func(p *part) bool { return p.place.IsMerged || p.place.Dropped && !p.exists })
	for _, s := range b.sets {
		if s.data.place.Dropped != s.hash.place.Dropped {
			return fmt.Errorf("VerityMatchKey=%s: there is room for one of %s and %s only", s.key, s.data.def.File, s.hash.def.File)
		}
		if s.sig != nil && s.sig.place.Dropped {
			s.sig = nil
		}
	}
	return nil
}

// bounds returns what limits the size of a partition.
func (b *builder) bounds(p *part) (layout.Bounds, error) {
	d := p.def
	l := layout.Bounds{
		Weight: d.Weight, PaddingWeight: d.PaddingWeight,
		MaxSize: layout.Unlimited, MaxPadding: layout.Unlimited,
	}
	if d.Type.HoldsSignature() || d.Verity == repart.VeritySignatureRole {
		l.MinSize, l.MaxSize = verity.SignatureSize, verity.SignatureSize
	} else {
		if d.SizeMax != nil {
			l.MaxSize = int64(*d.SizeMax)
		}
		needed, err := b.needed(p, l.MaxSize)
		if err != nil {
			return l, err
		}
		l.MinSize = max(b.minSize(d), needed)
	}
	if d.PaddingMin != nil {
		l.MinPadding = int64(*d.PaddingMin)
	}
	if d.PaddingMax != nil {
		l.MaxPadding = int64(*d.PaddingMax)
	}
	return l, nil
}

// minSize is the size that the definition asks for at least, or the one that
// it gets if it does not.
func (b *builder) minSize(d *repart.Definition) int64 {
	size := int64(layout.DefaultMinSize)
	switch {
	case d.SizeMin != nil:
		size = int64(*d.SizeMin)
	case d.Minimize != repart.MinimizeOff, d.Verity != repart.VerityOff, readOnlyFormat(d.Format):
		size = layout.SmallestSize
	}
	return max(size, b.espSize(d))
}

// espSize is how large the partitions that firmware and boot loaders read have
// to be so that their file system is FAT32; zero for other partitions.
func (b *builder) espSize(d *repart.Definition) int64 {
	switch {
	case d.Format != repart.FormatVFAT, d.Type.Role != repart.RoleESP && d.Type.Role != repart.RoleXBOOTLDR:
		return 0
	case b.fileSystemSectorSize(d) < 4096:
		return 100 << 20
	}
	return 260 << 20
}

// needed is how many bytes the partition takes at least for what it holds; max
// is what the definition allows it.
func (b *builder) needed(p *part, max int64) (int64, error) {
	d := p.def
	if d.Verity == repart.VerityHashRole {
		return b.hashSize(p), nil
	}
	size := formatSizes[d.Format]
	if p.source != nil && (p.minimized() || d.CopyBlocks != "") {
		size = p.source.size()
	}
	if p.minimized() && size > max {
		return 0, fmt.Errorf("the content takes %d bytes, SizeMaxBytes= allows %d", size, max)
	}
	if d.Encrypt != repart.EncryptOff {
		size += encryptionSize
		if p.minimized() {
			// systemd-repart counts it for the smallest file system, too.
			size += encryptionSize
		}
	}
	return size, nil
}

// hashSize is how large a partition with verity hashes is at least. With
// Minimize= it holds those of the content of the data partition, else those of
// the whole partition, whose size is not known yet unless it has a limit.
func (b *builder) hashSize(p *part) int64 {
	params := b.verityParams(p)
	switch data := p.group.data; {
	case p.def.Minimize != repart.MinimizeOff && data.source != nil:
		return verity.Size(data.source.size(), params)
	case data.def.SizeMax != nil:
		return verity.Size(int64(*data.def.SizeMax), params)
	}
	return 0
}

// formatSizes are the sizes that systemd-repart makes file systems at least, in
// bytes, whatever they hold; that of f2fs, which it cannot fill, is its own.
var formatSizes = map[string]int64{
	repart.FormatExt4:  32 << 20,
	repart.FormatBtrfs: 256 << 20,
	repart.FormatXFS:   300 << 20,
	repart.FormatF2FS:  64 << 20,
}

// verityParams are what the hashes in a partition depend on beside the data.
func (b *builder) verityParams(hash *part) verity.Params {
	d := hash.def
	size := b.fileSystemSectorSize(d)
	return verity.Params{
		UUID: VerityUUID(b.Seed), Salt: VeritySalt(b.Seed),
		DataBlockSize: cmp.Or(int(d.VerityDataBlockSize), size),
		HashBlockSize: cmp.Or(int(d.VerityHashBlockSize), size),
	}
}

// readOnlyFormat reports whether a file system is never written to.
func readOnlyFormat(format string) bool {
	return format == repart.FormatErofs || format == repart.FormatSquashfs
}

// fileSystemSectorSize is the sector size that file system, LUKS and verity
// work with, in bytes.
func (b *builder) fileSystemSectorSize(d *repart.Definition) int {
	size := 4096
	switch {
	case d.FileSystemSectorSize != 0:
		size = int(d.FileSystemSectorSize)
	case b.SectorSize != 0:
		size = b.SectorSize
	}
	return max(size, b.sectorSize())
}
