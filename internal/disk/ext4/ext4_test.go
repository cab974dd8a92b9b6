package ext4

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/program"
)

// The whole of a file system needs mke2fs, so it is tested with it, with
// e2fsck and with the kernel in the integration tests. Here are the parts.

var defaults = geometry{BlockSize, inodeSize}

// emptyVolume has three groups, the first two with a few blocks in use and the
// last one half as large.
func emptyVolume() *volume {
	v := &volume{
		geometry: defaults, descSize: descSize, checksums: true,
		blocks: 2*32768 + 16384, blocksPerGroup: 32768, inodesPerGroup: 100,
		super: make([]byte, superSize), nextInode: firstInode, tableNumber: -1,
	}
	for range 3 {
		g := &group{desc: make([]byte, descSize), blockBitmap: make([]byte, BlockSize), inodeBitmap: make([]byte, BlockSize)}
		g.setCount(12, 44, 32768)
		g.setCount(14, 46, 100)
		g.setCount(28, 50, 100)
		le.PutUint16(g.desc[18:], inodeUninit|blockUninit)
		v.groups = append(v.groups, g)
	}
	for i := range v.groups {
		g := v.groups[i]
		le.PutUint32(g.desc[0:], uint32(40+i))
		le.PutUint32(g.desc[4:], uint32(50+i))
		le.PutUint32(g.desc[8:], uint32(60+10*i))
	}
	for i := range v.groups {
		v.initBlockBitmap(int64(i))
		fill(v.groups[i].inodeBitmap, v.inodesPerGroup, 8*BlockSize)
	}
	fill(v.groups[0].inodeBitmap, 0, 11)
	return v
}

func TestAllocate(t *testing.T) {
	v := emptyVolume()
	// Two blocks of backups are at the start, then holes between the metadata.
	runs, err := v.allocate(100)
	if err != nil {
		t.Fatal(err)
	}
	want := []extent{{2, 38}, {43, 7}, {53, 7}, {67, 3}, {77, 3}, {87, 42}}
	if diff := cmp.Diff(want, runs, cmp.AllowUnexported(extent{})); diff != "" {
		t.Errorf("first blocks (-want +got):\n%s", diff)
	}
	runs, err = v.allocate(40000)
	if err != nil {
		t.Fatal(err)
	}
	// The second group has a backup too.
	want = []extent{{129, 32768 - 129}, {32770, 40000 - (32768 - 129)}}
	if diff := cmp.Diff(want, runs, cmp.AllowUnexported(extent{})); diff != "" {
		t.Errorf("next blocks (-want +got):\n%s", diff)
	}
	if v.groups[1].flags() != inodeUninit || v.groups[2].flags() != inodeUninit|blockUninit {
		t.Errorf("flags %d, %d", v.groups[1].flags(), v.groups[2].flags())
	}
	if got := v.groups[1].count(12, 44); got != 32768-runs[1].count {
		t.Errorf("%d blocks are free in the second group", got)
	}
	left := int64(32768-2) - runs[1].count + 16384
	if _, err := v.allocate(left); err != nil {
		t.Errorf("the last %d blocks: %v", left, err)
	}
	if _, err := v.allocate(1); err == nil {
		t.Error("a block beyond the end was free")
	}
}

func TestAllocateInode(t *testing.T) {
	v := emptyVolume()
	for want := uint32(12); want <= 300; want++ {
		got, err := v.allocateInode()
		if err != nil || got != want {
			t.Fatalf("inode %d, want %d, %v", got, want, err)
		}
	}
	if _, err := v.allocateInode(); err == nil {
		t.Error("an inode beyond the last one was free")
	}
	if g := v.groups[1]; g.flags()&inodeUninit != 0 || g.count(28, 50) != 0 || g.count(14, 46) != 0 {
		t.Errorf("second group: flags %d, %d unused, %d free", g.flags(), g.count(28, 50), g.count(14, 46))
	}
}

func TestHasBackup(t *testing.T) {
	var got []int64
	for i := range int64(130) {
		if hasBackup(i) {
			got = append(got, i)
		}
	}
	if want := []int64{0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125}; !slices.Equal(got, want) {
		t.Errorf("backups in the groups %v", got)
	}
}

