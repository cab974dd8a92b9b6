package verity

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

// hashed makes data and its tree, with blocks of 512 bytes so that the tree has
// several levels: 600 data blocks, 38, 3 and 1 hash blocks.
func hashed(t *testing.T) (data, tree, root []byte, sb Superblock) {
	t.Helper()
	const size = 600 * 512
	p := params()
	p.DataBlockSize, p.HashBlockSize = 512, 512
	data, tree = make([]byte, size), make([]byte, Size(size, p))
	if _, err := pattern(size).ReadAt(data, 0); err != nil {
		t.Fatal(err)
	}
	root, err := Write(t.Context(), bytes.NewReader(data), size, buffer(tree), p)
	if err != nil {
		t.Fatal(err)
	}
	sb, err = ParseSuperblock(bytes.NewReader(tree))
	if err != nil {
		t.Fatal(err)
	}
	return data, tree, root, sb
}

func TestParseSuperblock(t *testing.T) {
	_, tree, _, sb := hashed(t)
	p := params()
	want := Superblock{HashType: 1, UUID: p.UUID, Algorithm: "sha256", DataBlockSize: 512, HashBlockSize: 512, DataBlocks: 600, Salt: p.Salt}
	if diff := cmp.Diff(want, sb); diff != "" {
		t.Error(diff)
	}
	if _, err := ParseSuperblock(bytes.NewReader(tree[:511])); !errors.Is(err, ErrNoSuperblock) {
		t.Errorf("half a superblock: %v", err)
	}
	for at, text := range map[int]string{
		0: "x", 8: "\x02", 12: "\x02", 32: "\x00", 33: " ", 34: "\xff",
		64: "\x01", 65: "\x00", 66: "\x10", 68: "\x01", 72: "\x00\x00\x00", 79: "\x7f", 81: "\x02",
	} {
		b := bytes.Clone(tree)
		copy(b[at:], text)
		if sb, err := ParseSuperblock(bytes.NewReader(b)); err == nil {
			t.Errorf("with %q at %d it was read as %+v", text, at, sb)
		}
	}
}

func TestCheck(t *testing.T) {
	data, tree, root, sb := hashed(t)
	const levelTwo, levelOne, levelZero = 512, 1024, 1024 + 3*512
	for _, tt := range []struct {
		name       string
		data, tree []int // offsets of bytes that are changed
		root       bool  // still has the root hash
		want       []BadBlock
	}{
		{"nothing", nil, nil, true, nil},
		{"data", []int{0, 511, 512 * 599}, nil, true, []BadBlock{{DataLevel, 0, 0}, {DataLevel, 599, 512 * 599}}},
		{"lowest level", []int{512 * 100}, []int{levelZero}, true, []BadBlock{{0, 0, levelZero}, {DataLevel, 100, 51200}}},
		{"its padding", nil, []int{levelZero + 38*512 - 1}, true, []BadBlock{{0, 37, levelZero + 37*512}}},
		{"middle level", nil, []int{levelOne + 512 + 40}, true, []BadBlock{{1, 1, levelOne + 512}}},
		{"top", nil, []int{levelTwo}, false, []BadBlock{{1, 0, levelOne}}},
	} {
		data, tree := bytes.Clone(data), bytes.Clone(tree)
		for _, at := range tt.data {
			data[at] ^= 1
		}
		for _, at := range tt.tree {
			tree[at] ^= 1
		}
		got, bad, err := Check(t.Context(), bytes.NewReader(data), bytes.NewReader(tree), sb)
		if err != nil {
			t.Fatal(err)
		}
		if quick, err := RootHash(nil, bytes.NewReader(tree), sb); err != nil || !bytes.Equal(quick, got) {
			t.Errorf("%s: root hash %x in short, %v, but %x", tt.name, quick, err, got)
		}
		if bytes.Equal(got, root) != tt.root {
			t.Errorf("%s: root hash %x", tt.name, got)
		}
		if diff := cmp.Diff(tt.want, bad); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
}

// Where everything is bad, the first ones are told, whoever finds them.
func TestCheckManyBad(t *testing.T) {
	data, tree, _, sb := hashed(t)
	for i := range data {
		data[i] ^= 1
	}
	_, bad, err := Check(t.Context(), bytes.NewReader(data), bytes.NewReader(tree), sb)
	if err != nil || len(bad) != MaxBad {
		t.Fatalf("%d bad blocks, %v", len(bad), err)
	}
	for i, b := range bad {
		if b.Block != int64(i) || fmt.Sprint(b) != fmt.Sprintf("data block %d (at byte %d of the data)", i, 512*i) {
			t.Errorf("bad block %d is %s", i, b)
		}
	}
}

// A single block has no tree, and its digest is the root hash.
func TestCheckOneBlock(t *testing.T) {
	tree := make(buffer, 4096)
	root, err := Write(t.Context(), pattern(4096), 4096, tree, params())
	if err != nil {
		t.Fatal(err)
	}
	sb, err := ParseSuperblock(bytes.NewReader(tree))
	if err != nil {
		t.Fatal(err)
	}
	got, bad, err := Check(t.Context(), pattern(4096), bytes.NewReader(tree), sb)
	if err != nil || !bytes.Equal(got, root) || bad != nil {
		t.Errorf("%x, %v, %v; want %x", got, bad, err, root)
	}
}

func TestCheckErrors(t *testing.T) {
	data, tree, _, sb := hashed(t)
	check := func(data, tree []byte, change func(*Superblock)) error {
		sb := sb
		change(&sb)
		_, _, err := Check(t.Context(), bytes.NewReader(data), bytes.NewReader(tree), sb)
		return err
	}
	none := func(*Superblock) {}
	for name, err := range map[string]error{
		"short data": check(data[:len(data)-1], tree, none),
		"short tree": check(data, tree[:len(tree)-1], none),
		"no tree":    check(data, tree[:512], none),
		"more data":  check(data, tree, func(sb *Superblock) { sb.DataBlocks = 1 << 50 }),
	} {
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"type":      check(data, tree, func(sb *Superblock) { sb.HashType = 0 }),
		"algorithm": check(data, tree, func(sb *Superblock) { sb.Algorithm = "sha512" }),
		"block":     check(data, tree, func(sb *Superblock) { sb.HashBlockSize = 8192 }),
		"size":      check(data, tree, func(sb *Superblock) { sb.DataBlocks = 1 << 60 }),
		"nothing":   check(data, tree, func(sb *Superblock) { *sb = Superblock{} }),
	} {
		if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzCheck reads a hash partition that anybody may have made.
func FuzzCheck(f *testing.F) {
	p := Params{DataBlockSize: 512, HashBlockSize: 512, Salt: []byte("salt")}
	tree := make(buffer, Size(20*512, p))
	if _, err := Write(f.Context(), pattern(20*512), 20*512, tree, p); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(tree))
	f.Add([]byte(tree[:600]))
	salt, _ := hex.DecodeString("00ff")
	f.Add(Params{Salt: salt, DataBlockSize: 4096, HashBlockSize: 4096}.superblock(1 << 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzztest.Bound{Base: 64 << 20, PerByte: 1000}.Check(t, len(b), func() {
			sb, err := ParseSuperblock(bytes.NewReader(b))
			if err != nil {
				return
			}
			root, bad, err := Check(t.Context(), pattern(20*512), bytes.NewReader(b), sb)
			if err == nil && len(root) != digestSize || len(bad) > MaxBad {
				t.Errorf("root hash %x, %d bad blocks", root, len(bad))
			}
		})
	})
}
