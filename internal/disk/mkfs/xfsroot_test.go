package mkfs

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// xfsSample is a superblock and the inode of the top folder, number 128: the
// first one in block 16.
func xfsSample(bigTime bool) []byte {
	be := binary.BigEndian
	b := make([]byte, 17*4096)
	copy(b, "XFSB")
	be.PutUint64(b[56:], 128)
	b[120], b[122], b[123], b[124] = 12, 9, 3, 14
	inode := b[16*4096:]
	copy(inode, "IN")
	inode[4] = 3
	be.PutUint64(inode[152:], 128)
	if bigTime {
		be.PutUint64(inode[120:], 8)
	}
	return b
}

// repairSample has the inode in a sample repaired.
func repairSample(t *testing.T, sample []byte, top content.Entry) ([]byte, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "xfs")
	if err := os.WriteFile(path, sample, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := repairXFS(f, &top); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b, nil
}

func TestRepairXFS(t *testing.T) {
	be := binary.BigEndian
	top := content.Entry{Mode: unix.S_IFDIR | 0o751, UID: 5, GID: 70000, Mtime: 1700000000, MtimeNsec: 123456789}
	for bigTime, want := range map[bool]uint64{true: (1700000000+1<<31)*1e9 + 123456789, false: 1700000000<<32 | 123456789} {
		b, err := repairSample(t, xfsSample(bigTime), top)
		if err != nil {
			t.Fatal(err)
		}
		inode := b[16*4096:][:512]
		if be.Uint16(inode[2:]) != unix.S_IFDIR|0o751 || be.Uint32(inode[8:]) != 5 || be.Uint32(inode[12:]) != 70000 || be.Uint64(inode[40:]) != want {
			t.Errorf("big time %t: %x", bigTime, inode)
		}
		sum := binary.LittleEndian.Uint32(inode[100:])
		clear(inode[100:104])
		if sum != crc32.Checksum(inode, crc32.MakeTable(crc32.Castagnoli)) {
			t.Error("the checksum is wrong")
		}
	}
}

// Whatever mkfs.xfs leaves behind, reading it ends.
func FuzzRepairXFS(f *testing.F) {
	f.Add(uint64(128), byte(12), byte(9), byte(3), byte(14))
	f.Add(^uint64(0), byte(63), byte(63), byte(63), byte(63))
	f.Add(uint64(1<<40), byte(16), byte(11), byte(8), byte(31))
	f.Fuzz(func(t *testing.T, root uint64, blockLog, inodeLog, perBlockLog, groupLog byte) {
		b := xfsSample(true)
		binary.BigEndian.PutUint64(b[56:], root)
		b[120], b[122], b[123], b[124] = blockLog, inodeLog, perBlockLog, groupLog
		out, err := repairSample(t, b, content.Entry{Mode: unix.S_IFDIR})
		if err == nil && len(out) != len(b) {
			t.Errorf("the file has %d bytes", len(out))
		}
	})
}
