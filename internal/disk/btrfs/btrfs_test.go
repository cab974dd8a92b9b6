package btrfs

import (
	"bytes"
	"slices"
	"strings"
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
	image := contenttest.Image(t, "zlib")
	const at = superOffset
	for name, tt := range map[string]struct {
		change func(b []byte) []byte
		want   string
	}{
		"short":           {func(b []byte) []byte { return b[:at+100] }, "superblock"},
		"cut off":         {func(b []byte) []byte { return b[:len(b)/2] }, "there are"},
		"no mark":         {func(b []byte) []byte { b[at+magicAt] = 0; return b }, "not a btrfs"},
		"odd nodes":       {func(b []byte) []byte { b[at+148] = 1; return b }, "nodes of"},
		"odd sectors":     {func(b []byte) []byte { b[at+144] = 1; return b }, "sectors of"},
		"devices":         {func(b []byte) []byte { b[at+136] = 2; return b }, "2 devices"},
		"log":             {func(b []byte) []byte { b[at+96] = 1; return b }, "replayed"},
		"unknown feature": {func(b []byte) []byte { b[at+195] = 0x80; return b }, "incompat:0x8000000000000000"},
		"no chunks":       {func(b []byte) []byte { clear(b[at+160 : at+164]); return b }, "address"},
		"many chunks":     {func(b []byte) []byte { b[at+162] = 1; return b }, "superblock has"},
		"no root":         {func(b []byte) []byte { b[at+87] = 1; return b }, "address"},
		"level":           {func(b []byte) []byte { b[at+198] = 5; return b }, "level"},
		"levels":          {func(b []byte) []byte { b[at+198] = 200; return b }, "levels"},
	} {
		b := tt.change(bytes.Clone(image))
		if tree, err := Read(t.Context(), bytes.NewReader(b), int64(len(b))); err == nil {
			t.Errorf("%s: read as %d entries", name, len(tree))
		} else if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRead(f *testing.F) { contenttest.Fuzz(f, Read, images()...) }
