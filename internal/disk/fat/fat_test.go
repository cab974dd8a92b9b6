package fat

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// someTime is one that can be stored.
const someTime = 1700000000

func dir(path string) content.Entry {
	return content.Entry{Path: path, Mode: unix.S_IFDIR | 0o755, Mtime: someTime}
}

func file(path string, size int) content.Entry {
	data := bytes.Repeat([]byte(path+"\n"), size/(len(path)+1)+1)[:size]
	return content.Entry{
		Path: path, Mode: unix.S_IFREG | 0o644, Mtime: someTime, Size: int64(size),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}
}

// sample has one of everything, sorted.
func sample() content.Tree {
	tree := content.Tree{dir(""), dir("EFI"), dir("EFI/Linux"), dir("many"), dir("empty")}
	deep := "deep"
	for range 20 {
		tree = append(tree, dir(deep))
		deep += "/a folder in another"
	}
	for i := range 300 {
		tree = append(tree, file(fmt.Sprintf("many/%03d-%s", i, strings.Repeat("n", i%60)), i%7))
	}
	for _, size := range []int{0, 1, 511, 512, 513, 2048, 4095, 4096, 4097, 40000} {
		tree = append(tree, file(fmt.Sprintf("size-%d", size), size))
	}
	for i, name := range []string{
		"PLAIN", "plain.txt", "UPPER.low", "lower.UP", "MiXed.txt", ".dot", "a b", "a+b,c;d=e[f]", "two.dots.txt", "snow☃man", "p😀ile", "日本語",
		strings.Repeat("n", 255), strings.Repeat("😀", 63), "thirteen-char", "  leading", "NAME~1", "name too long", "Name too short", "dotless-ı", "\x7f",
	} {
		tree = append(tree, file("EFI/"+name, i))
	}
	old, recent, odd := file("old", 1), file("recent", 1), file("odd", 1)
	old.Mtime, recent.Mtime, odd.Mtime = -5, 1<<40, someTime+1
	tree = append(tree, old, recent, odd, content.Entry{Path: "zz-hard", HardLink: true, Link: "size-513"})
	tree.Sort()
	return tree
}

// disk is a file system's place in memory.
type disk []byte

func (d disk) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(d)) {
		return 0, io.ErrShortWrite
	}
	return copy(d[off:], p), nil
}

func options() Options {
	return Options{VolumeID: 0x12345678, Label: "sample", SectorSize: 512, BuildTime: someTime}
}

// expected is what a tree is when it is read back.
func expected(tree content.Tree) map[string]string {
	m := map[string]string{}
	byPath := map[string]content.Entry{}
	for _, e := range tree {
		path := e.Path
		if e.HardLink {
			e = byPath[e.Link]
		}
		byPath[path] = e
		if path == "" {
			e.Mtime = firstTime.Unix() // the root folder has none
		}
		e.Mtime = min(max(e.Mtime, firstTime.Unix()), lastTime.Unix()) &^ 1
		m[path] = describe(e)
	}
	return m
}

// describe tells everything about an entry but its path.
func describe(e content.Entry) string {
	s := fmt.Sprintf("%o %d %d", e.Mode, e.Mtime, e.Size)
	if e.Size > 0 {
		r, err := e.Open()
		if err != nil {
			return err.Error()
		}
		defer r.Close()
		h := sha256.New()
		n, err := io.Copy(h, r)
		s += fmt.Sprintf(" %d %v %x", n, err, h.Sum(nil)[:8])
	}
	return s
}

// checkTree reads a file system and compares it with the tree it was made of.
func checkTree(t *testing.T, r io.ReaderAt, size int64, want content.Tree) {
	t.Helper()
	tree, err := Read(t.Context(), r, size)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Check(); err != nil {
		t.Error(err)
	}
	got := map[string]string{}
	for _, e := range tree {
		got[e.Path] = describe(e)
	}
	if diff := cmp.Diff(expected(want), got); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}

// checkTables makes sure that both tables and both copies of what is before
// them are the same, that the free clusters are counted, and that nothing is
// used twice or lost. It returns how many clusters are free.
func checkTables(t *testing.T, d disk) int64 {
	t.Helper()
	v, err := decodeVolume(d)
	if err != nil {
		t.Fatal(err)
	}
	size := v.table * v.sector
	first := d[v.tableOffset(0):][:size]
	if !bytes.Equal(first, d[v.tableOffset(1):][:size]) {
		t.Error("the tables differ")
	}
	l := links{v, bytes.NewReader(d), map[int64][]byte{}}
	free, followed := int64(0), map[uint32]bool{}
	for c := uint32(firstCluster); v.valid(c); c++ {
		next, end, err := l.next(c)
		switch {
		case err != nil:
			free++
		case !end && followed[next]:
			t.Errorf("cluster %d follows two others", next)
		case !end:
			followed[next] = true
		}
	}
	if v.bits == 32 {
		if !bytes.Equal(d[:2*v.sector], d[6*v.sector:8*v.sector]) {
			t.Error("the backup of the boot sectors differs")
		}
		info := d[v.sector:]
		if n := int64(binary.LittleEndian.Uint32(info[488:])); n != free {
			t.Errorf("%d clusters are said to be free, but %d are", n, free)
		}
	}
	return free
}

