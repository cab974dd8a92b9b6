package fat

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// small is a FAT16 or so with three files of two clusters and a folder.
func small(t *testing.T, bits int) disk {
	t.Helper()
	o := options()
	o.Bits = bits
	tree := content.Tree{dir(""), dir("d"), file("d/in a folder", 1000), file("one", 1000), file("two", 1000)}
	return write(t, tree, o, 0)
}

// setLink changes what follows a cluster in the table of a FAT32.
func setLink(d disk, cluster, next uint32) {
	v, err := decodeVolume(d)
	if err != nil {
		panic(err)
	}
	binary.LittleEndian.PutUint32(d[v.tableOffset(0)+4*int64(cluster):], next)
}

// entry finds the directory entry with a short name.
func entry(t *testing.T, d disk, name string) []byte {
	t.Helper()
	i := bytes.Index(d, []byte(name))
	if i < 0 {
		t.Fatalf("%s was not found", name)
	}
	return d[i : i+entrySize]
}

func TestReadRefuses(t *testing.T) {
	le := binary.LittleEndian
	// The root folder has cluster 2, d 3, what is in it 4 and 5, one 6 and 7,
	// two 8 and 9.
	for name, tt := range map[string]struct {
		spoil func(d disk)
		want  string
	}{
		"no signature":     {func(d disk) { d[510] = 0 }, "no FAT"},
		"sector size":      {func(d disk) { le.PutUint16(d[11:], 513) }, "no FAT"},
		"cluster size":     {func(d disk) { d[13] = 3 }, "no FAT"},
		"no tables":        {func(d disk) { d[16] = 0 }, "no FAT"},
		"too large":        {func(d disk) { le.PutUint16(d[19:], 0xffff); le.PutUint32(d[36:], 600) }, "only"},
		"no clusters":      {func(d disk) { d[16] = 255 }, "no clusters"},
		"small table":      {func(d disk) { le.PutUint16(d[19:], 0); le.PutUint32(d[32:], 60000); le.PutUint32(d[36:], 1) }, "too small"},
		"entries in front": {func(d disk) { le.PutUint16(d[17:], 16) }, "wrong size"},
		"no root":          {func(d disk) { le.PutUint32(d[44:], 0) }, "first cluster is 0"},
		"root elsewhere":   {func(d disk) { le.PutUint32(d[44:], 1<<30) }, "which there is not"},
		"loop":             {func(d disk) { setLink(d, 7, 6) }, ""}, // the file ends before
		"loop in the root": {func(d disk) { setLink(d, 2, 2) }, "twice"},
		"loop in a folder": {func(d disk) { setLink(d, 3, 3) }, "twice"},
		"link to nowhere":  {func(d disk) { setLink(d, 6, 0xfffff00) }, "which there is not"},
		"link to free":     {func(d disk) { setLink(d, 6, 0) }, "which there is not"},
		"crossed":          {func(d disk) { setLink(d, 6, 9) }, "belongs to two"},
		"folder in itself": {func(d disk) { le.PutUint16(entry(t, d, "D       ")[26:], 2) }, "belongs to two"},
		"no folder":        {func(d disk) { le.PutUint16(entry(t, d, "D       ")[26:], 0) }, "first cluster is 0"},
		"no file":          {func(d disk) { le.PutUint16(entry(t, d, "ONE     ")[20:], 0x7fff) }, "which there is not"},
		"large file":       {func(d disk) { le.PutUint32(entry(t, d, "ONE     ")[28:], 1025) }, "2 clusters"},
		"huge file":        {func(d disk) { le.PutUint32(entry(t, d, "ONE     ")[28:], 0xffffffff) }, "2 clusters"},
		"same name":        {func(d disk) { copy(entry(t, d, "ONE     "), "TWO") }, "two files"},
		"no name":          {func(d disk) { copy(entry(t, d, "ONE     "), "   ") }, "not a valid name"},
		"slash":            {func(d disk) { copy(entry(t, d, "ONE     "), "O/E") }, "not a valid name"},
		"zero":             {func(d disk) { copy(entry(t, d, "ONE     "), "O\x00E") }, "not a valid name"},
	} {
		d := small(t, 32)
		tt.spoil(d)
		_, err := Read(t.Context(), bytes.NewReader(d), int64(len(d)))
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v does not say %q", name, err, tt.want)
		}
	}
	d := small(t, 12)
	for _, size := range []int64{0, 511, 512, 5000, int64(len(d)) - 1} {
		if _, err := Read(t.Context(), bytes.NewReader(d[:size]), size); err == nil {
			t.Errorf("a file system cut to %d bytes was accepted", size)
		}
		if _, err := Read(t.Context(), bytes.NewReader(d[:size/2]), int64(len(d))); err == nil {
			t.Errorf("%d bytes of a larger file system were accepted", size)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Read(ctx, bytes.NewReader(d), int64(len(d))); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A long name that does not belong to its short one does not count, names of
// code page 437 and removed files are read as such, and the read-only attribute
// is a permission.
func TestReadNames(t *testing.T) {
	d := small(t, 16)
	copy(entry(t, d, "INAFOL~1"), "\x05n\x81") // of a long name
	one := entry(t, d, "ONE     ")
	copy(one, "\x8e\xe1")
	one[11] |= attrReadOnly
	entry(t, d, "TWO     ")[0] = 0xe5
	tree, err := Read(t.Context(), bytes.NewReader(d), int64(len(d)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range tree {
		got = append(got, fmt.Sprintf("%s %o", e.Path, e.Mode))
	}
	want := " 40755,d 40755,d/σnüFOL~1 100644,äße 100444"
	if strings.Join(got, ",") != want {
		t.Errorf("%q, not %q", strings.Join(got, ","), want)
	}
}

// Labels come from the root folder, or else from the boot sector; file systems
// without one say so.
func TestReadLabel(t *testing.T) {
	label := func(d disk) string {
		t.Helper()
		info, err := ReadInfo(bytes.NewReader(d), int64(len(d)))
		if err != nil {
			t.Fatal(err)
		}
		return info.Label
	}
	for _, bits := range []int{12, 32} {
		d := small(t, bits)
		copy(entry(t, d, "SAMPLE     \x08"), "OTHER ")
		if s := label(d); s != "OTHER" {
			t.Errorf("label %q", s)
		}
		entry(t, d, "OTHER      \x08")[0] = 0xe5
		if s := label(d); s != "SAMPLE" {
			t.Errorf("label %q", s)
		}
		none := write(t, content.Tree{dir("")}, Options{Bits: bits}, 0)
		if s := label(none); s != "" {
			t.Errorf("label %q", s)
		}
	}
}

// A deep file system of a few clusters must not make paths that use up the
// memory.
func TestReadDeep(t *testing.T) {
	tree := content.Tree{dir("")}
	path := ""
	for len(path) < 5000 {
		path = strings.TrimPrefix(path+"/"+strings.Repeat("d", 200), "/")
		tree = append(tree, dir(path))
	}
	d := write(t, tree, options(), 0)
	if _, err := Read(t.Context(), bytes.NewReader(d), int64(len(d))); err == nil || !strings.Contains(err.Error(), "longer ones") {
		t.Errorf("error %v", err)
	}
}

// zeroPadded is some bytes and any number of zeros.
type zeroPadded []byte

func (z zeroPadded) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(z)) {
		copy(p, z[off:])
	}
	return len(p), nil
}

// FuzzRead changes bytes of small file systems, three bytes of input each, the
// first two of which say where: there must be no panic and no endless loop, and
// what is read is a tree.
func FuzzRead(f *testing.F) {
	var samples [][]byte
	for i, bits := range []int{12, 16, 32} {
		im, err := Plan(content.Tree{dir(""), dir("d"), file("d/in a folder", 1000), file("one", 600)}, Options{Bits: bits, SectorSize: 512})
		if err != nil {
			f.Fatal(err)
		}
		d := make(disk, im.Size())
		if err := im.Write(f.Context(), d, im.Size()); err != nil {
			f.Fatal(err)
		}
		samples = append(samples, bytes.TrimRight(d, "\x00")) // the rest is zero
		f.Add(byte(i), []byte{})
		f.Add(byte(i), []byte{13, 0, 1, 44, 0, 3})
	}
	f.Fuzz(func(t *testing.T, sample byte, changes []byte) {
		const size = 16 << 20
		r := zeroPadded(bytes.Clone(samples[int(sample)%len(samples)]))
		for ; len(changes) >= 3; changes = changes[3:] {
			if at := int(binary.LittleEndian.Uint16(changes)); at < len(r) {
				r[at] = changes[2]
			}
		}
		if _, err := ReadInfo(r, size); err != nil {
			return
		}
		tree, err := Read(t.Context(), r, size)
		if err != nil {
			return
		}
		dirs := map[string]bool{}
		for i, e := range tree {
			if i > 0 && !dirs[e.Parent()] {
				t.Errorf("%q is not in a folder", e.Path)
			}
			if e.IsDir() {
				dirs[e.Path] = true
			}
			if e.Type() != unix.S_IFREG || e.Size == 0 {
				continue
			}
			content, err := e.Open()
			if err != nil {
				t.Error(err)
				continue
			}
			if n, err := io.Copy(io.Discard, content); n != e.Size || err != nil {
				t.Errorf("%q has %d bytes, not %d: %v", e.Path, n, e.Size, err)
			}
		}
	})
}
