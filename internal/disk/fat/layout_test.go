package fat

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// File systems are laid out like those of mkfs.fat 4.2, which made this table.
func TestLayoutLikeMkfs(t *testing.T) {
	for _, want := range [][10]int64{
		// type, sector size, size, sectors a cluster, reserved sectors, entries
		// of the root folder, sectors, sectors of a table, track, heads
		{32, 512, 65536, 1, 32, 0, 128, 1, 16, 2},
		{32, 512, 1048576, 1, 32, 0, 2048, 16, 16, 2},
		{32, 512, 10485760, 1, 32, 0, 20480, 158, 32, 2},
		{32, 512, 35651584, 1, 32, 0, 69632, 536, 32, 8},
		{32, 512, 104857600, 1, 32, 0, 204800, 1576, 32, 8},
		{32, 512, 272629760, 1, 32, 0, 532476, 4096, 63, 16},
		{32, 512, 273678336, 8, 32, 0, 534492, 528, 63, 16},
		{32, 512, 8589934592, 8, 32, 0, 16777215, 16360, 63, 255},
		{32, 512, 9663676416, 16, 32, 0, 18874359, 9216, 63, 255},
		{32, 512, 18253611008, 32, 32, 0, 35651574, 8704, 63, 255},
		{32, 512, 35433480192, 64, 64, 0, 69206004, 8448, 63, 255},
		{32, 512, 322122547200, 64, 64, 0, 629145594, 76800, 63, 255},
		{32, 4096, 262144, 1, 32, 0, 64, 1, 16, 2},
		{32, 4096, 10485760, 1, 32, 0, 2560, 3, 16, 2},
		{32, 4096, 104857600, 1, 32, 0, 25600, 25, 32, 2},
		{32, 4096, 272629760, 1, 32, 0, 66560, 65, 32, 8},
		{32, 4096, 536870912, 1, 32, 0, 131072, 128, 32, 8},
		{32, 4096, 2147483648, 1, 32, 0, 524288, 511, 32, 16},
		{32, 4096, 4294967296, 8, 32, 0, 1048572, 128, 63, 32},
		{32, 4096, 107374182400, 16, 32, 0, 26214363, 1600, 63, 255},
		{32, 4096, 322122547200, 64, 64, 0, 78643152, 1216, 63, 255},
		{32, 1024, 104857600, 1, 32, 0, 102400, 397, 32, 8},
		{32, 2048, 1073741824, 1, 32, 0, 524288, 1020, 32, 16},
		{12, 512, 65536, 4, 1, 512, 128, 1, 16, 2},
		{12, 512, 1048576, 4, 1, 512, 2048, 2, 16, 2},
		{12, 512, 4194304, 4, 1, 512, 8192, 6, 32, 2},
		{12, 512, 5242880, 4, 4, 512, 10240, 8, 32, 2},
		{12, 512, 8388608, 4, 4, 512, 16384, 12, 32, 2},
		{12, 512, 10485760, 8, 8, 512, 20480, 8, 32, 2},
		{12, 512, 104857600, 64, 64, 1024, 204800, 64, 32, 8},
		{12, 512, 209715200, 128, 128, 2048, 409600, 128, 32, 16},
		{12, 4096, 1048576, 4, 1, 512, 256, 1, 16, 2},
		{12, 4096, 62914560, 4, 4, 512, 15360, 4, 32, 2},
		{12, 4096, 1073741824, 128, 128, 16384, 262144, 128, 32, 8},
		{12, 1024, 3145728, 4, 1, 512, 3072, 2, 16, 2},
		{12, 2048, 34603008, 8, 8, 512, 16896, 8, 32, 2},
		{16, 512, 10485760, 4, 4, 512, 20480, 20, 32, 2},
		{16, 512, 33554432, 4, 4, 512, 65536, 64, 32, 4},
		{16, 512, 34603008, 4, 4, 512, 67584, 68, 32, 8},
		{16, 512, 134217728, 4, 4, 512, 262144, 256, 32, 8},
		{16, 512, 209715200, 8, 8, 512, 409600, 200, 32, 16},
		{16, 512, 314572800, 16, 16, 512, 614376, 160, 63, 16},
		{16, 512, 3221225472, 128, 128, 2048, 6291432, 256, 63, 128},
		{16, 4096, 67108864, 4, 4, 512, 16384, 4, 32, 2},
		{16, 4096, 209715200, 4, 4, 512, 51200, 8, 32, 4},
		{16, 4096, 2147483648, 16, 16, 2048, 524288, 16, 32, 16},
		{16, 4096, 17179869184, 128, 128, 16384, 4194288, 128, 63, 128},
		{16, 1024, 104857600, 4, 4, 512, 102400, 52, 32, 8},
		{16, 2048, 524288000, 4, 4, 512, 256000, 64, 32, 8},
	} {
		sectors := want[2] / want[1]
		v := format32(sectors, want[1])
		if want[0] < 32 {
			v = formatOld(sectors, want[1], rootEntries, int(want[0]))
		}
		if v == nil {
			t.Errorf("no FAT%d with %d bytes", want[0], want[2])
			continue
		}
		got := [10]int64{want[0], v.sector, want[2], v.perCluster, v.reserved, v.root * v.sector / entrySize, v.total, v.table, v.track, v.heads}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("layout (-mkfs +ours):\n%s", diff)
		}
	}
}

