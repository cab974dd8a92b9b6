package ext4

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/content/contenttest"
)

// The images were made by mke2fs 1.47.4 from a folder with some of everything,
// with blocks of 1 KiB: "inline" keeps small content in inodes, "ext2" has no
// extents.

func TestReadImages(t *testing.T) {
	for _, name := range []string{"ext4", "inline", "ext2"} {
		contenttest.Golden(t, name, name, Read)
	}
}

func TestReadInfo(t *testing.T) {
	for name, want := range map[string]Info{
		"ext4":   {Kind: "ext4", Label: "small", Free: 550 << 10, Inodes: 160},
		"inline": {Kind: "ext4", Label: "inline", Free: 550 << 10, Inodes: 160},
		"ext2":   {Kind: "ext2", Label: "old", Free: 550 << 10, Inodes: 160},
	} {
		b := contenttest.Image(t, name)
		in, err := ReadInfo(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if in.Kind != want.Kind || in.Label != want.Label || in.Size != int64(len(b)) || in.BlockSize != 1024 || in.Inodes < want.Inodes ||
			in.UUID.String() != "3d30965a-0981-46f6-a67a-9c6bc38538e6" || in.Free <= 0 || in.Free > want.Free || in.NeedsRecovery {
			t.Errorf("%s: %+v", name, in)
		}
		if got := slices.Contains(in.Features, "inline_data"); got != (name == "inline") {
			t.Errorf("%s: features %q", name, in.Features)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	contenttest.Refuses(t, "ext4", Read, map[string]contenttest.Refusal{
		"short":           {Change: func(b []byte) []byte { return b[:1500] }, Want: "too small"},
		"cut off":         {Change: func(b []byte) []byte { return b[:len(b)-2048] }, Want: "room for"},
		"no mark":         {Change: func(b []byte) []byte { b[1024+56] = 0; return b }, Want: "not an ext4"},
		"large blocks":    {Change: func(b []byte) []byte { b[1024+24] = 7; return b }, Want: "blocks of 2^7"},
		"no groups":       {Change: func(b []byte) []byte { clear(b[1024+32 : 1024+36]); return b }, Want: "groups of 0"},
		"odd inodes":      {Change: func(b []byte) []byte { b[1024+88] = 1; return b }, Want: "inodes of"},
		"odd descriptors": {Change: func(b []byte) []byte { b[1024+254] = 7; return b }, Want: "descriptors of"},
		"journal":         {Change: func(b []byte) []byte { b[1024+96] |= incompatRecover; return b }, Want: "replayed"},
		"spread groups":   {Change: func(b []byte) []byte { b[1024+96] |= incompatMetaBG; return b }, Want: "meta_bg"},
		"table outside":   {Change: func(b []byte) []byte { le.PutUint32(b[2048+8:], 1<<30); return b }, Want: "outside"},
		"too many inodes": {Change: func(b []byte) []byte { le.PutUint32(b[1024:], 1<<30); return b }, Want: "do not fit"},
		"zeroed inodes":   {Change: func(b []byte) []byte { at := le.Uint32(b[2048+8:]) * 1024; clear(b[at : at+4096]); return b }, Want: "no folder at its top"},
	})
}

func TestDecodeACL(t *testing.T) {
	memory := []byte("\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x02\x00\x04\x00\xd2\x04\x00\x00\x20\x00\x05\x00\xff\xff\xff\xff")
	disk, err := encodeACL(memory)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeACL(disk); err != nil || !bytes.Equal(got, memory) {
		t.Errorf("%x, %v", got, err)
	}
	for _, bad := range []string{"", "\x02\x00\x00\x00", "\x01\x00\x00\x00\x01", "\x01\x00\x00\x00\x02\x00\x04\x00\x01"} {
		if got, err := decodeACL([]byte(bad)); err == nil {
			t.Errorf("%q was accepted as %x", bad, got)
		}
	}
}

// Extents in blocks of their own, holes and what is allocated but not written.
func TestRuns(t *testing.T) {
	const blocks = 1000
	disk := make([]byte, blocks*1024)
	v := &reader{super: &super{blockSize: 1024, blocks: blocks}, r: bytes.NewReader(disk)}
	inode := make([]byte, 256)
	le.PutUint32(inode[32:], flagExtents)
	area := inode[40:100]
	copy(area, "\x0a\xf3\x01\x00\x04\x00\x01\x00")
	le.PutUint32(area[16:], 900)
	leaf := disk[900*1024:]
	copy(leaf, "\x0a\xf3\x04\x00\x50\x00\x00\x00")
	for i, x := range []struct {
		logical, start uint32
		count          uint16
	}{{0, 10, 2}, {4, 50, 3}, {7, 60, maxRun + 5}, {12, 53, 1}} {
		e := leaf[12+12*i:]
		le.PutUint32(e, x.logical)
		le.PutUint16(e[4:], x.count)
		le.PutUint32(e[8:], x.start)
	}
	runs, err := v.runs(inode, 13*1024)
	want := []content.Run{{At: 0, Length: 2048, Offset: 10240}, {At: 4096, Length: 3072, Offset: 51200}, {At: 12 * 1024, Length: 1024, Offset: 53 * 1024}}
	if err != nil || !slices.Equal(runs, want) {
		t.Errorf("runs %v, %v", runs, err)
	}
	f := content.OpenRuns(v.r, 13*1024, runs)
	if b, err := io.ReadAll(f); err != nil || len(b) != 13*1024 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	for name, change := range map[string]func(){
		"its own parent":   func() { le.PutUint32(area[16:], 1000) },
		"deeper than said": func() { le.PutUint16(leaf[6:], 1) },
		"out of order":     func() { le.PutUint32(leaf[12+12:], 1) },
		"outside":          func() { le.PutUint32(leaf[12+8:], 999) },
		"empty":            func() { le.PutUint16(leaf[2:], 0) },
		"too many":         func() { le.PutUint16(leaf[2:], 2000) },
	} {
		keepLeaf, keepArea := bytes.Clone(leaf[:1024]), bytes.Clone(area)
		change()
		if runs, err := v.runs(inode, 13*1024); err == nil {
			t.Errorf("%s: read as %v", name, runs)
		}
		copy(leaf, keepLeaf)
		copy(area, keepArea)
	}
}

func FuzzRead(f *testing.F) { contenttest.Fuzz(f, Read, "ext4", "inline", "ext2") }
