package squashfs

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/disk/content/contenttest"
)

// The images were made by mksquashfs 4.7 from a folder with some of
// everything, with blocks of 4 KiB; "none" is not compressed and has no
// fragments.

func images() []string { return []string{"gzip", "xz", "lz4", "lzo", "zstd", "none"} }

func TestReadImages(t *testing.T) {
	for _, name := range images() {
		contenttest.Golden(t, name, "squashfs", Read)
	}
}

func TestReadInfo(t *testing.T) {
	for _, name := range images() {
		b := contenttest.Image(t, name)
		in, err := ReadInfo(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		compression := name
		if name == "none" {
			compression = "gzip" // for nothing
		}
		if in.Compression != compression || in.BlockSize != 4096 || in.Inodes < 100 || in.BuildTime != 1700000000 || in.Size > int64(len(b)) {
			t.Errorf("%s: %+v", name, in)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	image := contenttest.Image(t, "none")
	for name, tt := range map[string]struct {
		change func(b []byte) []byte
		want   string
	}{
		"short":            {func(b []byte) []byte { return b[:50] }, "superblock"},
		"cut off":          {func(b []byte) []byte { return b[:len(b)/2] }, "there are"},
		"no mark":          {func(b []byte) []byte { b[0] = 0; return b }, "not a squashfs"},
		"version":          {func(b []byte) []byte { b[28] = 3; return b }, "squashfs 3.0"},
		"compression":      {func(b []byte) []byte { b[20] = 9; return b }, "unknown compression 9"},
		"lzma":             {func(b []byte) []byte { b[20] = 2; return b }, "lzma is not supported"},
		"blocks":           {func(b []byte) []byte { b[12] = 1; return b }, "blocks of"},
		"inodes outside":   {func(b []byte) []byte { b[68] = 1; return b }, "outside"},
		"root outside":     {func(b []byte) []byte { b[36] = 1; return b }, "no inode"},
		"owners outside":   {func(b []byte) []byte { b[52] = 1; return b }, "owners"},
		"root is no inode": {func(b []byte) []byte { b[32]++; return b }, ""},
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
