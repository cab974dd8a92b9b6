package content

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadSparse(t *testing.T) {
	root := t.TempDir()
	f, err := os.Create(filepath.Join(root, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 4<<20 + 5
	_, err = f.WriteAt([]byte("data"), 1<<20)
	if err := errors.Join(err, f.Truncate(size), os.WriteFile(filepath.Join(root, "g"), make([]byte, 100000), 0o644)); err != nil {
		t.Fatal(err)
	}
	tree, closeTree, err := Read(t.Context(), Selection{Root: root, Copies: []Copy{{Source: "/", Target: "/"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer closeTree()
	e, whole := &tree[1], &tree[2]
	if len(e.Data) != 1 || e.Data[0].Offset == 0 || e.Data[0].Offset > 1<<20 || e.Data[0].Size > 1<<20 {
		t.Errorf("data in %v", e.Data)
	}
	if whole.Data != nil || !slices.Equal(whole.Ranges(), []Range{{0, 100000}}) {
		t.Errorf("data of a file without holes in %v, %v", whole.Data, whole.Ranges())
	}
	read := func() (string, error) {
		text := ""
		err := e.DataPieces(t.Context(), make([]byte, 1000), func(p []byte, off int64) error {
			text += strings.Trim(string(p), "\x00")
			return nil
		})
		return text, err
	}
	if got, err := read(); err != nil || got != "data" {
		t.Errorf("read %q, %v", got, err)
	}
	for size, want := range map[int64]string{size + 1: "grew", size - 1: "shrank", 1000: "shrank"} {
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		if _, err := read(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestCheckData(t *testing.T) {
	open := func() (io.ReadCloser, error) { return nil, nil }
	for _, bad := range [][]Range{
		{{0, 0}}, {{-1, 2}}, {{5, 6}}, {{11, 1}}, {{0, 1}, {1, 1}}, {{3, 2}, {0, 1}}, {{1, 1 << 62}},
	} {
		tree := Tree{{Mode: unix.S_IFDIR}, {Path: "f", Mode: unix.S_IFREG, Size: 10, Open: open, Data: bad}}
		if tree.Check() == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}
