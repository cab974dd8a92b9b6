package squashfs

import (
	"bytes"
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
	contenttest.Refuses(t, "none", Read, map[string]contenttest.Refusal{
		"short":            {Change: func(b []byte) []byte { return b[:50] }, Want: "superblock"},
		"cut off":          {Change: func(b []byte) []byte { return b[:len(b)/2] }, Want: "there are"},
		"no mark":          {Change: func(b []byte) []byte { b[0] = 0; return b }, Want: "not a squashfs"},
		"version":          {Change: func(b []byte) []byte { b[28] = 3; return b }, Want: "squashfs 3.0"},
		"compression":      {Change: func(b []byte) []byte { b[20] = 9; return b }, Want: "unknown compression 9"},
		"lzma":             {Change: func(b []byte) []byte { b[20] = 2; return b }, Want: "lzma is not supported"},
		"blocks":           {Change: func(b []byte) []byte { b[12] = 1; return b }, Want: "blocks of"},
		"inodes outside":   {Change: func(b []byte) []byte { b[68] = 1; return b }, Want: "outside"},
		"root outside":     {Change: func(b []byte) []byte { b[36] = 1; return b }, Want: "no inode"},
		"owners outside":   {Change: func(b []byte) []byte { b[52] = 1; return b }, Want: "owners"},
		"root is no inode": {Change: func(b []byte) []byte { b[32]++; return b }, Want: ""},
	})
}

func FuzzRead(f *testing.F) { contenttest.Fuzz(f, Read, images()...) }
