package erofs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

func file(path string, size int) content.Entry {
	data := bytes.Repeat([]byte(path+"\n"), size/(len(path)+1)+1)[:size]
	return content.Entry{
		Path: path, Mode: unix.S_IFREG | 0o644, Mtime: 1700000000, Size: int64(size),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}
}

func special(path string, mode uint32) content.Entry {
	return content.Entry{Path: path, Mode: mode, Mtime: 1700000000}
}

// sample has one of everything.
func sample() content.Tree {
	const dir = unix.S_IFDIR | 0o755
	tree := content.Tree{special("", dir), special("dir", dir), special("dir/many", dir), special("empty", dir)}
	for i := range 400 {
		tree = append(tree, file(fmt.Sprintf("dir/many/%03d-%s", i, strings.Repeat("n", i%50)), i%7))
	}
	for _, size := range []int{0, 1, 4031, 4032, 4033, 4095, 4096, 4097, 300000, 262144, 262145} {
		tree = append(tree, file(fmt.Sprintf("size-%d", size), size))
	}
	link := special("link", unix.S_IFLNK|0o777)
	link.Target = "dir/many"
	long := special("long", unix.S_IFLNK|0o777)
	long.Target = strings.Repeat("t", 4095)
	char := special("char", unix.S_IFCHR|0o600)
	char.Major, char.Minor = 5, 300
	precise := file("precise", 10)
	precise.Mtime, precise.MtimeNsec = -5, 999999999
	owned := file("owned", 10)
	owned.UID, owned.GID = 65536, 4294967294
	attributes := file("attributes", 4000)
	attributes.Xattrs = []content.Xattr{
		{Name: "security.capability", Value: []byte("12345")},
		{Name: "system.posix_acl_access", Value: []byte("acl")},
		{Name: "trusted.large", Value: bytes.Repeat([]byte("x"), 5000)},
		{Name: "user.a", Value: nil},
	}
	tree = append(tree, link, long, char, precise, owned, attributes,
		special("!fifo", unix.S_IFIFO|0o644), special("socket", unix.S_IFSOCK|0o644), special("block", unix.S_IFBLK|0o660),
		content.Entry{Path: "zz-hard", HardLink: true, Link: "dir/many/001-n"})
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
	return Options{UUID: uuid.MustParse("2aa3c203-a411-49dd-b901-533f42c36c8c"), Label: "sample", BuildTime: 1700000000}
}

func write(t *testing.T, tree content.Tree) disk {
	t.Helper()
	im, err := Plan(t.Context(), tree, options())
	if err != nil {
		t.Fatal(err)
	}
	d := make(disk, im.Size())
	if err := im.Write(t.Context(), d, 0); err != nil {
		t.Fatal(err)
	}
	return d
}

// The golden images were checked with fsck.erofs and by mounting them: see the
// integration tests, which do so with everything that is in the sample. Those of
// compressed images change with the libraries that compress.
func TestGolden(t *testing.T) {
	for name, want := range map[string]string{
		"plain": "04d71d60d5bfde061c98f692b45effe19b49e08c67534c6377f86a47784f625e",
		"lz4":   "f6db85f0a35583c96c9aaa3ac08a4c7052785c0f1022ee16716a384978d6966c",
		"zstd":  "ecb114fcabb1b9d308d10ce9dcb8c5313373303a094b941bb630e3eb996a726e",
	} {
		d := writeWith(t, sample(), variants()[name])
		sum := sha256.Sum256(d)
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%s: image of %d bytes has the digest %s", name, len(d), got)
		}
	}
}

func TestSuperblock(t *testing.T) {
	d := write(t, sample())
	le := binary.LittleEndian
	s := d[1024:]
	if le.Uint32(s) != 0xe0f5e1e2 || int(le.Uint32(s[36:]))*4096 != len(d) || string(s[64:71]) != "sample\x00" {
		t.Errorf("superblock %x", s[:128])
	}
	sum := le.Uint32(s[4:])
	block := bytes.Clone(d[1024:4096])
	le.PutUint32(block[4:], 0)
	if want := ^crc32.Checksum(block, crc32.MakeTable(crc32.Castagnoli)); sum != want {
		t.Errorf("checksum %#x, want %#x", sum, want)
	}
	root := d[int(le.Uint16(s[14:]))*32:]
	if mode := le.Uint16(root[4:]); mode != unix.S_IFDIR|0o755 {
		t.Errorf("mode of the root %o", mode)
	}
}

// Inodes stay within a block, unless they are larger than one, and apart.
func TestPlacement(t *testing.T) {
	im, err := Plan(t.Context(), sample(), options())
	if err != nil {
		t.Fatal(err)
	}
	taken := map[int64]string{}
	for _, n := range im.nodes {
		size := n.head() + n.tail
		first, last := n.offset(), n.offset()+size-1
		if first/BlockSize != last/BlockSize && (size <= BlockSize || n.tail > 0) {
			t.Errorf("/%s crosses blocks: %d to %d", n.entry.Path, first, last)
		}
		for slot := first / slotSize; slot <= last/slotSize; slot++ {
			if other, ok := taken[slot]; ok {
				t.Errorf("/%s and /%s overlap", other, n.entry.Path)
			}
			taken[slot] = n.entry.Path
		}
		if first < superOffset+superSize {
			t.Errorf("/%s lies in the superblock", n.entry.Path)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	with := func(name, value string) content.Tree {
		tree := content.Tree{special("", unix.S_IFDIR|0o755)}
		tree[0].Xattrs = []content.Xattr{{Name: name, Value: []byte(value)}}
		return tree
	}
	for name, tree := range map[string]content.Tree{
		"no tree":         nil,
		"namespace":       with("system.other", ""),
		"no name":         with("user.", ""),
		"more than a ACL": with("system.posix_acl_access.x", ""),
		"long name":       with("user."+strings.Repeat("n", 256), ""),
		"large value":     with("user.x", strings.Repeat("v", 65536)),
	} {
		if _, err := Plan(t.Context(), tree, Options{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Plan(t.Context(), sample(), Options{Label: "sixteen letters!"}); err == nil {
		t.Error("a label of 16 bytes was accepted")
	}
}

func TestWriteErrors(t *testing.T) {
	open := errors.New("cannot open")
	broken := file("size-1", 1)
	broken.Open = func() (io.ReadCloser, error) { return nil, open }
	shrunk := file("size-1", 1)
	shrunk.Size = 10000
	for _, e := range []content.Entry{broken, shrunk} {
		tree := content.Tree{special("", unix.S_IFDIR|0o755), e}
		im, err := Plan(t.Context(), tree, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := im.Write(t.Context(), make(disk, im.Size()), 0); err == nil || !strings.Contains(err.Error(), "/size-1") {
			t.Errorf("error %v", err)
		}
	}
	im, err := Plan(t.Context(), sample(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := im.Write(t.Context(), make(disk, im.Size()-1), 0); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("full disk: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := im.Write(ctx, make(disk, im.Size()), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
