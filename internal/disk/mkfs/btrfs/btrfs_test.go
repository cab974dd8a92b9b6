package btrfs

import (
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

const (
	testNode = 4096
	testSize = 1 << 20
	// Logical addresses differ from those on the device, which has two copies.
	testStart  = 1 << 30
	testLength = 256 << 10
	testFirst  = 128 << 10
	testSecond = 512 << 10
)

// memory is a device.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(m)) {
		return 0, io.EOF
	}
	n := copy(p, m[off:])
	if n < len(p) {
		return n, io.ErrUnexpectedEOF
	}
	return n, nil
}

func (m memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(m)) {
		return 0, io.ErrShortWrite
	}
	return copy(m[off:], p), nil
}

// item is one item of a leaf.
type item struct {
	key  key
	data []byte
}

func putKey(b []byte, k key) []byte {
	b = le.AppendUint64(b, k.object)
	return le.AppendUint64(append(b, k.kind), k.offset)
}

// seal adds the checksum and writes a node to both copies.
func (m memory) seal(raw []byte, logical int64) {
	v := &volume{}
	sum, _ := v.sum(raw[32:])
	copy(raw, sum)
	copy(m[testFirst+logical-testStart:], raw)
	copy(m[testSecond+logical-testStart:], raw)
}

func (m memory) leaf(logical int64, items []item) {
	raw := make([]byte, testNode)
	le.PutUint64(raw[48:], uint64(logical))
	le.PutUint32(raw[96:], uint32(len(items)))
	end := testNode - headerSize
	for i, x := range items {
		end -= len(x.data)
		place := putKey(nil, x.key)
		place = le.AppendUint32(le.AppendUint32(place, uint32(end)), uint32(len(x.data)))
		copy(raw[headerSize+i*itemSize:], place)
		copy(raw[headerSize+end:], x.data)
	}
	m.seal(raw, logical)
}

// parent is a node above others.
func (m memory) parent(logical int64, children ...int64) {
	raw := make([]byte, testNode)
	le.PutUint64(raw[48:], uint64(logical))
	le.PutUint32(raw[96:], uint32(len(children)))
	raw[100] = 1
	for i, c := range children {
		le.PutUint64(raw[headerSize+i*ptrSize+keySize:], uint64(c))
	}
	m.seal(raw, logical)
}

func inodeItem(number uint64, mode uint32, size int64, links uint32) item {
	b := make([]byte, inodeSize)
	le.PutUint64(b[16:], uint64(size))
	le.PutUint32(b[40:], links)
	le.PutUint32(b[52:], mode)
	return item{key{number, kindInode, 0}, b}
}

func nameItem(dir, index uint64, to key, name string) item {
	b := putKey(nil, to)
	b = append(b, make([]byte, dirIndexSize-keySize)...)
	le.PutUint16(b[27:], uint16(len(name)))
	return item{key{dir, kindDirIndex, index}, append(b, name...)}
}

func rootItem(tree uint64, at int64, level byte) item {
	b := make([]byte, 439)
	le.PutUint64(b[rootTreeStart:], uint64(at))
	b[rootTreeLevel] = level
	return item{key{tree, kindRoot, 0}, b}
}

// sample is a file system: a folder, a file with two names, a device node, and
// a subvolume with a file.
func sample() memory {
	m := make(memory, testSize)
	at := func(n int64) int64 { return testStart + n*testNode }
	chunk := le.AppendUint64(nil, testLength)
	chunk = append(chunk, make([]byte, chunkSize-8+2*stripeSize)...)
	le.PutUint64(chunk[24:], profileDup|2)
	le.PutUint16(chunk[44:], 2)
	le.PutUint64(chunk[chunkSize+8:], testFirst)
	le.PutUint64(chunk[chunkSize+stripeSize+8:], testSecond)
	chunkKey := key{256, kindChunk, testStart}

	m.leaf(at(0), []item{{chunkKey, chunk}})
	m.leaf(at(1), []item{rootItem(topTree, at(2), 1), rootItem(7, at(60), 0), rootItem(300, at(5), 0)})
	m.parent(at(2), at(3), at(4))
	m.leaf(at(3), []item{
		inodeItem(256, unix.S_IFDIR, 0, 1),
		nameItem(256, 2, key{257, kindInode, 0}, "dir"), nameItem(256, 3, key{300, kindRoot, 0}, "sub"),
		inodeItem(257, unix.S_IFDIR|0o700, 0, 1), nameItem(257, 2, key{258, kindInode, 0}, "file"),
		nameItem(257, 3, key{258, kindInode, 0}, "link"), nameItem(257, 4, key{259, kindInode, 0}, "node"),
	})
	m.leaf(at(4), []item{inodeItem(258, unix.S_IFREG|0o600, 5, 2), inodeItem(259, unix.S_IFBLK|0o600, 0, 1)})
	m.leaf(at(5), []item{
		inodeItem(256, unix.S_IFDIR, 0, 1), nameItem(256, 2, key{257, kindInode, 0}, "in"), inodeItem(257, unix.S_IFREG, 0, 1),
	})
	super := make([]byte, superSize)
	copy(super[64:], magic)
	le.PutUint64(super[80:], uint64(at(1)))
	le.PutUint64(super[88:], uint64(at(0)))
	le.PutUint64(super[136:], 1)
	le.PutUint32(super[148:], testNode)
	array := append(putKey(nil, chunkKey), chunk...)
	le.PutUint32(super[160:], uint32(len(array)))
	copy(super[sysArray:], array)
	m.super(super)
	return m
}