func TestSplitRuns(t *testing.T) {
	got := splitRuns([]mapped{{extent{100, 2}, 0}, {extent{200, 70000}, 5}})
	want := []mapped{{extent{100, 2}, 0}, {extent{200, 32768}, 5}, {extent{32968, 32768}, 32773}, {extent{65736, 4464}, 65541}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(mapped{}, extent{})); diff != "" {
		t.Errorf("extents (-want +got):\n%s", diff)
	}
	var pieces []mapped
	for i := range int64(340*340 + 1) {
		pieces = append(pieces, mapped{extent{i * 2, 1}, i})
	}
	for count, want := range map[int]int64{
		0: 0, 4: 0, 5: 1, 340: 1, 341: 2, 4 * 340: 4, 4*340 + 1: 5 + 1, 340 * 340: 340 + 1, 340*340 + 1: 341 + 2,
	} {
		if got := defaults.nodesNeeded(pieces[:count]); got != want {
			t.Errorf("%d extents need %d blocks, not %d", count, want, got)
		}
	}
}

// A file with more extents than one level of blocks has room for.
func TestEncodeExtents(t *testing.T) {
	v := emptyVolume()
	disk := make(memory, 64*BlockSize)
	v.f = disk
	n := &inode{number: 12, nodes: []extent{{40, 2}, {50, 10}}}
	for i := range int64(2000) {
		n.runs = append(n.runs, mapped{extent{1000 + 2*i, 1}, 3 * i})
	}
	area := make([]byte, 60)
	if err := n.encodeExtents(v, area); err != nil {
		t.Fatal(err)
	}
	if le.Uint16(area[2:]) != 1 || le.Uint16(area[6:]) != 2 {
		t.Fatalf("in the inode: %x", area)
	}
	child := func(node []byte, i int) []byte {
		return disk[int(le.Uint32(node[12+12*i+4:]))*BlockSize:][:BlockSize]
	}
	top := child(area, 0)
	if entries := le.Uint16(top[2:]); entries != 6 || le.Uint16(top[6:]) != 1 {
		t.Fatalf("the top has %d entries: %x", entries, top[:24])
	}
	leaf := child(top, 5)
	last := leaf[12+12*(2000-5*340-1):]
	if le.Uint32(leaf[12:]) != 3*5*340 || le.Uint32(last) != 3*1999 || le.Uint16(last[4:]) != 1 || le.Uint32(last[8:]) != 1000+2*1999 {
		t.Errorf("the last leaf: %x ... %x", leaf[:24], last[:12])
	}
	if le.Uint32(leaf[12+12*340:]) != checksum(n.seed(v), leaf[:12+12*340]) {
		t.Error("the checksum of the last leaf is wrong")
	}
}

func TestPieces(t *testing.T) {
	n := &inode{runs: []mapped{{extent{10, 2}, 0}, {extent{20, 1}, 2}, {extent{30, 3}, 5}}}
	var got [][3]int64
	for off, r := range n.pieces(4096, 4096, 5*4096+100) {
		got = append(got, [3]int64{off, r.start, r.count})
	}
	want := [][3]int64{{0, 11 * 4096, 4096}, {4096, 20 * 4096, 4096}, {4 * 4096, 30 * 4096, 4096 + 100}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pieces (-want +got):\n%s", diff)
	}
}

func TestAllocateSparse(t *testing.T) {
	v := emptyVolume()
	e := &content.Entry{Mode: unix.S_IFREG, Size: 1 << 20, Data: []content.Range{{Offset: 5000, Size: 10}, {Offset: 8190, Size: 4}, {Offset: 1 << 19, Size: 8192}}}
	n := &inode{entry: e}
	if err := n.allocate(v, nil); err != nil {
		t.Fatal(err)
	}
	want := []mapped{{extent{2, 2}, 1}, {extent{4, 2}, 128}}
	if diff := cmp.Diff(want, n.runs, cmp.AllowUnexported(mapped{}, extent{})); diff != "" {
		t.Errorf("blocks (-want +got):\n%s", diff)
	}
}

func TestParseOptions(t *testing.T) {
	s, err := parseOptions(strings.Fields("-O verity,^64bit -b1024 -I 512 -N 5 -E stride=4,encoding=utf8 -m 1 -Ocasefold -j -J size=4"))
	want := settings{
		geometry: geometry{1024, 512}, inodes: true, features: []string{"verity", "^64bit", "casefold"},
		extended: []string{"stride=4", "encoding=utf8"}, others: []string{"-N", "5", "-m", "1", "-J", "size=4"},
	}
	if diff := cmp.Diff(want, s, cmp.AllowUnexported(settings{}, geometry{})); diff != "" || err != nil {
		t.Errorf("settings (-want +got):\n%s%v", diff, err)
	}
	for _, bad := range []string{"-b 512", "-b", "-b x", "-I 128", "-E offset=5", "-d /", "-S", "/dev/x", "-", "-C 65536", "-n"} {
		if s, err := parseOptions(strings.Fields(bad)); err == nil {
			t.Errorf("%s was accepted: %v", bad, s)
		}
	}
}

