package gpt

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// memory is a disk in memory.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(m)) {
		return 0, errors.New("beyond the end")
	}
	return copy(m[off:], p), nil
}

func table() *Table {
	id := uuid.MustParse
	return &Table{
		UUID:       id("56EA37D3-42B9-4D18-862B-F01B79FF46E0"),
		SectorSize: 512, Sectors: 14305, FirstUsable: 2048, LastUsable: 14271,
		Partitions: []Partition{
			{0, id("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"), id("1FBF2FC7-4459-D82B-803D-CD6F5D32F847"), 2048, 14127, 1 << 60, "root-x86-64"},
			{0, id("2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5"), id("A037542B-C47C-941B-A87A-5481494E8877"), 14128, 14239, 1 << 60, "root-x86-64-verity"},
			{0, id("41092B05-9FC8-4523-994F-2DEF0408B176"), id("E4F8B3FE-E0FF-42FB-8F80-021A0BBF871D"), 14240, 14271, 1 << 60, "root-x86-64-verity-sig"},
		},
	}
}

// The checksums are those that systemd-repart wrote for the same partitions,
// so that every byte they cover is the same.
func TestTableLikeRepart(t *testing.T) {
	disk := make(memory, 14305*512)
	if err := table().WriteTo(disk); err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if got := le.Uint32(disk[512+16:]); got != 0xb3c49b99 {
		t.Errorf("header checksum %#x", got)
	}
	if got := le.Uint32(disk[512+88:]); got != 0xe0eabe11 {
		t.Errorf("entries checksum %#x", got)
	}
	const record = "\x00\x00\x02\x00\xee\xff\xff\xff\x01\x00\x00\x00\xe0\x37\x00\x00"
	if got := string(disk[446:462]); got != record || disk[510] != 0x55 || disk[511] != 0xaa {
		t.Errorf("boot record %x", disk[446:512])
	}
	backup := disk[14304*512:]
	if string(backup[:8]) != "EFI PART" || le.Uint64(backup[24:]) != 14304 || le.Uint64(backup[32:]) != 1 || le.Uint64(backup[72:]) != 14272 {
		t.Errorf("backup header %x", backup[:92])
	}
	if string(disk[1024:1024+16384]) != string(disk[14272*512:14304*512]) {
		t.Error("the backup of the entries differs")
	}
}

func TestTableRefuses(t *testing.T) {
	for name, change := range map[string]func(*Table){
		"sector size":  func(t *Table) { t.SectorSize = 513 },
		"too small":    func(t *Table) { t.Sectors = 67 },
		"early":        func(t *Table) { t.FirstUsable = 33 },
		"late":         func(t *Table) { t.LastUsable = 14272 },
		"no type":      func(t *Table) { t.Partitions[0].Type = uuid.Nil },
		"name":         func(t *Table) { t.Partitions[0].Name = strings.Repeat("x", 37) },
		"name units":   func(t *Table) { t.Partitions[0].Name = strings.Repeat("𝄞", 19) },
		"name UTF-8":   func(t *Table) { t.Partitions[0].Name = "\xff" },
		"before start": func(t *Table) { t.Partitions[0].First = 2047 },
		"after end":    func(t *Table) { t.Partitions[2].Last = 14272 },
		"backwards":    func(t *Table) { t.Partitions[1].Last = 14127 },
		"overlap":      func(t *Table) { t.Partitions[1].First = 14127 },
		"too many":     func(t *Table) { t.Partitions = make([]Partition, 129) },
	} {
		tab := table()
		change(tab)
		if err := tab.WriteTo(make(memory, 14305*512)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := table().WriteTo(make(memory, 100)); err == nil {
		t.Error("a write error was lost")
	}
}
