package erofs

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// describe says what is in a tree, a line an entry, reading at most limit bytes
// of a file.
func describe(t *testing.T, tree content.Tree) []string {
	t.Helper()
	var out []string
	for _, e := range tree {
		s := fmt.Sprintf("/%s %o %d:%d %d.%d %d:%d %q", e.Path, e.Mode, e.UID, e.GID, e.Mtime, e.MtimeNsec, e.Major, e.Minor, e.Target)
		if e.HardLink {
			s += " = /" + e.Link
		}
		for _, x := range e.Xattrs {
			s += fmt.Sprintf(" %s=%.8x", x.Name, sha256.Sum256(x.Value))
		}
		if e.Size > 0 {
			b, err := readAll(e)
			if err != nil {
				t.Errorf("/%s: %v", e.Path, err)
			}
			s += fmt.Sprintf(" %d bytes %.8x", len(b), sha256.Sum256(b))
		}
		out = append(out, s)
	}
	return out
}

func readAll(e content.Entry) (_ []byte, err error) {
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(r)
}

// resolved is a tree in which hard links have all that they are names of.
func resolved(tree content.Tree) content.Tree {
	byPath := map[string]content.Entry{}
	var out content.Tree
	for _, e := range tree {
		if e.HardLink {
			path, link := e.Path, e.Link
			e = byPath[link]
			e.Path, e.Link, e.HardLink = path, link, true
		}
		byPath[e.Path] = e
		out = append(out, e)
	}
	return out
}

func readImage(t *testing.T, b []byte) content.Tree {
	t.Helper()
	tree, err := Read(t.Context(), bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// variants are options that lead to images of every kind.
func variants() map[string]Options {
	all := map[string]Options{
		"plain":     {},
		"lz4":       {Compression: LZ4},
		"lz4-packs": {Compression: LZ4, Fragments: true, ChunkSize: 16 << 10},
		"zstd":      {Compression: Zstd},
		"zstd-1":    {Compression: Zstd, Level: 1, ChunkSize: 20 << 10},
		"zstd-6":    {Compression: Zstd, Level: 6, ChunkSize: 1 << 20},
	}
	for name, o := range all {
		base := options()
		o.UUID, o.Label, o.BuildTime = base.UUID, base.Label, base.BuildTime
		all[name] = o
	}
	return all
}

func TestRoundTrip(t *testing.T) {
	tree := sample()
	want := describe(t, resolved(tree))
	for name, o := range variants() {
		t.Run(name, func(t *testing.T) {
			d := writeWith(t, tree, o)
			if diff := cmp.Diff(want, describe(t, readImage(t, d))); diff != "" {
				t.Errorf("tree (-written +read):\n%s", diff)
			}
			i, err := ReadInfo(bytes.NewReader(d), int64(len(d)))
			if err != nil {
				t.Fatal(err)
			}
			if i.Checksum != ChecksumGood || i.UUID != o.UUID || i.Label != o.Label || i.Size != int64(len(d)) {
				t.Errorf("info %+v of %d bytes", i, len(d))
			}
			o.FixedTime, o.AllRoot = true, true
			for _, e := range readImage(t, writeWith(t, tree, o)) {
				if e.Mtime != o.BuildTime || e.MtimeNsec != 0 || e.UID != 0 || e.GID != 0 {
					t.Errorf("/%s has the time %d.%d and the owners %d:%d", e.Path, e.Mtime, e.MtimeNsec, e.UID, e.GID)
				}
			}
		})
	}
}

// foreign are images of one tree that mkfs.erofs 1.9.4 wrote, one for each
// layout and algorithm.
func foreign(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.erofs.gz")
	if err != nil || len(paths) < 8 {
		t.Fatalf("%d images in testdata, %v", len(paths), err)
	}
	images := map[string][]byte{}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		if images[filepath.Base(path)], err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	return images
}

func TestReadForeign(t *testing.T) {
	const times = ` 0:0 1700000000.0 0:0 `
	const prefixed = ` user.long.prefix.name=cd42404d52ad55cc`
	want := []string{
		`/ 40755` + times + `""`,
		`/dir 40755` + times + `"" trusted.x=` + hash(strings.Repeat("1", 50)),
		`/dir/again 100644` + times + `"" 16013 bytes 362ea4f9f0be7465`,
		`/dir/hard 100644` + times + `""` + prefixed + ` 10 bytes 84d89877f0d4041e`,
		`/dir/text 100644` + times + `""` + prefixed + ` 22222 bytes 97cf5897a081641c`,
		`/empty 100644` + times + `""`,
		`/fifo 10644` + times + `""`,
		`/link 120777` + times + `"dir/text"`,
		`/random 100644` + times + `"" 5000 bytes 91d62a1a0774fade`,
		`/short 100644` + times + `"" = /dir/hard` + prefixed + ` 10 bytes 84d89877f0d4041e`,
		`/zeros 100644` + times + `""` + prefixed + ` 20001 bytes ccd78c2346312d23`,
	}
	for name, b := range foreign(t) {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(want, describe(t, readImage(t, b))); diff != "" {
				t.Errorf("tree (-want +got):\n%s", diff)
			}
		})
	}
}

