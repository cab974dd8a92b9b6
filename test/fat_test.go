//go:build integration

package test

import (
	"bytes"
	le "encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/fat"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// fatTree makes a folder with what a FAT file system can hold.
func fatTree(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	deep := strings.TrimPrefix(strings.Repeat("/a folder", 25), "/")
	for _, name := range []string{"EFI/Linux", "many", "empty", deep} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string, size int) {
		t.Helper()
		data := bytes.Repeat([]byte(name+"\n"), size/(len(name)+1)+1)[:size]
		if err := os.WriteFile(filepath.Join(root, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 200 {
		write(fmt.Sprintf("many/a common prefix and %d.efi", i), i%3)
	}
	for _, size := range []int{0, 1, 511, 512, 513, 4095, 4096, 4097, 100000} {
		write(fmt.Sprintf("size-%d", size), size)
	}
	for i, name := range []string{
		"PLAIN", "plain.txt", "UPPER.low", "MiXed.txt", ".dot", "a b", "a+b,c;d=e[f]", "two.dots.txt", "snow☃man", "ä.txt",
		strings.Repeat("n", 255), "  leading", "NAME~1", "name too long", "thirteen-char",
	} {
		write("EFI/Linux/"+name, i)
	}
	return root
}

// fatPlan plans a file system with what is in a folder.
func fatPlan(t *testing.T, root string, o fat.Options) *fat.Image {
	t.Helper()
	clamp := int64(1760000000)
	tree, closeTree, err := content.Read(t.Context(), content.Selection{
		Root: root, Copies: []content.Copy{{Source: "/", Target: "/"}}, ClampMtime: &clamp,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeTree() })
	o.BuildTime = clamp
	im, err := fat.Plan(tree, o)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// fatWrite writes a file system of a size, or of the smallest, to a new file.
func fatWrite(t *testing.T, im *fat.Image, path string, size int64) {
	t.Helper()
	if size == 0 {
		size = im.Size()
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), im.Write(t.Context(), f, size), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// fsck.vfat has nothing to say, and mtools finds everything, in file systems of
// all types and sizes, those with nothing left included.
func TestFATAccepted(t *testing.T) {
	root, dir := fatTree(t), t.TempDir()
	var images, commands []string
	add := func(name string, im *fat.Image, size int64) {
		fatWrite(t, im, filepath.Join(dir, name), size)
		images = append(images, name)
		commands = append(commands, fmt.Sprintf("fsck.vfat -n %[1]s >%[1]s.fsck 2>&1; mdir -i %[1]s :: >%[1]s.mdir 2>&1", name))
	}
	for _, tt := range []struct {
		sector, bits int
		size         int64
	}{
		{512, 0, 0}, {512, 0, 20 << 20}, {512, 0, 100 << 20}, {512, 12, 0}, {512, 16, 0}, {512, 0, 2 << 30}, {1024, 0, 0}, {2048, 0, 33 << 20},
		{4096, 0, 0}, {4096, 0, 100 << 20}, {4096, 0, 260 << 20}, {4096, 0, 2 << 30},
	} {
		name := fmt.Sprintf("fat-%d-%d-%d", tt.sector, tt.bits, tt.size)
		add(name, fatPlan(t, root, fat.Options{VolumeID: 0xabcd1234, Label: "test", SectorSize: tt.sector, Bits: tt.bits}), tt.size)
		last := len(commands) - 1
		commands[last] += fmt.Sprintf("; mkdir %[1]s.out && LC_ALL=C.UTF-8 mcopy -s -Q -n -m -i %[1]s ::/ %[1]s.out", name)
	}
	// Those of the sizes at which the type changes, and around them: an empty
	// one, and one that a file fills to the last cluster.
	for _, sectors := range []int64{64, 128, 16384, 16400, 16416, 16448, 66528, 66560, 66592, 66624, 262144, 262176} {
		name := fmt.Sprintf("empty-%d", sectors)
		add(name, fatZeros(t, fat.Options{SectorSize: 512}, 0), sectors*512)
		r := fatOpen(t, filepath.Join(dir, name), 0)
		info, err := fat.ReadInfo(r, r.Size())
		if err != nil {
			t.Fatal(err)
		}
		o := fat.Options{SectorSize: 512, Bits: info.Bits}
		for size := sectors * 512 / info.ClusterSize * info.ClusterSize; ; size -= info.ClusterSize {
			if im := fatZeros(t, o, size); im.Size() <= sectors*512 {
				add(fmt.Sprintf("full-%d", sectors), im, sectors*512)
				break
			}
		}
	}
	inReference(t, dir, "true", commands)
	silent := regexp.MustCompile(`^fsck\.fat [^\n]*\n[^\n]*: [0-9]+ files, [0-9]+/[0-9]+ clusters\n$`)
	for _, name := range images {
		for suffix, want := range map[string]*regexp.Regexp{"fsck": silent, "mdir": regexp.MustCompile(`bytes free\s*$`)} {
			out, err := os.ReadFile(filepath.Join(dir, name+"."+suffix))
			if err != nil || !want.Match(out) {
				t.Errorf("%s: %s says %v\n%s", name, suffix, err, out)
			}
		}
		if strings.HasPrefix(name, "fat-") {
			fatCompare(t, root, filepath.Join(dir, name+".out"))
		}
	}
}

// zeros reads as any number of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// fatZeros plans a file system with one file that holds zeros.
func fatZeros(t *testing.T, o fat.Options, size int64) *fat.Image {
	t.Helper()
	im, err := fat.Plan(content.Tree{
		{Mode: unix.S_IFDIR | 0o755},
		{Path: "zeros", Mode: unix.S_IFREG | 0o644, Size: size, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(io.LimitReader(zeros{}, size)), nil
		}},
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// fatCompare compares the names, contents and times of two folders.
func fatCompare(t *testing.T, want, got string) {
	t.Helper()
	if diff := cmp.Diff(fatList(t, want), fatList(t, got)); diff != "" {
		t.Errorf("%s (-written +read):\n%s", filepath.Base(got), diff)
	}
}

func fatList(t *testing.T, root string) map[string]string {
	t.Helper()
	list := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil || d.IsDir() {
			list[name] = "a folder"
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		list[name] = fmt.Sprintf("%d %s", min(info.ModTime().Unix(), 1760000000)&^1, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// File systems are laid out like those of mkfs.vfat, whatever their size.
func TestFATLikeMkfs(t *testing.T) {
	dir := t.TempDir()
	var commands []string
	type sample struct {
		ours, theirs string
		bits         int
	}
	var samples []sample
	for _, bits := range []int{12, 16, 32} {
		for _, sector := range []int{512, 1024, 2048, 4096} {
			im := fatZeros(t, fat.Options{VolumeID: 0xabcd1234, Label: "test", SectorSize: sector, Bits: bits}, 0)
			for size := im.Size() + 1<<18; size < 3<<30; size += size*3/2 + 12345 {
				s := sample{fmt.Sprintf("ours-%d-%d-%d", bits, sector, size), fmt.Sprintf("theirs-%d-%d-%d", bits, sector, size), bits}
				f, err := os.Create(filepath.Join(dir, s.ours))
				if err != nil {
					t.Fatal(err)
				}
				err = errors.Join(f.Truncate(size), im.Write(t.Context(), f, size), f.Close())
				if err != nil && bits < 32 { // too large for the type, as mkfs.vfat says, too
					commands = append(commands, fmt.Sprintf("truncate -s %d %[2]s; ! mkfs.vfat -S %d -F %d %[2]s >/dev/null 2>&1", size, s.theirs, sector, bits))
					break
				} else if err != nil {
					t.Fatal(err)
				}
				samples = append(samples, s)
				commands = append(commands, fmt.Sprintf("truncate -s %d %[2]s; mkfs.vfat -i abcd1234 -n TEST -S %d -F %d %[2]s >%[2]s.log 2>&1", size, s.theirs, sector, bits))
			}
		}
	}
	inReference(t, dir, "true", commands)
	for _, s := range samples {
		ours, theirs := fatHead(t, fatOpen(t, filepath.Join(dir, s.ours), 0)), fatHead(t, fatOpen(t, filepath.Join(dir, s.theirs), 0))
		if diff := cmp.Diff(theirs, ours); diff != "" {
			t.Errorf("%s (-mkfs +ours):\n%s", s.ours, diff)
		}
	}
	if len(samples) < 50 {
		t.Errorf("only %d file systems were compared", len(samples))
	}
}

// fatOpen opens a file system that lies in a file at an offset.
func fatOpen(t *testing.T, path string, offset int64) *io.SectionReader {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return io.NewSectionReader(f, offset, st.Size()-offset)
}

// fatHead is what the boot sector says but for the name of the program and the
// boot code, what the sector of information says, and the start of the table.
func fatHead(t *testing.T, r io.ReaderAt) map[string][]byte {
	t.Helper()
	read := func(n, off int64) []byte {
		b := make([]byte, n)
		if _, err := r.ReadAt(b, off); err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := read(512, 0)
	sector, reserved := int64(le.LittleEndian.Uint16(b[11:])), int64(le.LittleEndian.Uint16(b[14:]))
	head := map[string][]byte{"boot sector": b[11:62], "signature": b[510:], "table": read(3, reserved*sector)}
	if le.LittleEndian.Uint16(b[22:]) == 0 {
		head["boot sector"] = b[11:90]
		head["table"] = read(8, reserved*sector)
		head["information"] = read(512, sector)
		head["backup"] = read(90, 6*sector)[11:]
	}
	return head
}

// The ESP is like that of systemd-repart, which has other programs make it: the
// same boot sector, the same number of clusters free, the same label, files and
// times.
func TestFATLikeRepart(t *testing.T) {
	root := fatTree(t)
	dir := filepath.Dir(root)
	// mtools knows no names that are not ASCII when systemd-repart runs it.
	for _, name := range []string{"snow☃man", "ä.txt"} {
		if err := os.Remove(filepath.Join(root, "EFI/Linux", name)); err != nil {
			t.Fatal(err)
		}
	}
	definitions := filepath.Join(dir, "repart.d")
	writeFile(t, filepath.Join(definitions, "esp.conf"), []byte("[Partition]\nType=esp\nFormat=vfat\nCopyFiles=/:/\n"), 0o644)
	t.Setenv("SOURCE_DATE_EPOCH", "1760000000")
	image := filepath.Join(dir, "theirs.raw")
	diskRepart(t, dir, root, definitions, image)
	esp, err := repart.ParsePartitionType("esp", "x86-64")
	if err != nil {
		t.Fatal(err)
	}
	id := disk.FileSystemUUID(disk.PartitionUUID(diskSeed, esp.UUID, 0))
	fatWrite(t, fatPlan(t, root, fat.Options{VolumeID: fat.VolumeID(id), Label: "esp"}), filepath.Join(dir, "ours"), 260<<20)
	theirs, ours := fatOpen(t, image, 1<<20), fatOpen(t, filepath.Join(dir, "ours"), 0)
	want, got := fatHead(t, theirs), fatHead(t, ours)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-systemd-repart +ours):\n%s", diff)
	}
	if diff := cmp.Diff(fatNames(t, theirs), fatNames(t, ours)); diff != "" {
		t.Errorf("(-systemd-repart +ours):\n%s", diff)
	}
}

// fatNames lists what our reader finds in a file system.
func fatNames(t *testing.T, r *io.SectionReader) []string {
	t.Helper()
	info, err := fat.ReadInfo(r, r.Size())
	if err != nil {
		t.Fatal(err)
	}
	tree, err := fat.Read(t.Context(), r, r.Size())
	if err != nil {
		t.Fatal(err)
	}
	list := []string{info.Label}
	for _, e := range tree {
		list = append(list, fmt.Sprintf("%s %o %d %d", e.Path, e.Mode, e.Mtime, e.Size))
	}
	return list
}
