package xfs

import (
	"bytes"
	"slices"
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
	contenttest.Refuses(t, "mkfs", Read, map[string]contenttest.Refusal{
		"short":           {Change: func(b []byte) []byte { return b[:100] }, Want: "superblock"},
		"cut off":         {Change: func(b []byte) []byte { return b[:len(b)/2] }, Want: "room for"},
		"no mark":         {Change: func(b []byte) []byte { b[0] = 0; return b }, Want: "not an XFS"},
		"version":         {Change: func(b []byte) []byte { b[101] = b[101]&0xf0 | 4; return b }, Want: "version 4"},
		"large blocks":    {Change: func(b []byte) []byte { b[120] = 40; return b }, Want: "blocks of"},
		"odd inodes":      {Change: func(b []byte) []byte { b[105] = 1; return b }, Want: "inodes of"},
		"no groups":       {Change: func(b []byte) []byte { clear(b[84:88]); return b }, Want: "groups of"},
		"large folders":   {Change: func(b []byte) []byte { b[192] = 200; return b }, Want: "blocks of folders"},
		"unknown feature": {Change: func(b []byte) []byte { b[216] = 0x80; return b }, Want: "incompat:0x80000000"},
		"to be repaired":  {Change: func(b []byte) []byte { b[219] |= incompatNeedsRepair; return b }, Want: "repaired first"},
		"no root":         {Change: func(b []byte) []byte { b[63]++; return b }, Want: ""},
		"root outside":    {Change: func(b []byte) []byte { b[56] = 0x7f; return b }, Want: "outside"},
	})
}

func FuzzRead(f *testing.F) { contenttest.Fuzz(f, Read, "mkfs", "kernel") }
