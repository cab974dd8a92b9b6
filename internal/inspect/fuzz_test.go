package inspect

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/mkosi-go/mkosi/internal/disk/content/contenttest"
	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

// FuzzInspect gives images with anything in some places, or anything at all for
// an image: it must be described or refused, whatever it says, at a bounded
// cost, and must stay as it is.
func FuzzInspect(f *testing.F) {
	p := newPair(f, "signer")
	small := files{"usr/lib/os-release": "ID=x\n", "EFI/Linux/a.efi": string(testProgram(p))}
	images := [][]byte{signed(f, p, small), vfat(f, small, 256<<10), testProgram(p), testTar(f), []byte(testCPIO(entry("x", 0o100644, 1, 1, "x")))}
	for i, image := range images {
		f.Add(uint8(i), []byte{})
		f.Add(uint8(i), []byte{0, 2, 0, 0, 0xff, 0xff, 0xff, 0xff})
		f.Add(uint8(255), image[:min(len(image), 2048)])
	}
	dir := fuzztest.MemoryDir(f)
	bound := fuzztest.Bound{Base: 256 << 20, PerByte: 400}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		if int(which) < len(images) {
			b = contenttest.Patch(images[which], b)
		}
		path := filepath.Join(dir, "image")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		bound.Check(t, len(b), func() {
			s, err := Open(t.Context(), path, 64<<20)
			if err != nil {
				return
			}
			defer s.Close()
			if im, err := Inspect(t.Context(), s, Options{Blame: true}); err == nil {
				im.Checks()
			}
			// An image does not differ from itself.
			if c, err := Diff(t.Context(), s, s, Ignore{}); err == nil && !c.Equal {
				t.Errorf("differs from itself: %+v", c)
			}
		})
		if after, err := os.ReadFile(path); err != nil || string(after) != string(b) {
			t.Errorf("the image was changed: %v", err)
		}
	})
}