// Where the type changes, and at the largest numbers of clusters, files are
// found again.
func TestBoundaries(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tree := content.Tree{dir(""), file("file", 100000)}
	for _, tt := range []struct {
		sectors  int64
		bits     int
		clusters int64
	}{
		{16384, 12, 4081}, {16416, 16, 4087}, {66560, 16, 16597}, {66592, 32, 65534},
	} {
		size := tt.sectors * 512
		if err := errors.Join(f.Truncate(0), f.Truncate(size)); err != nil {
			t.Fatal(err)
		}
		im, err := Plan(tree, options())
		if err != nil {
			t.Fatal(err)
		}
		if err := im.Write(t.Context(), f, size); err != nil {
			t.Fatal(err)
		}
		checkTree(t, f, size, tree)
		fs, err := open(f, size)
		if err != nil {
			t.Fatal(err)
		}
		if fs.bits != tt.bits || fs.clusters != tt.clusters {
			t.Errorf("%d sectors: FAT%d with %d clusters", tt.sectors, fs.bits, fs.clusters)
		}
	}
}

// The types are told apart by the number of clusters, to the very number, but
// for FAT32.
func TestClusterRange(t *testing.T) {
	for _, tt := range []struct {
		bits        int
		least, most int64
	}{{12, 1, 4084}, {16, 4085, 65524}, {32, 1, 0x0ffffff5}} {
		for n, good := range map[int64]bool{tt.least: true, tt.most: true, tt.least - 1: false, tt.most + 1: false} {
			v := &volume{bits: tt.bits, sector: 512, perCluster: 8, reserved: 1, copies: 2, root: 2, clusters: n}
			v.table = divideUp((n+2)*int64(tt.bits), 8*512)
			if tt.bits == 32 {
				v.reserved, v.root, v.rootCluster = 32, 0, 2
			}
			v.total = v.reserved + v.root + 2*v.table + 8*n
			im := &Image{options: options()}
			got, err := decodeVolume(im.bootSector(v))
			same := err == nil && got.bits == tt.bits && got.clusters == n
			if same != good {
				t.Errorf("FAT%d with %d clusters: %+v, %v", tt.bits, n, got, err)
			}
		}
	}
}

// A root folder that cannot grow is made large enough.
func TestLargeRoot(t *testing.T) {
	tree := content.Tree{dir("")}
	for i := range 5000 {
		tree = append(tree, file(fmt.Sprintf("a file with a long name %d", i), 0))
	}
	tree.Sort()
	for _, bits := range []int{12, 16, 32} {
		o := options()
		o.Bits = bits
		d := write(t, tree, o, 0)
		checkTree(t, bytes.NewReader(d), int64(len(d)), tree)
	}
}
