package gpt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

const (
	// recordEntries is where a boot record has its four entries, in bytes.
	recordEntries = 446
	recordSize    = 512
	// typeProtective is the type of the entry that stands for the whole table.
	typeProtective = 0xee
)

// BootRecord is the master boot record in front of a table, of which only the
// partitions are looked at.
type BootRecord struct {
	// Signed says that the record ends in the two bytes that mark it as one.
	Signed bool
	// Partitions are the entries that are in use.
	Partitions []BootPartition
}

// BootPartition is a partition as a boot record describes it.
type BootPartition struct {
	// Number is that of the entry, from 1 to 4.
	Number int
	// Active says that old firmware starts it.
	Active bool
	// Type is 0xee for the partition that protects the table.
	Type byte
	// First is its first sector, Sectors its size.
	First, Sectors uint32
}

func parseBootRecord(b []byte) BootRecord {
	r := BootRecord{Signed: b[510] == 0x55 && b[511] == 0xaa}
	le := binary.LittleEndian
	for n := range 4 {
		e := b[recordEntries+16*n:]
		if e[4] == 0 {
			continue
		}
		r.Partitions = append(r.Partitions, BootPartition{
			Number: n + 1, Active: e[0]&0x80 != 0, Type: e[4], First: le.Uint32(e[8:]), Sectors: le.Uint32(e[12:]),
		})
	}
	return r
}

// Check returns an error that says why the record does not protect the table of
// a disk of so many sectors as section 5.2.3 of the UEFI specification asks for,
// or nil when it does.
func (r BootRecord) Check(sectors uint64) error {
	if !r.Signed {
		return errors.New("there is no boot record")
	}
	for _, p := range r.Partitions {
		if p.Type != typeProtective {
			continue
		}
		if len(r.Partitions) > 1 {
			return fmt.Errorf("the boot record has %d more partitions than the one that protects the table", len(r.Partitions)-1)
		}
		if p.First != 1 {
			return fmt.Errorf("the partition that protects the table begins at sector %d", p.First)
		}
		if want := min(sectors-1, math.MaxUint32); uint64(p.Sectors) != want && p.Sectors != math.MaxUint32 {
			return fmt.Errorf("the partition that protects the table has %d sectors, the disk %d more than the first", p.Sectors, sectors-1)
		}
		return nil
	}
	return errors.New("the boot record does not protect the table")
}