func TestCheckFeatures(t *testing.T) {
	super := make([]byte, superSize)
	for compat, words := range map[[3]uint32]string{
		{0x3c, 0x2c2, 0x46b}:      "",
		{0x1c3c, 0x362c2, 0xa46b}: "",
		{0x23c, 0x2c2, 0x46b}:     "sparse_super2",
		{0x3c, 0x82d2, 0x46b}:     "meta_bg, inline_data",
		{0x3c, 0x2c2, 0x66b}:      "bigalloc",
		{0x3c, 0x282, 0x46b}:      "extent",
		{0x3c, 0x2c2, 0x80046b}:   "0x800000",
	} {
		for i, at := range []int{92, 96, 100} {
			le.PutUint32(super[at:], compat[i])
		}
		err := checkFeatures(super)
		if (err == nil) != (words == "") || err != nil && !strings.Contains(err.Error(), words) {
			t.Errorf("features %x: %v, want %q", compat, err, words)
		}
	}
}

// The access list of "setfacl -m u:1234:r,g:70000:rw", as getxattr returns it
// and as debugfs shows it on a disk.
func TestEncodeACL(t *testing.T) {
	memory := "02000000" + "01000600ffffffff" + "02000400d2040000" + "04000400ffffffff" + "0800060070110100" + "10000600ffffffff" + "20000400ffffffff"
	disk := "01000000" + "01000600" + "02000400d2040000" + "04000400" + "0800060070110100" + "10000600" + "20000400"
	in, _ := hex.DecodeString(memory)
	out, err := encodeACL(in)
	if err != nil || hex.EncodeToString(out) != disk {
		t.Errorf("%x, %v", out, err)
	}
	for _, bad := range []string{"", "020000", "0100000001000600", "0200000001000600ffffff"} {
		in, _ := hex.DecodeString(bad)
		if out, err := encodeACL(in); err == nil {
			t.Errorf("%s was accepted as %x", bad, out)
		}
	}
}

