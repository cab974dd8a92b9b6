package erofs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/pierrec/lz4/v4"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// writeWith writes an image of a tree into memory.
func writeWith(t testing.TB, tree content.Tree, o Options) disk {
	t.Helper()
	o.TempDir = t.TempDir()
	im, err := Plan(t.Context(), tree, o)
	if err != nil {
		t.Fatal(err)
	}
	d := make(disk, im.Size())
	if err := im.Write(t.Context(), d, 0); err != nil {
		t.Fatal(err)
	}
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(o.TempDir); err != nil || len(left) > 0 {
		t.Errorf("temporary files %v are left, %v", left, err)
	}
	return d
}

// An image does not depend on how many processors there are, nor on the order
// in which a folder was listed, nor on where it was kept.
func TestDeterministic(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for name, o := range variants() {
		runtime.GOMAXPROCS(1)
		want := writeWith(t, sample(), o)
		runtime.GOMAXPROCS(4)
		shuffled := sample()
		last := len(shuffled) - 1
		rand.New(rand.NewPCG(1, 2)).Shuffle(last, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		shuffled.Sort()
		if !bytes.Equal(want, writeWith(t, shuffled, o)) {
			t.Errorf("%s: the images differ", name)
		}
		if !bytes.Equal(want, writeInPlace(t, sample(), o)) {
			t.Errorf("%s: the image that was written in place differs", name)
		}
	}
}

// writeInPlace has content compressed straight into a file behind its start.
func writeInPlace(t *testing.T, tree content.Tree, o Options) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o.File, o.Offset = f, 12345<<10
	im, err := Plan(t.Context(), tree, o)
	if err != nil {
		t.Fatal(err)
	}
	if o.Compression != Uncompressed {
		if err := im.Write(t.Context(), f, 0); err == nil {
			t.Error("written to another place")
		}
	}
	if err := im.Write(t.Context(), f, o.Offset); err != nil {
		t.Fatal(err)
	}
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, im.Size())
	if _, err := f.ReadAt(b, o.Offset); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return b
}

// The copy from the temporary file to the image can be left to the kernel.
func TestWriteToFile(t *testing.T) {
	for name, o := range variants() {
		o.TempDir = t.TempDir()
		im, err := Plan(t.Context(), sample(), o)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(t.TempDir(), "image"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := errors.Join(f.Truncate(512+im.Size()), im.Write(t.Context(), f, 512), im.Close()); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, im.Size())
		if _, err := f.ReadAt(b, 512); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, writeWith(t, sample(), o)) {
			t.Errorf("%s: the images differ", name)
		}
		if o.Compression != Uncompressed {
			if err := im.Write(t.Context(), f, 0); err == nil {
				t.Errorf("%s: a closed image was written", name)
			}
		}
	}
}

