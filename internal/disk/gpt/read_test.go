package gpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// written is a small disk with a table that has partitions 1, 2 and 5.
func written(t testing.TB, sectorSize int) (memory, *Table) {
	t.Helper()
	tab := table()
	tab.SectorSize, tab.Entries, tab.EntrySize, tab.EntriesAt = sectorSize, 128, 128, 2
	tab.Sectors, tab.FirstUsable, tab.LastUsable = 305, 48, 271
	for i, places := range [][2]uint64{{48, 127}, {128, 239}, {240, 271}} {
		tab.Partitions[i].First, tab.Partitions[i].Last = places[0], places[1]
	}
	for i, n := range []int{1, 2, 5} {
		tab.Partitions[i].Number = n
	}
	tab.Partitions[1].Name = "ünï 𝄞"
	disk := make(memory, 305*sectorSize)
	if err := tab.WriteTo(disk); err != nil {
		t.Fatal(err)
	}
	return disk, tab
}

func read(disk []byte, sectorSize int) (*Found, error) {
	return Read(bytes.NewReader(disk), int64(len(disk)), sectorSize)
}

// seal repairs the checksums of a table after a change, in the header that is
// in a sector.
func seal(disk []byte, sector int) {
	le := binary.LittleEndian
	h := disk[sector*512:][:92]
	at, n := le.Uint64(h[72:])*512, uint64(le.Uint32(h[80:])*le.Uint32(h[84:]))
	if at+n <= uint64(len(disk)) {
		le.PutUint32(h[88:], crc32.ChecksumIEEE(disk[at:][:n]))
	}
	le.PutUint32(h[16:], 0)
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h))
}

