package layout

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func open(weight uint32, min, max int64) *Partition {
	return &Partition{Bounds: Bounds{Weight: weight, MinSize: min, MaxSize: max, MaxPadding: Unlimited}}
}

// placed lists offsets and sizes in sectors, as sfdisk does.
func placed(d *Disk, parts []*Partition) [][2]int64 {
	var out [][2]int64
	for _, p := range parts {
		out = append(out, [2]int64{p.Offset / int64(d.SectorSize), p.Size / int64(d.SectorSize)})
	}
	return out
}

// The expected places are those that systemd-repart 262 chose.
func TestLayoutLikeRepart(t *testing.T) {
	const K, M = int64(1 << 10), int64(1 << 20)
	ten := func() []*Partition {
		s := []*Partition{
			open(1000, 10*M, Unlimited), open(333, 10*M, Unlimited), open(1000, 10*M, 20*M),
			open(1000, 10*M, Unlimited), open(1000, 10*M, Unlimited), open(1000, 120*M, 120*M),
			open(1000, 10*M, Unlimited), open(1000, 10*M, Unlimited), open(1000, 10*M, Unlimited),
			open(0, 10*M, Unlimited),
		}
		s[1].MinPadding, s[1].MaxPadding = 1*M, 3*M
		s[3].PaddingWeight = 100
		return s
	}
	type want struct {
		Size        int64
		First, Last uint64
		Placed      [][2]int64
	}
	tests := map[string]struct {
		slots      []*Partition
		size       int64
		sectorSize int
		want       want
	}{
		"extension": {
			[]*Partition{open(1000, 6184960, Unlimited), open(1000, 57344, Unlimited), open(1000, 16*K, 16*K)}, 0, 512,
			want{7324160, 2048, 14271, [][2]int64{{2048, 12080}, {14128, 112}, {14240, 32}}},
		},
		"tiny extension": {
			[]*Partition{open(1000, 4*K, Unlimited), open(1000, 4*K, Unlimited), open(1000, 16*K, 16*K)}, 0, 512,
			want{1090048, 34, 2095, [][2]int64{{40, 1008}, {1048, 1016}, {2064, 32}}},
		},
		"tiny, large sectors": {
			[]*Partition{open(1000, 4*K, Unlimited)}, 0, 4096,
			want{1073152, 6, 256, [][2]int64{{6, 251}}},
		},
		"large sectors": {
			[]*Partition{open(1000, 10*M, Unlimited)}, 0, 4096,
			want{11554816, 256, 2815, [][2]int64{{256, 2560}}},
		},
		"last tiny disk": {
			[]*Partition{open(1000, 4*K, Unlimited)}, 4 * M, 512,
			want{4 * M, 34, 8158, [][2]int64{{40, 8112}}},
		},
		"first disk that is not tiny": {
			[]*Partition{open(1000, 4*K, Unlimited)}, 4*M + 4*K, 512,
			want{4*M + 4*K, 2048, 8166, [][2]int64{{2048, 6112}}},
		},
		"weights on 1G": {ten(), 1 << 30, 512, want{1 << 30, 2048, 2097118, [][2]int64{
			{2048, 277600}, {279648, 92440}, {374136, 40960}, {415096, 277600}, {720456, 277600},
			{998056, 245760}, {1243816, 277600}, {1521416, 277608}, {1799024, 277608}, {2076632, 20480},
		}}},
		"weights on an odd size": {ten(), 1024004096, 512, want{1024004096, 2048, 1999974, [][2]int64{
			{2048, 262496}, {264544, 87408}, {354000, 40960}, {394960, 262496}, {683704, 262504},
			{946208, 245760}, {1191968, 262504}, {1454472, 262504}, {1716976, 262512}, {1979488, 20480},
		}}},
		"weights on the smallest size": {ten(), 0, 512, want{222315008, 2048, 434175, [][2]int64{
			{2048, 20480}, {22528, 20480}, {45056, 20480}, {65536, 20480}, {86016, 20480},
			{106496, 245760}, {352256, 20480}, {372736, 20480}, {393216, 20480}, {413696, 20480},
		}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := Disk{Size: tt.size, SectorSize: tt.sectorSize}
			if err := d.Place(tt.slots); err != nil {
				t.Fatal(err)
			}
			got := want{d.Size, d.FirstUsable, d.LastUsable, placed(&d, tt.slots)}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("layout differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLayoutTooSmall(t *testing.T) {
	for _, size := range []int64{512, 1 << 20, 5 << 20} {
		if err := (&Disk{Size: size}).Place([]*Partition{open(1000, 10<<20, Unlimited)}); err == nil {
			t.Errorf("10 MiB fitted on a disk of %d bytes", size)
		}
	}
	if err := new(Disk).Place([]*Partition{open(1, Unlimited, Unlimited), open(1, Unlimited, Unlimited)}); err == nil {
		t.Error("sizes overflowed")
	}
}