func hash(s string) string { return fmt.Sprintf("%.8x", sha256.Sum256([]byte(s))) }

// patched is an image with a changed superblock and no checksum.
func patched(b []byte, change func(super []byte)) []byte {
	b = bytes.Clone(b)
	change(b[superOffset:])
	b[superOffset+8] &^= compatChecksum
	return b
}

func TestReadRefuses(t *testing.T) {
	good := writeWith(t, sample(), options())
	le := binary.LittleEndian
	root := int(le.Uint16(good[superOffset+14:])) * slotSize
	for name, tt := range map[string]struct {
		image []byte
		want  string
	}{
		"nothing":    {nil, "no EROFS"},
		"no magic":   {make([]byte, 8192), "no EROFS"},
		"checksum":   {func() []byte { b := bytes.Clone(good); b[superOffset+64]++; return b }(), "checksum"},
		"feature":    {patched(good, func(b []byte) { b[81] = 0x80 }), "incompat_0x8000"},
		"48 bits":    {patched(good, func(b []byte) { b[80] = 0x80 }), "48bit"},
		"block size": {patched(good, func(b []byte) { b[12] = 40 }), "2^40"},
		"folders":    {patched(good, func(b []byte) { b[90] = 1 }), "folders"},
		"root":       {patched(good, func(b []byte) { le.PutUint16(b[14:], 65535) }), "damaged"},
		"packed":     {patched(good, func(b []byte) { b[80] = incompatFragments; le.PutUint64(b[96:], 1<<60) }), "packed"},
		"prefixes":   {patched(good, func(b []byte) { b[80], b[91] = incompatPrefixes, 3 }), "prefix"},
		"layout":     {patched(good, func([]byte) {}), "layout 7"},
		"format":     {patched(good, func([]byte) {}), "format"},
		"cut off":    {good[:8192], "damaged"},
	} {
		switch name {
		case "layout":
			tt.image[root] |= 7 << 1
		case "format":
			tt.image[root] |= 1 << 6
		}
		if _, err := Read(t.Context(), bytes.NewReader(tt.image), int64(len(tt.image))); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Read(ctx, bytes.NewReader(good), int64(len(good))); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	broken := patched(good, func(b []byte) { b[64]++ })
	broken[superOffset+8] |= compatChecksum
	if i, err := ReadInfo(bytes.NewReader(broken), int64(len(broken))); err != nil || i.Checksum != ChecksumBad {
		t.Errorf("info with a wrong checksum: %+v, %v", i, err)
	}
}

// A folder that is in itself, or has two names, is found.
func TestReadCycle(t *testing.T) {
	tree := content.Tree{special("", unix.S_IFDIR|0o755), special("a", unix.S_IFDIR|0o755), special("b", unix.S_IFDIR|0o755)}
	d := writeWith(t, tree, options())
	im, err := Plan(t.Context(), tree, options())
	if err != nil {
		t.Fatal(err)
	}
	data := im.root.offset() + im.root.head()
	b := im.nodes[2].nid
	for name, nid := range map[string]uint64{"itself": im.root.nid, "twice": b} {
		image := bytes.Clone(d)
		// The entries are ".", "..", "a" and "b".
		binary.LittleEndian.PutUint64(image[data+2*direntSize:], nid)
		if _, err := Read(t.Context(), bytes.NewReader(image), int64(len(image))); !errors.Is(err, errCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Damage in the content of one file is an error of reading that file.
func TestReadDamagedContent(t *testing.T) {
	tree := content.Tree{special("", unix.S_IFDIR|0o755), file("a", 600000), file("b", 600000)}
	for name, o := range variants() {
		if o.Compression == Uncompressed {
			continue
		}
		d := writeWith(t, tree, o)
		// The first compressed block belongs to /a.
		clear(d[BlockSize : 2*BlockSize])
		copy(d[BlockSize+100:], "\xff\xff\xff")
		got := readImage(t, d)
		if b, err := readAll(got[1]); err == nil {
			t.Errorf("%s: read %d bytes of a damaged file", name, len(b))
		}
		if b, err := readAll(got[2]); err != nil || len(b) != 600000 {
			t.Errorf("%s: %d bytes of the other file, %v", name, len(b), err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, b := range foreign(f) {
		f.Add(b)
	}
	for _, o := range variants() {
		f.Add([]byte(writeWith(f, content.Tree{special("", unix.S_IFDIR|0o755), file("a", 20000), file("b", 30)}, o)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ReadInfo(bytes.NewReader(b), int64(len(b))); err != nil {
			return
		}
		// The checksum would reject nearly everything.
		b = patched(b, func([]byte) {})
		tree, err := Read(t.Context(), bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if err := tree.Check(); err != nil {
			t.Error(err)
		}
		left := int64(1 << 20)
		for _, e := range tree {
			if e.Open == nil || left <= 0 {
				continue
			}
			r, err := e.Open()
			if err != nil {
				continue
			}
			n, err := io.Copy(io.Discard, io.LimitReader(r, min(left, e.Size+1)))
			left -= n + 1
			if n > e.Size || err == nil && n < min(e.Size, left) {
				t.Errorf("/%s has %d bytes instead of %d", e.Path, n, e.Size)
			}
			r.Close()
		}
	})
}
