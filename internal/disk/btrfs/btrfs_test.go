package btrfs

import (
	"bytes"
	"slices"
	"testing"

	"github.com/mkosi-go/mkosi/internal/disk/content/contenttest"
)

// The images were made from a folder with some of everything: three by
// mkfs.btrfs 7.1 alone, with one of the compressions and a folder as subvolume;
// "default" is smaller, and has another folder as default subvolume; "kernel" was filled through the kernel, with lzo and zstd, a
// subvolume, a snapshot, a clone that was changed, and space that is allocated
// but not written.

func images() []string { return []string{"zlib", "lzo", "zstd", "default", "kernel"} }

func TestReadImages(t *testing.T) {
	for name, golden := range map[string]string{"zlib": "packed", "lzo": "packed", "zstd": "packed", "default": "default", "kernel": "kernel"} {
		contenttest.Golden(t, name, golden, Read)
	}
}

func TestReadInfo(t *testing.T) {
	for _, name := range images() {
		b := contenttest.Image(t, name)
		in, err := ReadInfo(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if in.Label != "small" || in.UUID.String() != "3d30965a-0981-46f6-a67a-9c6bc38538e6" || in.Size != int64(len(b)) || in.Devices != 1 ||
			in.Used <= 0 || in.Used >= in.Size || in.SectorSize != 4096 || in.Checksum != "crc32c" || !slices.Contains(in.Features, "mixed-bg") {
			t.Errorf("%s: %+v", name, in)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	const at = superOffset
	contenttest.Refuses(t, "zlib", Read, map[string]contenttest.Refusal{
		"short":           {Change: func(b []byte) []byte { return b[:at+100] }, Want: "superblock"},
		"cut off":         {Change: func(b []byte) []byte { return b[:len(b)/2] }, Want: "there are"},
		"no mark":         {Change: func(b []byte) []byte { b[at+magicAt] = 0; return b }, Want: "not a btrfs"},
		"odd nodes":       {Change: func(b []byte) []byte { b[at+148] = 1; return b }, Want: "nodes of"},
		"odd sectors":     {Change: func(b []byte) []byte { b[at+144] = 1; return b }, Want: "sectors of"},
		"devices":         {Change: func(b []byte) []byte { b[at+136] = 2; return b }, Want: "2 devices"},
		"log":             {Change: func(b []byte) []byte { b[at+96] = 1; return b }, Want: "replayed"},
		"unknown feature": {Change: func(b []byte) []byte { b[at+195] = 0x80; return b }, Want: "incompat:0x8000000000000000"},
		"no chunks":       {Change: func(b []byte) []byte { clear(b[at+160 : at+164]); return b }, Want: "address"},
		"many chunks":     {Change: func(b []byte) []byte { b[at+162] = 1; return b }, Want: "superblock has"},
		"no root":         {Change: func(b []byte) []byte { b[at+87] = 1; return b }, Want: "address"},
		"level":           {Change: func(b []byte) []byte { b[at+198] = 5; return b }, Want: "level"},
		"levels":          {Change: func(b []byte) []byte { b[at+198] = 200; return b }, Want: "levels"},
	})
}

func FuzzRead(f *testing.F) { contenttest.Fuzz(f, Read, images()...) }