// write writes a file system of a size, or of the smallest.
func write(t *testing.T, tree content.Tree, o Options, size int64) disk {
	t.Helper()
	im, err := Plan(tree, o)
	if err != nil {
		t.Fatal(err)
	}
	if size == 0 {
		size = im.Size()
	}
	d := make(disk, size)
	if err := im.Write(t.Context(), d, size); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestWriteAndRead(t *testing.T) {
	for _, tt := range []struct {
		sector, bits int
		size         int64
		want         int
	}{
		{512, 0, 0, 12},
		{512, 0, 4 << 20, 12},
		{512, 0, 20 << 20, 16},
		{512, 0, 33 << 20, 32},
		{512, 12, 0, 12},
		{512, 16, 0, 16},
		{512, 32, 0, 32},
		{1024, 0, 0, 12},
		{2048, 0, 0, 12},
		{2048, 12, 12<<20 + 5000, 12},
		{4096, 0, 0, 12},
		{4096, 32, 0, 32},
	} {
		t.Run(fmt.Sprintf("%d-%d-%d", tt.sector, tt.bits, tt.size), func(t *testing.T) {
			o := options()
			o.SectorSize, o.Bits = tt.sector, tt.bits
			d := write(t, sample(), o, tt.size)
			checkTree(t, bytes.NewReader(d), int64(len(d)), sample())
			checkTables(t, d)
			info, err := ReadInfo(bytes.NewReader(d), int64(len(d)))
			if err != nil {
				t.Fatal(err)
			}
			if info.Bits != tt.want || info.Label != "SAMPLE" || info.VolumeID != o.VolumeID || info.SectorSize != int64(tt.sector) {
				t.Errorf("%+v", info)
			}
		})
	}
}

// The golden image was checked with fsck.vfat and mtools: see the integration
// tests, which do so with such an image.
func TestGolden(t *testing.T) {
	o := options()
	o.Bits = 32
	d := write(t, sample(), o, 1<<20)
	if !bytes.Equal(d, write(t, sample(), o, 1<<20)) {
		t.Error("two file systems of the same tree differ")
	}
	sum := sha256.Sum256(d)
	const want = "b04ed2cfa473c9c6e5e4d1cddf2a05a771a660b2733330a99dd8471512f3b9fd"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("the image has the digest %s", got)
	}
}

