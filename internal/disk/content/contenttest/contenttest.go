// Package contenttest tests readers of file systems with images that other
// programs made.
package contenttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

// ReadFunc reads a file system.
type ReadFunc func(ctx context.Context, r io.ReaderAt, size int64) (content.Tree, error)

var update = flag.Bool("update", false, "write what images are compared with")

// Image returns the image in testdata/NAME.zst.
func Image(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Golden compares what a reader finds in the image testdata/NAME.zst with
// testdata/GOLDEN.txt.
func Golden(t *testing.T, name, golden string, read ReadFunc) {
	t.Helper()
	b := Image(t, name)
	tree, err := read(t.Context(), bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Describe(tree)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", golden+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// Refusal is a change of an image with which a reader must refuse it, and a part
// of what it says then.
type Refusal struct {
	Change func(b []byte) []byte
	Want   string
}

// Refuses has a reader read the image testdata/NAME.zst with changes.
func Refuses(t *testing.T, name string, read ReadFunc, cases map[string]Refusal) {
	t.Helper()
	image := Image(t, name)
	for what, c := range cases {
		b := c.Change(bytes.Clone(image))
		if tree, err := read(t.Context(), bytes.NewReader(b), int64(len(b))); err == nil {
			t.Errorf("%s: read as %d entries", what, len(tree))
		} else if !strings.Contains(err.Error(), c.Want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Describe writes down a tree, an entry a line, with digests of what is in
// files.
func Describe(tree content.Tree) (string, error) {
	var b bytes.Buffer
	for i := range tree {
		e := &tree[i]
		fmt.Fprintf(&b, "/%s %o %d:%d %d.%09d", e.Path, e.Mode, e.UID, e.GID, e.Mtime, e.MtimeNsec)
		if e.Target != "" {
			fmt.Fprintf(&b, " to %s", e.Target)
		}
		if e.Major|e.Minor != 0 {
			fmt.Fprintf(&b, " device %d:%d", e.Major, e.Minor)
		}
		if e.HardLink {
			fmt.Fprintf(&b, " link to /%s", e.Link)
		} else if e.Size > 0 {
			sum, err := digest(e, e.Size)
			if err != nil {
				return "", fmt.Errorf("/%s: %w", e.Path, err)
			}
			fmt.Fprintf(&b, " %d bytes %.8x", e.Size, sum)
		}
		for _, x := range e.Xattrs {
			fmt.Fprintf(&b, " %s=%x", x.Name, x.Value)
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// digest reads so much of a file, which must be all of it or less.
func digest(e *content.Entry, size int64) ([]byte, error) {
	f, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(f, size))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return sum.Sum(nil), err
}

// Patch returns a copy of an image with anything in some places: each eight
// bytes of patches are an offset and what is there instead. It finds more than
// inputs that are whole images, which are too large to be mutated often.
func Patch(image, patches []byte) []byte {
	b := bytes.Clone(image)
	for p := patches; len(p) >= 8; p = p[8:] {
		copy(b[int(binary.LittleEndian.Uint32(p))%len(b):], p[4:8])
	}
	return b
}

// patched is an image with patches, as Patch makes it, but not copied.
type patched struct{ image, patches []byte }

func (f *patched) ReadAt(p []byte, off int64) (int, error) {
	n, err := bytes.NewReader(f.image).ReadAt(p, off)
	for b := f.patches; len(b) >= 8; b = b[8:] {
		for i, c := range b[4:8] {
			at := int64(int(binary.LittleEndian.Uint32(b))%len(f.image)+i) - off
			if at >= 0 && at < int64(n) {
				p[at] = c
			}
		}
	}
	return n, err
}

// Fuzz gives a reader the images in testdata with anything in some places. It must
// return a tree or refuse, at a bounded cost, and so must what it opens.
func Fuzz(f *testing.F, read ReadFunc, names ...string) {
	var images [][]byte
	for i, name := range names {
		images = append(images, Image(f, name))
		f.Add(uint8(i), []byte{})
		f.Add(uint8(i), []byte{0, 4, 0, 0, 0xff, 0xff, 0xff, 0xff})
	}
	bound := fuzztest.Bound{Base: 64 << 20, PerByte: 20}
	f.Fuzz(func(t *testing.T, which uint8, patches []byte) {
		// Time counts for each patch.
		image := &patched{images[int(which)%len(images)], patches[:min(len(patches), 512)]}
		size := len(image.image)
		bound.Check(t, size, func() {
			tree, err := read(t.Context(), image, int64(size))
			if err != nil {
				return
			}
			if err := tree.Check(); err != nil {
				t.Error(err)
			}
			// Holes may make files larger than anybody reads.
			left := int64(8 << 20)
			for i := range tree {
				e := &tree[i]
				if e.Size > 0 && !e.HardLink && left > 0 {
					n := min(e.Size, left)
					left -= n
					digest(e, n)
				}
			}
		})
	})
}