func (m memory) super(b []byte) {
	sum, _ := (&volume{}).sum(b[32:])
	copy(b, sum)
	copy(m[superOffset:], b)
}

func sampleTree() content.Tree {
	open := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("hello")), nil }
	file := content.Entry{Path: "dir/file", Mode: unix.S_IFREG | 0o4755, UID: 70000, GID: 5, Mtime: 1700000000, MtimeNsec: 123456789, Size: 5, Open: open}
	link := file
	link.Path, link.HardLink, link.Link = "dir/link", true, "dir/file"
	return content.Tree{
		{Mode: unix.S_IFDIR | 0o751, UID: 1, Mtime: -5},
		{Path: "dir", Mode: unix.S_IFDIR | 0o1777},
		file, link,
		{Path: "dir/node", Mode: unix.S_IFBLK | 0o660, Major: 259, Minor: 70000},
		{Path: "sub", Mode: unix.S_IFDIR | 0o755, GID: 9},
		{Path: "sub/in", Mode: unix.S_IFREG | 0o640, MtimeNsec: 7},
	}
}

func TestRepair(t *testing.T) {
	m := sample()
	if err := Repair(t.Context(), m, testSize, sampleTree()); err != nil {
		t.Fatal(err)
	}
	for _, start := range []int64{testFirst, testSecond} {
		copied := m[start:]
		inode := func(leaf, index int) []byte {
			n := &node{raw: copied[leaf*testNode : (leaf+1)*testNode]}
			return n.data(index)
		}
		file := inode(4, 0)
		if le.Uint32(file[44:]) != 70000 || le.Uint32(file[48:]) != 5 || le.Uint32(file[52:]) != unix.S_IFREG|0o4755 {
			t.Errorf("file: %x", file)
		}
		for _, at := range []int{112, 124, 136, 148} {
			if le.Uint64(file[at:]) != 1700000000 || le.Uint32(file[at+8:]) != 123456789 {
				t.Errorf("time at %d: %x", at, file[at:at+12])
			}
		}
		if got := le.Uint64(inode(4, 1)[56:]); got != 259<<20|70000 {
			t.Errorf("device %x", got)
		}
		if top := inode(3, 0); le.Uint32(top[52:]) != unix.S_IFDIR|0o751 || int64(le.Uint64(top[136:])) != -5 {
			t.Errorf("top: %x", top)
		}
		if le.Uint32(inode(5, 0)[48:]) != 9 || le.Uint32(inode(5, 2)[144:]) != 7 {
			t.Errorf("subvolume: %x, %x", inode(5, 0), inode(5, 2))
		}
	}
	// The checksums are right again.
	if err := Repair(t.Context(), m, testSize, sampleTree()); err != nil {
		t.Error(err)
	}
}

func TestRepairFinds(t *testing.T) {
	for want, spoil := range map[string]func(tree content.Tree) content.Tree{
		"/dir/lost is missing": func(t content.Tree) content.Tree {
			t[4].Path = "dir/lost"
			t.Sort()
			return t
		},
		"it has 5 bytes, not 6": func(t content.Tree) content.Tree {
			t[2].Size = 6
			return t
		},
		"it has 2 names, not 1": func(t content.Tree) content.Tree { return append(t[:3], t[4:]...) },
		"another type": func(t content.Tree) content.Tree {
			t[4].Mode = unix.S_IFCHR
			return t
		},
		"is not the same file as": func(t content.Tree) content.Tree {
			t[4].HardLink, t[4].Link = true, "dir/file"
			return t
		},
		"is the same file as": func(t content.Tree) content.Tree {
			t[3].HardLink = false
			return t
		},
	} {
		if err := Repair(t.Context(), sample(), testSize, spoil(sampleTree())); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	m := sample()
	m[testFirst+3*testNode+200]++
	if err := Repair(t.Context(), m, testSize, sampleTree()); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("damaged node: %v", err)
	}
	if err := Repair(t.Context(), make(memory, testSize), testSize, sampleTree()); err == nil {
		t.Error("zeros were taken for a file system")
	}
}

// Whatever mkfs.btrfs leaves behind, reading it ends.
func FuzzRepair(f *testing.F) {
	f.Add(uint32(superOffset+80), uint64(testStart), uint32(testFirst+testNode), uint64(1))
	f.Add(uint32(testFirst+2*testNode+headerSize+keySize), uint64(testStart+2*testNode), uint32(0), uint64(0))
	f.Add(uint32(testFirst+3*testNode+96), uint64(1)<<31, uint32(0), uint64(0))
	f.Add(uint32(superOffset+148), uint64(65536), uint32(superOffset+160), uint64(2048))
	f.Fuzz(func(t *testing.T, at1 uint32, value1 uint64, at2 uint32, value2 uint64) {
		m := sample()
		for at, value := range map[uint32]uint64{at1: value1, at2: value2} {
			if int(at)+8 <= len(m) {
				le.PutUint64(m[at:], value)
			}
		}
		// Right checksums, so that what is behind them is reached.
		m.super(m[superOffset : superOffset+superSize])
		for n := range int64(6) {
			at := testFirst + n*testNode
			m.seal(m[at:at+testNode], testStart+n*testNode)
		}
		err := Repair(t.Context(), m, testSize, sampleTree())
		if err == nil {
			err = Repair(t.Context(), m, testSize, sampleTree())
			if err != nil {
				t.Errorf("what is repaired cannot be read: %v", err)
			}
		}
	})
}
