package eltorito

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// disk is the start of an image in memory.
type disk []byte

func (d disk) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(d)) {
		return 0, io.ErrShortWrite
	}
	return copy(d[off:], p), nil
}

func options() Options {
	return Options{
		System: "SYS", Volume: "VOL", Publisher: "PUB", Application: "MKOSI",
		Time:      time.Date(2025, 10, 9, 8, 53, 20, 0, time.UTC),
		ESPOffset: 12 << 20, FirstOffset: 1 << 20,
	}
}

func TestWriteAndRead(t *testing.T) {
	for _, o := range []Options{
		options(),
		{Time: time.Unix(0, 0), ESPOffset: End, FirstOffset: End},
		{
			System: strings.Repeat("s", 32), Volume: strings.Repeat("V", 32), Publisher: strings.Repeat("P", 128),
			Application: `!"%&'()*+,-./:;<=>?_ x`, Time: time.Date(2155, 12, 31, 23, 59, 59, 0, time.UTC), ESPOffset: 1 << 40, FirstOffset: 1 << 20,
		},
	} {
		const size = 1 << 41
		d := make(disk, End)
		if err := Write(d, o); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(d[:32<<10], make([]byte, 32<<10)) {
			t.Error("something was written where the partition table is")
		}
		info, err := ReadInfo(bytes.NewReader(d), size)
		if err != nil {
			t.Fatal(err)
		}
		if !info.Time.Equal(o.Time) {
			t.Errorf("time %s, not %s", info.Time, o.Time)
		}
		info.Time = o.Time
		want := Info{o.System, o.Volume, o.Publisher, o.Application, o.Time, true, true, o.ESPOffset}
		if *info != want {
			t.Errorf("%+v, not %+v", info, want)
		}
	}
	if err := Write(make(disk, End-1), options()); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("full disk: %v", err)
	}
}

// The golden descriptors were compared with those of systemd-repart: see the
// integration tests, which do so with others.
func TestGolden(t *testing.T) {
	d := make(disk, End)
	if err := Write(d, options()); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(d)
	const want = "1954736f00be5fe8cb42363fca64e41af8a17e2b12d2407d917f4df9f89f4446"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("the descriptors have the digest %s", got)
	}
}

func TestCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(o *Options)
		want   string
	}{
		"system":      {func(o *Options) { o.System = strings.Repeat("S", 33) }, "system"},
		"volume":      {func(o *Options) { o.Volume = strings.Repeat("S", 33) }, "volume"},
		"publisher":   {func(o *Options) { o.Publisher = strings.Repeat("S", 129) }, "publisher"},
		"application": {func(o *Options) { o.Application = "#" }, "'#'"},
		"umlaut":      {func(o *Options) { o.Volume = "äöü" }, "'ä'"},
		"at":          {func(o *Options) { o.Publisher = "a@b" }, "'@'"},
		"bracket":     {func(o *Options) { o.System = "[" }, "'['"},
		"not UTF-8":   {func(o *Options) { o.System = "\xff" }, "system"},
		"late":        {func(o *Options) { o.Time = time.Date(2156, 1, 1, 0, 0, 0, 0, time.UTC) }, "2156"},
		"early":       {func(o *Options) { o.Time = time.Date(1899, 12, 31, 0, 0, 0, 0, time.UTC) }, "1899"},
		"no room":     {func(o *Options) { o.FirstOffset = End - 512 }, "first partition"},
		"unaligned":   {func(o *Options) { o.ESPOffset += 512 }, "sector"},
		"in front":    {func(o *Options) { o.ESPOffset = 0 }, "sector"},
		"far away":    {func(o *Options) { o.ESPOffset = 1 << 43 }, "sector"},
	} {
		o := options()
		tt.change(&o)
		if err := Check(o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v does not say %s", name, err, tt.want)
		}
		if err := Write(make(disk, End), o); err == nil {
			t.Errorf("%s: written", name)
		}
	}
}

func TestReadInfoRefuses(t *testing.T) {
	const size = 1 << 30
	for name, tt := range map[string]struct {
		spoil func(d disk) disk
		none  bool
	}{
		"nothing":          {func(disk) disk { return make(disk, End) }, true},
		"no descriptor":    {func(d disk) disk { d[16*2048+1] = 'X'; return d }, true},
		"no boot record":   {func(d disk) disk { d[17*2048] = 1; return d }, true},
		"another":          {func(d disk) disk { d[17*2048+7] = 'X'; return d }, true},
		"catalogue beyond": {func(d disk) disk { d[17*2048+74] = 0xff; return d }, false},
		"no key":           {func(d disk) disk { d[19*2048+30] = 0; return d }, false},
		"checksum":         {func(d disk) disk { d[19*2048+5] = 1; return d }, false},
		"image beyond":     {func(d disk) disk { d[19*2048+43] = 0xff; return d }, false},
		"cut":              {func(d disk) disk { return d[:19*2048] }, false},
	} {
		d := make(disk, End)
		if err := Write(d, options()); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadInfo(bytes.NewReader(tt.spoil(d)), size); err == nil || errors.Is(err, ErrNone) != tt.none {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadInfo(bytes.NewReader(nil), 0); !errors.Is(err, ErrNone) {
		t.Errorf("an empty file: %v", err)
	}
}

// FuzzReadInfo changes bytes of the descriptors, three bytes of input each, the
// first two of which say where.
func FuzzReadInfo(f *testing.F) {
	sample := make(disk, End)
	if err := Write(sample, options()); err != nil {
		f.Fatal(err)
	}
	f.Add(int64(1<<30), []byte{})
	f.Add(int64(End), []byte{71, 8, 20})
	f.Fuzz(func(t *testing.T, size int64, changes []byte) {
		d := bytes.Clone(sample)
		for ; len(changes) >= 3; changes = changes[3:] {
			if at := 16*SectorSize + int(binary.LittleEndian.Uint16(changes)); at < len(d) {
				d[at] = changes[2]
			}
		}
		if info, err := ReadInfo(bytes.NewReader(d), size); err == nil && info.Offset >= size {
			t.Errorf("%+v of %d bytes", info, size)
		}
	})
}
