package bootloader

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
)

const biosDiskSize = 2 << 20

// rootType is the type of a partition that is of no use here.
var rootType = uuid.MustParse("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")

// biosDisk is a disk with a BIOS boot partition of 8 sectors at sector 2048, and 0xa5 in all of the boot sector that the
// partition table does not use.
func biosDisk(t testing.TB, sectorSize int, types ...uuid.UUID) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	sectors := uint64(biosDiskSize / sectorSize)
	table := gpt.Table{
		UUID: uuid.Max, SectorSize: sectorSize, Sectors: sectors,
		FirstUsable: gpt.HeadSectors(sectorSize) + 1, LastUsable: sectors - gpt.TailSectors(sectorSize) - 1,
	}
	for n, typ := range types {
		first := table.FirstUsable + uint64(n)*8
		if typ == biosBootType && sectorSize == biosSector {
			first = 2048
		}
		table.Partitions = append(table.Partitions, gpt.Partition{Type: typ, UUID: uuid.UUID{byte(n + 1)}, First: first, Last: first + 7})
	}
	pattern := bytes.Repeat([]byte{0xa5}, bootDisk)
	if err := f.Truncate(biosDiskSize); err != nil {
		t.Fatal(err)
	}
	if err := table.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(pattern, 0); err != nil {
		t.Fatal(err)
	}
	return f
}

// madeUpBoot is a boot sector of 0x11, madeUpCore a core image of n bytes that begins with its list of sectors.
func madeUpBoot() []byte {
	b := bytes.Repeat([]byte{0x11}, biosSector)
	b[510], b[511] = 0x55, 0xaa
	return b
}

func madeUpCore(n int) []byte {
	b := bytes.Repeat([]byte{0x22}, n)
	list := b[biosSector-blockListSize:]
	binary.LittleEndian.PutUint64(list, 2)
	binary.LittleEndian.PutUint16(list[8:], uint16((n-1)/biosSector))
	binary.LittleEndian.PutUint16(list[10:], coreSegment)
	return b
}

func TestInstallBootSector(t *testing.T) {
	disk := biosDisk(t, biosSector, rootType, biosBootType)
	before, err := io.ReadAll(io.NewSectionReader(disk, 0, biosDiskSize))
	if err != nil {
		t.Fatal(err)
	}
	core := madeUpCore(3*biosSector + 100)
	b := BootSector{madeUpBoot(), core}
	if err := b.Install(disk, biosDiskSize); err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(before)
	for n := range biosSector {
		if n < bootParameters || n >= bootParametersEnd && n < bootDisk {
			want[n] = 0x11
		}
	}
	copy(want[bootCoreSector:], []byte{0, 8, 0, 0, 0, 0, 0, 0})
	copy(want[bootDriveCheck:], []byte{0x90, 0x90})
	copy(want[2048*biosSector:], core)
	copy(want[2048*biosSector+500:], []byte{1, 8, 0, 0, 0, 0, 0, 0, 3, 0, 0x20, 0x08})
	clear(want[2048*biosSector+len(core) : 2052*biosSector])
	got, err := io.ReadAll(io.NewSectionReader(disk, 0, biosDiskSize))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		for n := range got {
			if got[n] != want[n] {
				t.Fatalf("at %#x there is %#x, not %#x", n, got[n], want[n])
			}
		}
	}
	if b.Core[500] != 2 {
		t.Error("the core image was changed in memory")
	}
	found, err := gpt.Read(disk, biosDiskSize, 0)
	if err != nil || found.Primary != nil || found.BootRecord.Check(biosDiskSize/biosSector) != nil {
		t.Errorf("partition table: %v, %v", found, err)
	}
}

func TestInstallBootSectorRefuses(t *testing.T) {
	damaged := func(n int, change func([]byte)) []byte {
		b := madeUpCore(n)
		change(b)
		return b
	}
	noBoot := madeUpBoot()
	noBoot[510] = 0
	core := madeUpCore(1024)
	for _, tt := range []struct {
		disk *os.File
		b    BootSector
		want string
	}{
		{biosDisk(t, biosSector, biosBootType), BootSector{noBoot, core}, "boot.img is no boot sector"},
		{biosDisk(t, biosSector, biosBootType), BootSector{madeUpBoot()[:511], core}, "boot.img is no boot sector"},
		{biosDisk(t, biosSector, biosBootType), BootSector{madeUpBoot(), core[:512]}, "core.img has 512 bytes"},
		{biosDisk(t, biosSector, biosBootType), BootSector{madeUpBoot(), damaged(1024, func(b []byte) { b[500] = 1 })}, "list of its sectors"},
		{biosDisk(t, biosSector, biosBootType), BootSector{madeUpBoot(), damaged(1024, func(b []byte) { b[508] = 2 })}, "list of its sectors"},
		{biosDisk(t, biosSector, biosBootType), BootSector{madeUpBoot(), damaged(1024, func(b []byte) { b[510] = 0 })}, "list of its sectors"},
		{biosDisk(t, biosSector, biosBootType), BootSector{madeUpBoot(), madeUpCore(8*biosSector + 1)}, "enlarge it"},
		{biosDisk(t, biosSector, rootType), BootSector{madeUpBoot(), core}, "Type=21686148-6449-6e6f-744e-656564454649"},
		{biosDisk(t, 4096, biosBootType), BootSector{madeUpBoot(), core}, "SectorSize="},
	} {
		before, err := io.ReadAll(io.NewSectionReader(tt.disk, 0, biosDiskSize))
		if err != nil {
			t.Fatal(err)
		}
		if err := tt.b.Install(tt.disk, biosDiskSize); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
		if after, err := io.ReadAll(io.NewSectionReader(tt.disk, 0, biosDiskSize)); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the disk was changed, %v", tt.want, err)
		}
	}
}

// FuzzBootSector takes any two files for those of grub: no matter what they hold, nothing outside of the boot sector and
// the BIOS boot partition is written.
func FuzzBootSector(f *testing.F) {
	f.Add(madeUpBoot(), madeUpCore(1024))
	f.Add(madeUpBoot(), madeUpCore(8*biosSector))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, boot, core []byte) {
		disk := biosDisk(t, biosSector, biosBootType)
		if err := (&BootSector{boot, core}).Install(disk, biosDiskSize); err != nil {
			return
		}
		if _, err := gpt.Read(disk, biosDiskSize, 0); err != nil {
			t.Errorf("the partition table is damaged: %v", err)
		}
		rest, err := io.ReadAll(io.NewSectionReader(disk, 2056*biosSector, biosDiskSize-(2056+33)*biosSector))
		if err != nil || len(bytes.Trim(rest, "\x00")) > 0 {
			t.Errorf("written behind the partition, %v", err)
		}
	})
}
