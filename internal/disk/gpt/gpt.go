// Package gpt writes GUID partition tables, as chapter 5 of the UEFI
// specification describes them.
package gpt

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/uuid"
)

const (
	entryCount = 128
	entrySize  = 128
	headerSize = 92
	nameUnits  = 36
)

// Partition is one entry of the table.
type Partition struct {
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
	// SectorSize is in bytes.
	SectorSize int
	// Sectors is the size of the disk.
	Sectors uint64
	// FirstUsable and LastUsable bound the sectors for partitions.
	FirstUsable, LastUsable uint64
	// Partitions are numbered in this order, from 1.
	Partitions []Partition
}

// entrySectors is how many sectors the entries take, at each end of the disk.
func entrySectors(sectorSize int) uint64 {
	return uint64((entryCount*entrySize + sectorSize - 1) / sectorSize)
}

// HeadSectors is how many sectors the boot record, the header and the entries
// take at the start of a disk.
func HeadSectors(sectorSize int) uint64 { return 2 + entrySectors(sectorSize) }

// TailSectors is how many sectors the backup of header and entries takes at
// the end of a disk.
func TailSectors(sectorSize int) uint64 { return 1 + entrySectors(sectorSize) }

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

// WriteTo writes the protective boot record, the table and its backup.
func (t *Table) WriteTo(w io.WriterAt) error {
	if err := t.check(); err != nil {
		return err
	}
	entries := t.entries()
	tail := t.Sectors - TailSectors(t.SectorSize)
	parts := []struct {
		sector uint64
		data   []byte
	}{
		{0, t.bootRecord()},
		{1, t.header(entries, 1, t.Sectors-1, 2)},
		{2, entries},
		{tail, entries},
		{t.Sectors - 1, t.header(entries, t.Sectors-1, 1, tail)},
	}
	for _, p := range parts {
		if _, err := w.WriteAt(p.data, int64(p.sector)*int64(t.SectorSize)); err != nil {
			return fmt.Errorf("writing partition table: %w", err)
		}
	}
	return nil
}

func (t *Table) check() error {
	switch t.SectorSize {
	case 512, 1024, 2048, 4096:
	default:
		return fmt.Errorf("sector size %d is none of 512, 1024, 2048, 4096", t.SectorSize)
	}
	head, tail := HeadSectors(t.SectorSize), TailSectors(t.SectorSize)
	if t.Sectors < head+tail || t.FirstUsable < head || t.LastUsable >= t.Sectors-tail {
		return fmt.Errorf("partition table does not fit around sectors %d to %d of %d", t.FirstUsable, t.LastUsable, t.Sectors)
	}
	if len(t.Partitions) > entryCount {
		return fmt.Errorf("%d partitions are more than the %d that fit", len(t.Partitions), entryCount)
	}
	for i, p := range t.Partitions {
		if p.Type == uuid.Nil {
			return fmt.Errorf("partition %d has no type", i+1)
		}
		if err := CheckName(p.Name); err != nil {
			return err
		}
		if p.First < t.FirstUsable || p.Last > t.LastUsable || p.First > p.Last {
			return fmt.Errorf("partition %d, sectors %d to %d, is outside of %d to %d", i+1, p.First, p.Last, t.FirstUsable, t.LastUsable)
		}
		for j, q := range t.Partitions[:i] {
			if p.First <= q.Last && q.First <= p.Last {
				return fmt.Errorf("partitions %d and %d overlap", j+1, i+1)
			}
		}
	}
	return nil
}

// bootRecord claims the whole disk for one partition, so that programs which
// do not know the table leave it alone.
func (t *Table) bootRecord() []byte {
	b := make([]byte, t.SectorSize)
	entry := b[446:]
	copy(entry, []byte{0, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff})
	binary.LittleEndian.PutUint32(entry[8:], 1)
	binary.LittleEndian.PutUint32(entry[12:], uint32(min(t.Sectors-1, math.MaxUint32)))
	b[510], b[511] = 0x55, 0xaa
	return b
}

func (t *Table) header(entries []byte, own, other, entryStart uint64) []byte {
	b := make([]byte, t.SectorSize)
	le := binary.LittleEndian
	copy(b, "EFI PART")
	le.PutUint32(b[8:], 0x00010000)
	le.PutUint32(b[12:], headerSize)
	le.PutUint64(b[24:], own)
	le.PutUint64(b[32:], other)
	le.PutUint64(b[40:], t.FirstUsable)
	le.PutUint64(b[48:], t.LastUsable)
	putGUID(b[56:], t.UUID)
	le.PutUint64(b[72:], entryStart)
	le.PutUint32(b[80:], entryCount)
	le.PutUint32(b[84:], entrySize)
	le.PutUint32(b[88:], crc32.ChecksumIEEE(entries[:entryCount*entrySize]))
	le.PutUint32(b[16:], crc32.ChecksumIEEE(b[:headerSize]))
	return b
}

func (t *Table) entries() []byte {
	b := make([]byte, entrySectors(t.SectorSize)*uint64(t.SectorSize))
	le := binary.LittleEndian
	for i, p := range t.Partitions {
		e := b[i*entrySize:]
		putGUID(e, p.Type)
		putGUID(e[16:], p.UUID)
		le.PutUint64(e[32:], p.First)
		le.PutUint64(e[40:], p.Last)
		le.PutUint64(e[48:], p.Flags)
		for j, u := range utf16.Encode([]rune(p.Name)) {
			le.PutUint16(e[56+2*j:], u)
		}
	}
	return b
}

// putGUID stores a UUID in the mixed byte order of the specification.
func putGUID(b []byte, id uuid.UUID) {
	le, be := binary.LittleEndian, binary.BigEndian
	le.PutUint32(b, be.Uint32(id[0:]))
	le.PutUint16(b[4:], be.Uint16(id[4:]))
	le.PutUint16(b[6:], be.Uint16(id[6:]))
	copy(b[8:16], id[8:])
}
