package gpt

import (
	"errors"
	"fmt"
	"os"
)

// Resize makes a disk, which is read and written as f, size bytes long, a multiple of its sectors. The partitions stay as
// they are, and so does the boot code in front of the table; the backup of the table moves to the new end. A sectorSize of
// zero has the size of the sectors found out. It fails on a disk without a good primary table (ErrNoTable if there is none
// at all), and on a size that cuts off a partition; nothing has been changed then.
func Resize(f *os.File, size int64, sectorSize int) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	found, err := Read(f, fi.Size(), sectorSize)
	if err != nil {
		return err
	}
	if found.Primary != nil {
		return fmt.Errorf("the partition table is damaged: %w", found.Primary)
	}
	t := found.Table
	old := int64(t.Sectors-t.TailSectors()) * int64(t.SectorSize)
	t.Sectors = uint64(max(size, 0)) / uint64(t.SectorSize)
	if t.Sectors <= t.TailSectors() {
		return fmt.Errorf("%d bytes have no room for a partition table", size)
	}
	t.LastUsable = t.Sectors - t.TailSectors() - 1
	if err := t.check(); err != nil {
		return err
	}
	code := make([]byte, recordEntries)
	if _, err := f.ReadAt(code, 0); err != nil {
		return err
	}
	// What is cut off, the old backup, reads as zeros afterwards.
	if err := errors.Join(f.Truncate(min(old, size)), f.Truncate(size)); err != nil {
		return err
	}
	if err := t.WriteTo(f); err != nil {
		return err
	}
	_, err = f.WriteAt(code, 0)
	return err
}