// On a large disk only what is used is written.
func TestLarge(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int64{2 << 30, 100 << 30} {
		if err := errors.Join(f.Truncate(0), f.Truncate(size)); err != nil {
			t.Fatal(err)
		}
		im, err := Plan(sample(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := im.Write(t.Context(), f, size); err != nil {
			t.Fatal(err)
		}
		checkTree(t, f, size, sample())
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		if st.Blocks*512 > 8<<20 {
			t.Errorf("%d bytes were written", st.Blocks*512)
		}
	}
}

// The smallest size holds everything, and has nearly nothing left; a smaller
// one is refused.
func TestSize(t *testing.T) {
	var many content.Tree
	for i := range 1000 {
		many = append(many, file(fmt.Sprintf("file-%05d", i), 1+i%3*3000))
	}
	many = append(many, dir(""))
	many.Sort()
	for _, bits := range []int{0, 12, 16, 32} {
		for _, sector := range []int{512, 4096} {
			o := options()
			o.Bits, o.SectorSize = bits, sector
			im, err := Plan(many, o)
			if err != nil {
				t.Fatal(err)
			}
			d := write(t, many, o, 0)
			checkTree(t, bytes.NewReader(d), int64(len(d)), many)
			if free := checkTables(t, d); free > 64 && bits != 16 { // a FAT16 is never small
				t.Errorf("FAT%d, sectors of %d bytes: %d clusters are free", bits, sector, free)
			}
			if bits == 0 {
				continue // then there is a FAT32 with too few clusters
			}
			if err := im.Write(t.Context(), d, im.Size()-int64(sector)); err == nil || !strings.Contains(err.Error(), fmt.Sprint(im.Size())) {
				t.Errorf("FAT%d: a smaller size: %v", bits, err)
			}
		}
	}
}

func TestSkipped(t *testing.T) {
	special := func(path string, mode uint32) content.Entry {
		return content.Entry{Path: path, Mode: mode, Target: "target"}
	}
	tree := content.Tree{
		dir(""), special("block", unix.S_IFBLK), special("char", unix.S_IFCHR), special("fifo", unix.S_IFIFO), file("file", 1),
		special("link", unix.S_IFLNK), {Path: "other", HardLink: true, Link: "link"}, special("socket", unix.S_IFSOCK),
	}
	o := options()
	var skipped []string
	o.Skipped = func(path, reason string) { skipped = append(skipped, path+": "+reason) }
	d := write(t, tree, o, 0)
	want := []string{
		"block: vfat has no block devices", "char: vfat has no character devices", "fifo: vfat has no fifos",
		"link: vfat has no symbolic links", "other: vfat has no symbolic links", "socket: vfat has no sockets",
	}
	if diff := cmp.Diff(want, skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	checkTree(t, bytes.NewReader(d), int64(len(d)), content.Tree{dir(""), file("file", 1)})
}

func TestPlanRefuses(t *testing.T) {
	huge := file("huge", 1)
	huge.Size = 1 << 32
	var many content.Tree
	many = append(many, dir(""), dir("d"))
	for i := range 40000 {
		many = append(many, file(fmt.Sprintf("d/long name %d", i), 0))
	}
	many.Sort()
	for name, tt := range map[string]struct {
		tree content.Tree
		want []string
	}{
		"no tree":    {nil, []string{"top"}},
		"case":       {content.Tree{dir(""), file("Readme", 1), file("readME", 1)}, []string{"/Readme", "/readME", "case"}},
		"other case": {content.Tree{dir(""), file("Ä", 1), file("ä", 1)}, []string{"/Ä", "/ä"}},
		"dot":        {content.Tree{dir(""), dir("d"), file("d/end.", 1)}, []string{"/d/end.", "end in '.'"}},
		"space":      {content.Tree{dir(""), file("end ", 1)}, []string{"/end ", "end in ' '"}},
		"control":    {content.Tree{dir(""), file("a\tb", 1)}, []string{`a`, `'\t'`}},
		"not UTF-8":  {content.Tree{dir(""), file("a\xff", 1)}, []string{"UTF-8"}},
		"large file": {content.Tree{dir(""), huge}, []string{"/huge", "4294967296"}},
		"many files": {many, []string{"/d", "65536"}},
		"backslash":  {content.Tree{dir(""), file(`a\b`, 1)}, []string{`/a\b`, `'\\'`}},
		"question":   {content.Tree{dir(""), file("what?", 1)}, []string{"/what?"}},
	} {
		_, err := Plan(tt.tree, options())
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v does not say %s", name, err, want)
			}
		}
		if tt.want == nil && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	tree := content.Tree{dir("")}
	for i := range 5 {
		large := file(fmt.Sprint("large", i), 1)
		large.Size = 1<<32 - 1
		tree = append(tree, large)
	}
	for bits, sector := range map[int]int{12: 4096, 16: 512, 13: 512, 32: 513} {
		if _, err := Plan(tree, Options{Bits: bits, SectorSize: sector}); err == nil {
			t.Errorf("20 GiB were accepted for a FAT%d with sectors of %d bytes", bits, sector)
		}
	}
	if _, err := Plan(tree, Options{}); err != nil {
		t.Error(err)
	}
}

func TestWriteErrors(t *testing.T) {
	failed := errors.New("cannot open")
	broken := file("broken", 1)
	broken.Open = func() (io.ReadCloser, error) { return nil, failed }
	shrunk := file("shrunk", 1)
	shrunk.Size = 10000
	for _, e := range []content.Entry{broken, shrunk} {
		im, err := Plan(content.Tree{dir(""), e}, options())
		if err != nil {
			t.Fatal(err)
		}
		if err := im.Write(t.Context(), make(disk, im.Size()), im.Size()); err == nil || !strings.Contains(err.Error(), "/"+e.Path) {
			t.Errorf("error %v", err)
		}
	}
	im, err := Plan(sample(), options())
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{0, 1000, im.Size() / 2} {
		if err := im.Write(t.Context(), make(disk, size), im.Size()); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("full disk: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := im.Write(ctx, make(disk, im.Size()), im.Size()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestVolumeID(t *testing.T) {
	// What systemd-repart gives the ESP of a certain seed.
	if id := VolumeID(uuid.MustParse("091ad92e-dc04-476a-a0d9-9a3352757ff7")); id != 0x091ad92e {
		t.Errorf("%08x", id)
	}
}

// BenchmarkWrite makes file systems of 200 MiB in large and in small files. The
// same with mkfs.vfat and mcopy, which it is to be compared with:
//
//	mkfs.vfat -F 32 -S 512 image && mcopy -s -Q -m -i image folder/* ::
func BenchmarkWrite(b *testing.B) {
	tree := content.Tree{dir(""), dir("large"), dir("small")}
	total := int64(0)
	for i := range 1000 {
		tree = append(tree, file(fmt.Sprintf("small/file with a long name %d", i), 10000))
		total += 10000
	}
	for i := range 20 {
		tree = append(tree, file(fmt.Sprintf("large/%d", i), 10<<20))
		total += 10 << 20
	}
	tree.Sort()
	b.SetBytes(total)
	f, err := os.Create(filepath.Join(b.TempDir(), "image"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for b.Loop() {
		im, err := Plan(tree, options())
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(f.Truncate(0), f.Truncate(260<<20), im.Write(b.Context(), f, 260<<20)); err != nil {
			b.Fatal(err)
		}
	}
}