func TestSplitXattrs(t *testing.T) {
	x, err := defaults.splitXattrs([]content.Xattr{
		{Name: "security.capability", Value: make([]byte, 20)},
		{Name: "user.large", Value: make([]byte, 3000)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(x.inode) != 96 || le.Uint32(x.inode) != xattrMagic || x.inode[5] != 6 || string(x.inode[20:30]) != "capability" {
		t.Errorf("in the inode: %x", x.inode)
	}
	if len(x.block) != BlockSize || x.block[33] != 1 || string(x.block[48:53]) != "large" {
		t.Errorf("in the block: %x", x.block[:64])
	}
	if x, err := defaults.splitXattrs(nil); err != nil || x.inode != nil || x.block != nil {
		t.Errorf("no attributes: %v, %v", x, err)
	}
	for _, bad := range []content.Xattr{
		{Name: "other.x"}, {Name: "user."}, {Name: "user.x", Value: make([]byte, 4096)},
		{Name: "user." + strings.Repeat("n", 256)}, {Name: "system.posix_acl_access", Value: []byte("x")},
	} {
		if _, err := defaults.splitXattrs([]content.Xattr{bad}); err == nil {
			t.Errorf("%.30s of %d bytes was accepted", bad.Name, len(bad.Value))
		}
	}
}

func TestEncodeDir(t *testing.T) {
	v := &volume{geometry: defaults, checksums: true}
	dir := &inode{entry: &content.Entry{Mode: unix.S_IFDIR}, number: 2}
	dir.parent = dir
	file := &inode{entry: &content.Entry{Mode: unix.S_IFREG}, number: 12}
	for _, name := range []string{"a", "b"} {
		dir.children = append(dir.children, child{strings.Repeat(name, 255), file})
	}
	for len(dir.children) < 40 {
		dir.children = append(dir.children, child{strings.Repeat("c", 200), file})
	}
	b := dir.encodeDir(v, 4)
	if len(b) != 4*BlockSize {
		t.Fatalf("%d bytes", len(b))
	}
	count := 0
	for ; len(b) > 0; b = b[BlockSize:] {
		at := 0
		for at < BlockSize-12 {
			length := int(le.Uint16(b[at+4:]))
			if length < 8 || length%4 != 0 {
				t.Fatalf("entry of %d bytes", length)
			}
			if le.Uint32(b[at:]) != 0 {
				count++
			}
			at += length
		}
		if at != BlockSize-12 || b[at+7] != 0xde || le.Uint32(b[at+8:]) != checksum(dir.seed(v), b[:at]) {
			t.Errorf("tail at %d: %x", at, b[at:BlockSize])
		}
	}
	if count != 42 {
		t.Errorf("%d names", count)
	}
}

func TestLabel(t *testing.T) {
	for in, want := range map[string]string{"root-x86-64": "root-x86-64", "root-loongarch64-2": "root-loongarch64", "ääääääääää": "ääääääää", "xäääääääääää": "xääääääää"[:15]} {
		if got := label(in); got != want {
			t.Errorf("%s is cut to %s", in, got)
		}
	}
}

func TestPlan(t *testing.T) {
	dir := content.Tree{{Mode: unix.S_IFDIR | 0o755}}
	im, err := Plan(dir, Options{})
	if err != nil || im.Size() != minSize {
		t.Errorf("an empty tree takes %d bytes, %v", im.Size(), err)
	}
	large := append(slices.Clone(dir), content.Entry{Path: "f", Mode: unix.S_IFREG, Size: 1 << 30, Open: nil})
	if _, err := Plan(large, Options{}); err == nil {
		t.Error("a file without content was accepted")
	}
}

func TestWriteErrors(t *testing.T) {
	im, err := Plan(content.Tree{{Mode: unix.S_IFDIR | 0o755}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	failed := errors.New("no mke2fs")
	var argv []string
	im.options.Run = func(_ context.Context, c program.Command) error { argv = c.Args; return failed }
	if err := im.Write(t.Context(), f, 4096, im.Size()); !errors.Is(err, failed) {
		t.Errorf("error %v", err)
	}
	if !slices.Contains(argv, f.Name()) || !strings.Contains(strings.Join(argv, " "), "offset=4096,") {
		t.Errorf("ran %q", argv)
	}
	im.options.Run = func(context.Context, program.Command) error { return nil }
	if err := f.Truncate(im.Size() + 4096); err != nil {
		t.Fatal(err)
	}
	if err := im.Write(t.Context(), f, 4096, im.Size()); err == nil {
		t.Error("a file of zeros was taken for a file system")
	}
}

// Whatever mke2fs leaves behind, reading it ends in an error or in a volume
// that can be filled.
func FuzzOpenVolume(f *testing.F) {
	super := make([]byte, superSize)
	le.PutUint16(super[56:], 0xef53)
	le.PutUint32(super[4:], 8192)
	le.PutUint32(super[24:], 2)
	le.PutUint32(super[76:], 1)
	le.PutUint32(super[32:], 32768)
	le.PutUint32(super[40:], 2048)
	le.PutUint16(super[88:], inodeSize)
	le.PutUint32(super[96:], 0x2c2)
	le.PutUint32(super[100:], roCompatChecksum|roCompatSparse)
	le.PutUint16(super[254:], descSize)
	desc := make([]byte, descSize)
	le.PutUint32(desc[0:], 2)
	le.PutUint32(desc[4:], 3)
	le.PutUint32(desc[8:], 4)
	f.Add(super, desc)
	f.Add(super, bytes.Repeat([]byte{3}, descSize))
	f.Fuzz(func(t *testing.T, super, desc []byte) {
		disk := make(memory, 64*BlockSize)
		copy(disk[BlockSize:], desc)
		copy(disk[1024:BlockSize], super)
		v, err := openVolume(disk, 0, 64<<20)
		if err != nil {
			return
		}
		if runs, err := v.allocate(3); err == nil && total(runs) != 3 {
			t.Errorf("allocated %v", runs)
		}
		number, err := v.allocateInode()
		if err != nil {
			return
		}
		if b, err := v.inode(number); err == nil && int64(len(b)) != v.inodeSize {
			t.Errorf("inode of %d bytes", len(b))
		}
	})
}

// memory is the start of a disk.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(m)) {
		return 0, io.EOF
	}
	n := copy(p, m[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(m)) {
		return 0, io.ErrShortWrite
	}
	return copy(m[off:], p), nil
}