func TestReadWritten(t *testing.T) {
	for _, size := range []int{512, 1024, 2048, 4096} {
		disk, tab := written(t, size)
		for _, given := range []int{0, size} {
			f, err := read(disk, given)
			if err != nil {
				t.Fatal(err)
			}
			if f.Primary != nil || f.Backup != nil || f.BackupSector != 304 {
				t.Errorf("%d byte sectors: primary %v, backup %v in %d", size, f.Primary, f.Backup, f.BackupSector)
			}
			if diff := cmp.Diff(tab, f.Table); diff != "" {
				t.Errorf("%d byte sectors: written (-) and read (+):\n%s", size, diff)
			}
			if err := f.BootRecord.Check(f.Table.Sectors); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestReadWrittenOtherEntries(t *testing.T) {
	tab := table()
	tab.Entries, tab.EntrySize, tab.EntriesAt, tab.LastUsable = 200, 256, 40, 14200
	tab.Partitions = tab.Partitions[:1]
	tab.Partitions[0].Number, tab.Partitions[0].Last = 200, 14200
	disk := make(memory, 14305*512)
	if err := tab.WriteTo(disk); err != nil {
		t.Fatal(err)
	}
	f, err := read(disk, 0)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tab, f.Table); diff != "" {
		t.Errorf("written (-) and read (+):\n%s", diff)
	}
}

// Each of these leaves one copy, and the error says what is wrong with the
// other.
func TestReadDamaged(t *testing.T) {
	const last = 304
	le := binary.LittleEndian
	tests := map[string]struct {
		change          func([]byte) []byte
		primary, backup string
	}{
		"no primary":       {func(b []byte) []byte { clear(b[:34*512]); return b }, "there is no", ""},
		"no backup":        {func(b []byte) []byte { clear(b[last*512:]); return b }, "", "there is no"},
		"primary header":   {func(b []byte) []byte { b[512+40]++; return b }, "header's checksum", ""},
		"backup header":    {func(b []byte) []byte { b[last*512+40]++; return b }, "", "header's checksum"},
		"primary entries":  {func(b []byte) []byte { b[1024]++; return b }, "entries' checksum", ""},
		"backup entries":   {func(b []byte) []byte { b[272*512]++; return b }, "", "entries' checksum"},
		"version":          {func(b []byte) []byte { b[512+8] = 1; return b }, "version", ""},
		"header size":      {func(b []byte) []byte { le.PutUint32(b[512+12:], 513); return b }, "size of 513", ""},
		"other sector":     {func(b []byte) []byte { b[512+24] = 2; seal(b, 1); return b }, "sector 2", ""},
		"many entries":     {func(b []byte) []byte { le.PutUint32(b[512+80:], 1<<31); seal(b[:1024], 1); return b }, "not supported", ""},
		"no entries":       {func(b []byte) []byte { le.PutUint32(b[512+80:], 0); seal(b, 1); return b }, "no entries", ""},
		"odd entries":      {func(b []byte) []byte { le.PutUint32(b[512+84:], 127); seal(b, 1); return b }, "127 bytes", ""},
		"entries far away": {func(b []byte) []byte { le.PutUint64(b[512+72:], 1<<60); seal(b, 1); return b }, "entries are in sector", ""},
		"entries inside":   {func(b []byte) []byte { le.PutUint64(b[512+72:], 50); seal(b, 1); return b }, "entries are in sector", ""},
		"entries at end":   {func(b []byte) []byte { le.PutUint64(b[512+72:], 300); seal(b[:1024], 1); return b }, "beyond the end", ""},
		"usable":           {func(b []byte) []byte { le.PutUint64(b[512+48:], 1<<50); seal(b, 1); return b }, "not on the disk", ""},
		"overlap":          {func(b []byte) []byte { le.PutUint64(b[1024+40:], 128); seal(b, 1); return b }, "overlap", ""},
		"outside":          {func(b []byte) []byte { le.PutUint64(b[1024+32:], 47); seal(b, 1); return b }, "outside", ""},
		"different":        {func(b []byte) []byte { b[1024+48]++; seal(b, 1); return b }, "", "differs from"},
		"backup beyond":    {func(b []byte) []byte { le.PutUint64(b[512+32:], 1<<40); seal(b, 1); return b }, "", "beyond the end"},
		"grown":            {func(b []byte) []byte { return append(b, make([]byte, 512)...) }, "", "the disk ends with"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			disk, _ := written(t, 512)
			f, err := read(tt.change(disk), 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				got  error
				want string
			}{{f.Primary, tt.primary}, {f.Backup, tt.backup}} {
				if (c.got == nil) != (c.want == "") || c.got != nil && !strings.Contains(c.got.Error(), c.want) {
					t.Errorf("got %v, want %q", c.got, c.want)
				}
			}
			if f.Table == nil || len(f.Table.Partitions) != 3 {
				t.Errorf("read %v", f.Table)
			}
		})
	}
}

func TestReadFails(t *testing.T) {
	for _, n := range []int{0, 1, 511, 512, 1024, 5000} {
		if _, err := read(make([]byte, n), 0); !errors.Is(err, ErrNoTable) {
			t.Errorf("%d empty bytes: %v", n, err)
		}
	}
	if _, err := Read(bytes.NewReader(nil), -1, 0); !errors.Is(err, ErrNoTable) {
		t.Error(err)
	}
	disk, _ := written(t, 512)
	if _, err := read(disk, 513); err == nil {
		t.Error("an odd sector size was accepted")
	}
	if _, err := read(disk, 4096); !errors.Is(err, ErrNoTable) {
		t.Errorf("with another sector size: %v", err)
	}
	if _, err := read(disk[:len(disk)/2], 0); err == nil || !strings.Contains(err.Error(), "primary: the usable") || !strings.Contains(err.Error(), "backup: there is no") {
		t.Errorf("half a disk: %v", err)
	}
}

func TestBootRecordCheck(t *testing.T) {
	protective := BootPartition{Number: 1, Type: 0xee, First: 1, Sectors: 99}
	tests := map[string]struct {
		record  BootRecord
		sectors uint64
		want    string
	}{
		"good":         {BootRecord{true, []BootPartition{protective}}, 100, ""},
		"whole":        {BootRecord{true, []BootPartition{{Number: 2, Type: 0xee, First: 1, Sectors: 0xffffffff}}}, 100, ""},
		"large":        {BootRecord{true, []BootPartition{{Number: 1, Type: 0xee, First: 1, Sectors: 0xffffffff}}}, 1 << 40, ""},
		"none":         {BootRecord{false, []BootPartition{protective}}, 100, "no boot record"},
		"unprotected":  {BootRecord{true, []BootPartition{{Number: 1, Type: 0x83}}}, 100, "does not protect"},
		"hybrid":       {BootRecord{true, []BootPartition{{Number: 1, Type: 0xef}, protective}}, 100, "1 more"},
		"start":        {BootRecord{true, []BootPartition{{Number: 1, Type: 0xee, First: 2, Sectors: 99}}}, 100, "sector 2"},
		"size":         {BootRecord{true, []BootPartition{protective}}, 200, "99 sectors"},
		"size, modulo": {BootRecord{true, []BootPartition{protective}}, 100 + 1<<32, "99 sectors"},
	}
	for name, tt := range tests {
		err := tt.record.Check(tt.sectors)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// What is read is within the disk, and every partition has a number of its own.
func FuzzRead(f *testing.F) {
	for _, size := range []int{512, 4096} {
		disk, _ := written(f, size)
		disk = disk[:2*size+16384]
		f.Add([]byte(disk), int64(305*size), 0)
		f.Add([]byte(disk), int64(len(disk)), size)
	}
	f.Add([]byte{}, int64(0), 512)
	f.Fuzz(func(t *testing.T, head []byte, size int64, sectorSize int) {
		found, err := Read(bytes.NewReader(head), size, sectorSize)
		if err != nil {
			return
		}
		if found.Table == nil || found.Primary != nil && found.Backup != nil {
			t.Fatalf("read %+v", found)
		}
		seen := map[int]bool{}
		for _, p := range found.Table.Partitions {
			if p.Type == uuid.Nil || p.First > p.Last || p.Last >= found.Table.Sectors || seen[p.Number] || p.Number < 1 {
				t.Fatalf("read %+v", p)
			}
			seen[p.Number] = true
		}
	})
}
