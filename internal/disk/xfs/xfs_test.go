package xfs

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/disk/content/contenttest"
)

// The images were made by mkfs.xfs 7.2 from a folder with some of everything:
// "mkfs" by it alone, without device nodes, which it fails at; "kernel" with
// blocks of 1 KiB and old timestamps, filled through the kernel, with a file
// in many pieces, a large attribute and a large folder.

func TestReadImages(t *testing.T) {
	for _, name := range []string{"mkfs", "kernel"} {
		contenttest.Golden(t, name, name, Read)
	}
}

func TestReadInfo(t *testing.T) {
	for name, blockSize := range map[string]int64{"mkfs": 4096, "kernel": 1024} {
		b := contenttest.Image(t, name)
		in, err := ReadInfo(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if in.Label != "small" || in.BlockSize != blockSize || in.Size != int64(len(b)) || in.UUID.String() != "3d30965a-0981-46f6-a67a-9c6bc38538e6" ||
			in.Free <= 0 || in.Free >= in.Size || in.Inodes < 100 || slices.Contains(in.Features, "bigtime") != (name == "mkfs") {
			t.Errorf("%s: %+v", name, in)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	image := contenttest.Image(t, "mkfs")
	for name, tt := range map[string]struct {
		change func(b []byte) []byte
		want   string
	}{
		"short":           {func(b []byte) []byte { return b[:100] }, "superblock"},
		"cut off":         {func(b []byte) []byte { return b[:len(b)/2] }, "room for"},
		"no mark":         {func(b []byte) []byte { b[0] = 0; return b }, "not an XFS"},
		"version":         {func(b []byte) []byte { b[101] = b[101]&0xf0 | 4; return b }, "version 4"},
		"large blocks":    {func(b []byte) []byte { b[120] = 40; return b }, "blocks of"},
		"odd inodes":      {func(b []byte) []byte { b[105] = 1; return b }, "inodes of"},
		"no groups":       {func(b []byte) []byte { clear(b[84:88]); return b }, "groups of"},
		"large folders":   {func(b []byte) []byte { b[192] = 200; return b }, "blocks of folders"},
		"unknown feature": {func(b []byte) []byte { b[216] = 0x80; return b }, "incompat:0x80000000"},
		"to be repaired":  {func(b []byte) []byte { b[219] |= incompatNeedsRepair; return b }, "repaired first"},
		"no root":         {func(b []byte) []byte { b[63]++; return b }, ""},
		"root outside":    {func(b []byte) []byte { b[56] = 0x7f; return b }, "outside"},
	} {
		b := tt.change(bytes.Clone(image))
		if tree, err := Read(t.Context(), bytes.NewReader(b), int64(len(b))); err == nil {
			t.Errorf("%s: read as %d entries", name, len(tree))
		} else if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRead(f *testing.F) { contenttest.Fuzz(f, Read, "mkfs", "kernel") }
