package inspect

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/fat"
	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/disk/verity"
	"github.com/mkosi-go/mkosi/internal/efi/pe/petest"
	"github.com/mkosi-go/mkosi/internal/keys/keystest"
)

// pair is a key and its certificate.
type pair struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func newPair(t testing.TB, name string) pair {
	key, cert := keystest.Pair(t, name)
	return pair{key, cert}
}

// memory is a piece of an image that is being made.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(m))-int64(len(p)) {
		return 0, io.ErrShortWrite
	}
	return copy(m[off:], p), nil
}

func (m memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m).ReadAt(p, off) }

// files is a tree by its paths; those that end in a slash are folders.
type files map[string]string

func (f files) tree(t testing.TB) content.Tree {
	t.Helper()
	tree := content.Tree{{Mode: unix.S_IFDIR | 0o755, Mtime: 1700000000}}
	dirs := map[string]bool{"": true}
	for name, text := range f {
		for dir := parentOf(name); !dirs[dir]; dir = parentOf(dir) {
			dirs[dir] = true
			tree = append(tree, content.Entry{Path: dir, Mode: unix.S_IFDIR | 0o755, Mtime: 1700000000})
		}
		tree = append(tree, content.Entry{
			Path: name, Mode: unix.S_IFREG | 0o755, Mtime: 1700000000, Size: int64(len(text)),
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil },
		})
	}
	tree.Sort()
	return tree
}

// vfat makes a file system of a size.
func vfat(t testing.TB, f files, size int64) []byte {
	t.Helper()
	im, err := fat.Plan(f.tree(t), fat.Options{VolumeID: 0x12345678, Label: "TEST", BuildTime: 1700000000})
	if err != nil {
		t.Fatal(err)
	}
	b := make(memory, size)
	if err := im.Write(t.Context(), b, size); err != nil {
		t.Fatal(err)
	}
	return b
}

// part is a partition of a disk that is made.
type part struct {
	kind, label, uuid string
	data              []byte
	flags             uint64
}

// disk makes a disk of partitions.
func disk(t testing.TB, parts ...part) []byte {
	t.Helper()
	const sector = 512
	table := &gpt.Table{UUID: uuid.MustParse("0db0f3cf-1a6f-4b14-a5b7-46a1fd4df5a7"), SectorSize: sector, FirstUsable: 40}
	at := uint64(40)
	for _, p := range parts {
		kind, err := repart.ParsePartitionType(p.kind, "x86-64")
		if err != nil {
			t.Fatal(err)
		}
		sectors := uint64(len(p.data)+sector-1) / sector
		table.Partitions = append(table.Partitions, gpt.Partition{
			Type: kind.UUID, UUID: uuid.MustParse(p.uuid), First: at, Last: at + sectors - 1, Name: p.label, Flags: p.flags,
		})
		at += sectors
	}
	table.LastUsable = at + 7
	table.Sectors = table.LastUsable + 1 + gpt.TailSectors(sector)
	b := make(memory, table.Sectors*sector)
	if err := table.WriteTo(b); err != nil {
		t.Fatal(err)
	}
	for i, p := range parts {
		copy(b[table.Partitions[i].First*sector:], p.data)
	}
	return b
}

// dataSize is the size of the file systems of a signed disk.
const dataSize = 1 << 20

// signed makes a disk whose root has hashes and a signature.
func signed(t testing.TB, p pair, f files) []byte {
	t.Helper()
	data := vfat(t, f, dataSize)
	params := verity.Params{UUID: uuid.MustParse("a7dff149-03eb-49af-b47f-17d0bc060571"), Salt: []byte("salt")}
	tree := make(memory, verity.Size(int64(len(data)), params))
	root, err := verity.Write(t.Context(), bytes.NewReader(data), int64(len(data)), tree, params)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := verity.Sign(p.key, p.cert, root)
	if err != nil {
		t.Fatal(err)
	}
	const readOnly = 1 << 60
	return disk(t,
		part{"esp", "esp", "7c1f6b43-22f4-4a0f-8f4b-16e9b1c4a0e1", vfat(t, files{"EFI/Linux/a.efi": string(testProgram(p))}, dataSize), 0},
		part{"root", "root", uuid.UUID(root[:16]).String(), data, readOnly},
		part{"root-verity", "hashes", uuid.UUID(root[16:]).String(), tree, readOnly},
		part{"root-verity-sig", "signature", "2b6c3d54-71ab-4d5b-8a53-0a8c4d40bf5f", sig, readOnly},
		part{"linux-generic", "", "5f2a5f4e-02d2-4bd8-a0a5-2e2f8a6c9a10", make([]byte, 8192), 0},
	)
}

// open opens bytes as an image.
func open(t testing.TB, name string, b []byte) *Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return openPath(t, path)
}

func openPath(t testing.TB, path string) *Source {
	t.Helper()
	s, err := Open(t.Context(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func inspect(t testing.TB, b []byte, certs ...*x509.Certificate) *Image {
	t.Helper()
	im, err := Inspect(t.Context(), open(t, "image", b), Options{Certificates: certs, Blame: true})
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// testSections are what a small unified kernel image is made of.
var testSections = []petest.Section{
	{Name: ".osrel", Text: "ID=test\nPRETTY_NAME=\"Test \\\"system\\\"\"\n"}, {Name: ".cmdline", Text: "root=/dev/sda quiet\x00"},
	{Name: ".uname", Text: "6.1.0"}, {Name: ".linux", Text: strings.Repeat("kernel", 1000)},
}

// testImage makes a program without a signature.
func testImage() []byte { return petest.Program(testSections...) }
