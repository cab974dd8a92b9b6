package gpt

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
)

func TestResize(t *testing.T) {
	const sectors, sector = 4096, 512
	table := &Table{UUID: uuid.UUID{1}, SectorSize: sector, Sectors: sectors, FirstUsable: HeadSectors(sector), LastUsable: sectors - HeadSectors(sector),
		Partitions: []Partition{{Type: uuid.UUID{2}, UUID: uuid.UUID{3}, First: 2048, Last: 3000, Name: "one"}}}
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	code := bytes.Repeat([]byte{0x90}, recordEntries)
	_, codeErr := f.WriteAt(code, 0)
	if err := errors.Join(codeErr, Resize(f, sectors*sector, 0)); !errors.Is(err, ErrNoTable) {
		t.Errorf("a disk without table: %v", err)
	}
	if err := errors.Join(f.Truncate(sectors*sector), table.WriteTo(f)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(code, 0); err != nil {
		t.Fatal(err)
	}
	if err := Resize(f, 2500*sector, sector); err == nil {
		t.Error("a partition was cut off")
	}
	for _, size := range []int64{6000, 3100, 4097, sectors} {
		if err := Resize(f, size*sector, sector); err != nil {
			t.Fatalf("%d sectors: %v", size, err)
		}
		found, err := Read(f, size*sector, sector)
		if err != nil || found.Primary != nil || found.Backup != nil || found.Table.Sectors != uint64(size) || found.Table.Partitions[0].Name != "one" {
			t.Fatalf("%d sectors: %+v, error %v", size, found, err)
		}
		if err := found.BootRecord.Check(uint64(size)); err != nil {
			t.Errorf("%d sectors: %v", size, err)
		}
		got := make([]byte, len(code))
		if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, code) {
			t.Errorf("%d sectors: the boot code is gone", size)
		}
	}
	// What the disk was before has left no second backup.
	rest := make([]byte, sector)
	if _, err := f.ReadAt(rest, 3099*sector); err != nil || bytes.HasPrefix(rest, []byte(signature)) {
		t.Errorf("an old backup is still there, error %v", err)
	}
}
