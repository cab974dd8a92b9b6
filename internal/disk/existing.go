package disk

import (
	"errors"
	"fmt"
	"os"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
)

// readExisting reads the partition table of the image that is to be changed.
func (b *builder) readExisting() (err error) {
	if !b.Existing {
		return nil
	}
	f, err := os.Open(b.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	found, err := gpt.Read(f, fi.Size(), b.SectorSize)
	if err != nil {
		return fmt.Errorf("reading the partition table of %s: %w", b.Path, err)
	}
	if found.Primary != nil {
		return fmt.Errorf("the partition table of %s is damaged, and only its backup is good: %w", b.Path, found.Primary)
	}
	b.old = found.Table
	// File systems on a disk whose table has small sectors expect 4096 bytes
	// all the same, unless something else was asked for.
	if b.SectorSize == 0 && b.old.SectorSize != 512 {
		b.SectorSize = b.old.SectorSize
	}
	return nil
}

// existing is the partitions that are there already, by their types. The first
// definitions of a type stand for them.
func (b *builder) existing() map[uuid.UUID][]gpt.Partition {
	byType := map[uuid.UUID][]gpt.Partition{}
	if b.old != nil {
		for _, p := range b.old.Partitions {
			byType[p.Type] = append(byType[p.Type], p)
		}
	}
	return byType
}

// adopt takes over what the table says of a partition that is there already. An
// identifier or a name that it lacks, it gets.
func (p *part) adopt(old gpt.Partition) {
	p.exists = true
	if old.UUID != uuid.Nil {
		p.uuid = old.UUID
	}
	if old.Name != "" {
		p.label = old.Name
	}
}

// clearSpace makes the places of new partitions read as zeros: something may
// have been there before.
func (b *builder) clearSpace(f *os.File) error {
	if !b.Existing {
		return nil
	}
	for _, p := range b.parts {
		if p.exists || p.deferred {
			continue
		}
		mode := uint32(unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE)
		err := unix.Fallocate(int(f.Fd()), mode, p.place.Offset, p.place.Size)
		if errors.Is(err, unix.EOPNOTSUPP) {
			err = writeZeros(f, p.place.Offset, p.place.Size)
		}
		if err != nil {
			return fmt.Errorf("clearing the place of %s: %w", p.def.File, err)
		}
	}
	return nil
}

// writeZeros is for file systems that cannot make holes.
func writeZeros(f *os.File, offset, size int64) error {
	zeros := make([]byte, copySize)
	for size > 0 {
		n := min(size, int64(len(zeros)))
		if _, err := f.WriteAt(zeros[:n], offset); err != nil {
			return err
		}
		offset, size = offset+n, size-n
	}
	return nil
}