func TestCompressErrors(t *testing.T) {
	broken := errors.New("cannot open")
	for _, size := range []int{100, 10000, 100000, 1000000} {
		for kind, change := range map[string]func(*content.Entry){
			"cannot open": func(e *content.Entry) { e.Open = func() (io.ReadCloser, error) { return nil, broken } },
			"shrank":      func(e *content.Entry) { e.Size++ },
			"grew":        func(e *content.Entry) { e.Size-- },
		} {
			for _, c := range []Compression{LZ4, Zstd} {
				e := file("size", size)
				change(&e)
				tree := content.Tree{special("", unix.S_IFDIR|0o755), e}
				o := Options{Compression: c, TempDir: t.TempDir()}
				im, err := Plan(t.Context(), tree, o)
				if err == nil {
					// A tiny file is read when the image is written.
					err = im.Write(t.Context(), make(disk, im.Size()), 0)
				}
				if err == nil || !strings.Contains(err.Error(), kind) || !strings.Contains(err.Error(), "/size") {
					t.Errorf("%d bytes, %s, %s: %v", size, c, kind, err)
				}
			}
		}
	}
	o := Options{Compression: Zstd, TempDir: filepath.Join(t.TempDir(), "missing")}
	if _, err := Plan(t.Context(), sample(), o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder for temporary files: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Plan(ctx, sample(), Options{Compression: Zstd, TempDir: t.TempDir()}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// The index says the same when it is read, wherever units lie in its packs.
func TestIndex(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 300 {
		n := &node{entry: &content.Entry{}, layout: layoutCompact, block: uint32(1 + rng.IntN(1000)), extended: round%2 == 0}
		n.xattrs = make([]byte, 4*rng.IntN(8))
		want := []extent{}
		block := int64(n.block)
		for range 1 + rng.IntN(40) {
			c := chunk{clusters: uint16(1 + rng.IntN(40))}
			c.blocks = c.clusters
			if c.clusters > 1 && rng.IntN(3) > 0 {
				c.blocks = uint16(1 + rng.IntN(int(c.clusters)-1))
				want = append(want, extent{start: n.size, length: int64(c.clusters) * BlockSize, pos: block * BlockSize, stored: int64(c.blocks) * BlockSize})
			} else {
				for i := range int64(c.clusters) {
					want = append(want, extent{start: n.size + i*BlockSize, length: BlockSize, pos: (block + i) * BlockSize, stored: BlockSize, plain: true})
				}
			}
			n.chunks = append(n.chunks, c)
			n.size += int64(c.clusters) * BlockSize
			block += int64(c.blocks)
		}
		b := make(disk, n.head())
		copy(b[n.indexStart()-indexHeader:], n.indexHead(algorithmLZ4))
		if err := n.writeIndex(b, n.indexStart(), make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
		im := &image{r: bytes.NewReader(b), size: int64(len(b)), superblock: superblock{blockBits: blockBits}}
		in := &inode{im: im, layout: layoutCompact, data: n.attributesEnd(), size: n.size}
		x, err := in.index()
		if err != nil {
			t.Fatal(err)
		}
		// Units may lie anywhere: only the index is there.
		im.size = 1 << 40
		for i := 0; ; i++ {
			e, ok, err := x.extent()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				if i != len(want) {
					t.Fatalf("%d units instead of %d", i, len(want))
				}
				break
			}
			if e != want[i] {
				t.Fatalf("unit %d is %+v instead of %+v", i, e, want[i])
			}
		}
	}
}

// lz4Data is data with matches near and far, runs and noise.
func lz4Data(size int) []byte {
	rng := rand.New(rand.NewPCG(5, uint64(size)))
	var b []byte
	for len(b) < size {
		switch rng.IntN(4) {
		case 0:
			b = append(b, bytes.Repeat([]byte{byte(rng.IntN(256))}, rng.IntN(3000))...)
		case 1:
			if len(b) > 0 {
				from := rng.IntN(len(b))
				b = append(b, b[from:from+rng.IntN(len(b)-from)]...)
			}
		default:
			for range rng.IntN(500) {
				b = append(b, byte(rng.IntN(256)))
			}
		}
	}
	return b[:size]
}

func TestLZ4Reader(t *testing.T) {
	for _, size := range []int{1, 12, 13, 100, 65535, 65536, 300000, 2000000} {
		data := lz4Data(size)
		packed := make([]byte, lz4.CompressBlockBound(size))
		n, err := lz4.CompressBlock(data, packed, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(&lz4Reader{in: packed[:n]})
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %d, %v", size, len(got), err)
		}
		part := make([]byte, size/2)
		if _, err := io.ReadFull(&lz4Reader{in: packed[:n]}, part); err != nil || !bytes.Equal(part, data[:size/2]) {
			t.Errorf("the first half of %d bytes: %v", size, err)
		}
	}
	for _, bad := range []string{"\xf0", "\x20a", "\x10a\x01", "\x10a\x00\x00", "\x10a\x02\x00", "\x1fa\x01\x00\xff"} {
		if b, err := io.ReadAll(&lz4Reader{in: []byte(bad)}); err == nil {
			t.Errorf("%q is %q", bad, b)
		}
	}
}

func FuzzLZ4Reader(f *testing.F) {
	packed := make([]byte, 1000)
	n, err := lz4.CompressBlock(lz4Data(900), packed, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed[:n])
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := io.ReadAll(io.LimitReader(&lz4Reader{in: b}, 1<<20))
		if err != nil || len(got) == 1<<20 {
			return
		}
		want := make([]byte, 1<<20)
		if n, err := lz4.UncompressBlock(b, want); err == nil && !bytes.Equal(want[:n], got) {
			t.Errorf("%d bytes differ from the library's %d", len(got), n)
		}
	})
}

// Attributes that many files have are stored once.
func TestSharedXattrs(t *testing.T) {
	label := content.Xattr{Name: "security.selinux", Value: []byte(strings.Repeat("label", 10))}
	tree := content.Tree{special("", unix.S_IFDIR|0o755)}
	for i := range 1000 {
		e := file(fmt.Sprintf("%04d", i), 0)
		e.Xattrs = []content.Xattr{label, {Name: "user.number", Value: []byte(e.Path)}}
		tree = append(tree, e)
	}
	d := writeWith(t, tree, options())
	if n := bytes.Count(d, label.Value); n != 1 {
		t.Errorf("the label is there %d times", n)
	}
	if got, want := describe(t, readImage(t, d)), describe(t, tree); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the tree was read as %.300q", got)
	}
}
