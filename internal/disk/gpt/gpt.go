// Package gpt reads and writes GUID partition tables, as chapter 5 of the UEFI
// specification describes them.
package gpt

import (
	"cmp"
	"fmt"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/uuid"
)

const (
	// defaultEntries and defaultEntrySize are what nearly all tables have.
	defaultEntries   = 128
	defaultEntrySize = 128
	// maxEntrySize and maxEntriesSize bound, in bytes, what is read of a
	// foreign table.
	maxEntrySize   = 4096
	maxEntriesSize = 1 << 20

	headerSize = 92
	nameUnits  = 36
)

// Partition is one entry of the table.
type Partition struct {
	// Number is that of the entry, from 1; zero means the one after that of the
	// partition before.
	Number int
	// Type and UUID say what the partition is and which one.
	Type, UUID uuid.UUID
	// First and Last are its first and last sector.
	First, Last uint64
	// Flags are the attribute bits.
	Flags uint64
	// Name is at most 36 UTF-16 units long, see CheckName.
	Name string
}

// Table is a partition table for a disk of a certain size.
type Table struct {
	// UUID identifies the disk.
	UUID uuid.UUID
	// SectorSize is in bytes: 512, 1024, 2048 or 4096.
	SectorSize int
	// Sectors is the size of the disk.
	Sectors uint64
	// FirstUsable and LastUsable bound the sectors for partitions.
	FirstUsable, LastUsable uint64
	// Entries is how many partitions there is room for, EntrySize what each of
	// them takes in bytes; zero means 128.
	Entries, EntrySize int
	// EntriesAt is the sector that the entries begin at, at the start of the
	// disk; zero means 2.
	EntriesAt uint64
	// Partitions are in the order of their numbers.
	Partitions []Partition
}

// entrySectors is how many sectors entries of altogether size bytes take, at
// each end of the disk.
func entrySectors(size, sectorSize int) uint64 {
	return uint64((size + sectorSize - 1) / sectorSize)
}

// HeadSectors is how many sectors the boot record, the header and 128 entries
// take at the start of a disk.
func HeadSectors(sectorSize int) uint64 {
	return 2 + entrySectors(defaultEntries*defaultEntrySize, sectorSize)
}

// TailSectors is how many sectors the backup of the header and of 128 entries
// takes at the end of a disk.
func TailSectors(sectorSize int) uint64 { return HeadSectors(sectorSize) - 1 }

// entriesSize is what all entries take together, in bytes.
func (t *Table) entriesSize() int {
	return cmp.Or(t.Entries, defaultEntries) * cmp.Or(t.EntrySize, defaultEntrySize)
}

// entriesAt is the sector that the entries begin at.
func (t *Table) entriesAt() uint64 { return cmp.Or(t.EntriesAt, 2) }

// TailSectors is how many sectors the backup of the table takes at the end of
// the disk.
func (t *Table) TailSectors() uint64 { return 1 + entrySectors(t.entriesSize(), t.SectorSize) }

// CheckName returns an error when a partition cannot have the name.
func CheckName(name string) error {
	if !utf8.ValidString(name) {
		return fmt.Errorf("partition name %q is not valid UTF-8", name)
	}
	if n := len(utf16.Encode([]rune(name))); n > nameUnits {
		return fmt.Errorf("partition name %q is %d characters long, the limit is %d", name, n, nameUnits)
	}
	return nil
}

// CheckSectorSize returns an error when a disk cannot have sectors of so many
// bytes.
func CheckSectorSize(size int) error {
	switch size {
	case 512, 1024, 2048, 4096:
		return nil
	}
	return fmt.Errorf("sector size %d is none of 512, 1024, 2048, 4096", size)
}

// check returns an error when the table is none that can be written.
func (t *Table) check() error {
	if err := CheckSectorSize(t.SectorSize); err != nil {
		return err
	}
	if err := t.checkEntries(); err != nil {
		return err
	}
	head, tail := t.entriesAt()+t.TailSectors()-1, t.TailSectors()
	if t.entriesAt() < 2 || t.Sectors < tail || head > t.Sectors-tail || t.FirstUsable < head || t.LastUsable >= t.Sectors-tail {
		return fmt.Errorf("partition table does not fit around sectors %d to %d of %d", t.FirstUsable, t.LastUsable, t.Sectors)
	}
	for _, p := range t.Partitions {
		if err := CheckName(p.Name); err != nil {
			return err
		}
	}
	return t.checkPartitions()
}

// checkEntries returns an error when the entries have an odd size or there are
// too many.
func (t *Table) checkEntries() error {
	size := cmp.Or(t.EntrySize, defaultEntrySize)
	if size < defaultEntrySize || size > maxEntrySize || size%8 != 0 {
		return fmt.Errorf("entries of %d bytes are not supported", size)
	}
	if n := cmp.Or(t.Entries, defaultEntries); n < 1 || n > maxEntriesSize/size {
		return fmt.Errorf("a table of %d entries is not supported", n)
	}
	return nil
}

// numbered are the partitions, each with its number.
func (t *Table) numbered() []Partition {
	list := slices.Clone(t.Partitions)
	last := 0
	for i := range list {
		list[i].Number = cmp.Or(list[i].Number, last+1)
		last = list[i].Number
	}
	return list
}

// checkPartitions returns an error when a partition has no number or place of
// its own.
func (t *Table) checkPartitions() error {
	list := t.numbered()
	last := 0
	for _, p := range list {
		if p.Number <= last {
			return fmt.Errorf("partition %d comes after partition %d", p.Number, last)
		}
		last = p.Number
		if entries := cmp.Or(t.Entries, defaultEntries); p.Number > entries {
			return fmt.Errorf("partition %d is beyond the %d that fit", p.Number, entries)
		}
		if p.Type == uuid.Nil {
			return fmt.Errorf("partition %d has no type", p.Number)
		}
		if p.First < t.FirstUsable || p.Last > t.LastUsable || p.First > p.Last {
			return fmt.Errorf("partition %d, sectors %d to %d, is outside of %d to %d", p.Number, p.First, p.Last, t.FirstUsable, t.LastUsable)
		}
	}
	slices.SortFunc(list, func(a, b Partition) int { return cmp.Compare(a.First, b.First) })
	for i := 1; i < len(list); i++ {
		if p, q := list[i-1], list[i]; q.First <= p.Last {
			return fmt.Errorf("partitions %d and %d overlap", min(p.Number, q.Number), max(p.Number, q.Number))
		}
	}
	return nil
}
