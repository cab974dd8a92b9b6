package swap

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/uuid"
)

// disk is the swap space's place in memory.
type disk []byte

func (d disk) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(d)) {
		return 0, io.ErrShortWrite
	}
	return copy(d[off:], p), nil
}

var id = uuid.MustParse("6f0b6a3e-4ac0-4d0b-9d2f-3b4a35b7a9c1")

func TestWriteAndRead(t *testing.T) {
	for label, want := range map[string]string{
		"": "", "swap": "swap", "123456789012345": "123456789012345", "1234567890123456": "123456789012345",
		"a label that is longer than sixteen": "a label that is", "äöüäöüäöüä": "äöüäöüä",
	} {
		for _, size := range []int64{MinSize, MinSize + 1, 1 << 20} {
			d := make(disk, size)
			if err := Write(d, size, id, label); err != nil {
				t.Fatal(err)
			}
			info, err := ReadInfo(bytes.NewReader(d), size)
			if err != nil {
				t.Fatal(err)
			}
			if *info != (Info{UUID: id, Label: want, Size: size / PageSize * PageSize}) {
				t.Errorf("%q, %d bytes: %+v", label, size, info)
			}
		}
	}
	if err := Write(make(disk, MinSize), MinSize-1, id, ""); err == nil {
		t.Error("swap space that is too small was accepted")
	}
	if err := Write(make(disk, 100), MinSize, id, ""); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("full disk: %v", err)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, spoil := range map[string]func(d disk) disk{
		"nothing":   func(d disk) disk { return nil },
		"half":      func(d disk) disk { return d[:2048] },
		"too small": func(d disk) disk { return d[:PageSize*9] },
		"magic":     func(d disk) disk { d[4090] ^= 1; return d },
		"version":   func(d disk) disk { d[1024] = 2; return d },
		"too large": func(d disk) disk { d[1031] = 0xff; return d },
	} {
		d := make(disk, MinSize)
		if err := Write(d, MinSize, id, "swap"); err != nil {
			t.Fatal(err)
		}
		d = spoil(d)
		if info, err := ReadInfo(bytes.NewReader(d), int64(len(d))); err == nil {
			t.Errorf("%s: %+v", name, info)
		}
	}
	if _, err := ReadInfo(bytes.NewReader(nil), MinSize); err == nil {
		t.Error("an empty file was read as swap space")
	}
}

func FuzzReadInfo(f *testing.F) {
	d := make(disk, MinSize)
	if err := Write(d, MinSize, id, "swap"); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(d[:PageSize]))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := ReadInfo(bytes.NewReader(b), int64(len(b)))
		if err == nil && (info.Size > int64(len(b)) || len(info.Label) > labelLength) {
			t.Errorf("%+v of %d bytes", info, len(b))
		}
	})
}
