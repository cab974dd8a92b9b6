package ext4

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// indexedVolume has folders with an index, hashed with a seed.
func indexedVolume() *volume {
	v := emptyVolume()
	seed := uuid.MustParse("3d30965a-0981-46f6-a67a-9c6bc38538e6")
	copy(v.super[236:], seed[:])
	v.super[252] = halfMD4
	le.PutUint32(v.super[92:], compatIndex)
	return v
}

// The hashes are those that debugfs computes with
// "dx_hash -h half_md4 -s 3d30965a-0981-46f6-a67a-9c6bc38538e6".
func TestHash(t *testing.T) {
	v := indexedVolume()
	for name, want := range map[string]uint32{
		"a": 0x56dc8c60, "some-name": 0xcb2b0c06, strings.Repeat("x", 70): 0x62b8d60a, "ünï": 0xa7553c4,
	} {
		if got := v.hash(name); got != want {
			t.Errorf("the hash of %q is %#x, not %#x", name, got, want)
		}
	}
	le.PutUint32(v.super[352:], flagUnsigned)
	if v.hash("ünï") == 0xa7553c4 || v.hash("a") != 0x56dc8c60 {
		t.Error("bytes of names are not unsigned")
	}
}

// walkIndex lists the blocks with names, from a block of the index on, and the
// hashes that they begin with.
func walkIndex(t *testing.T, data []byte, block uint32, at, depth int) (leaves, hashes []uint32) {
	t.Helper()
	b := data[int(block)*BlockSize:][:BlockSize]
	limit, count := int(le.Uint16(b[at:])), int(le.Uint16(b[at+2:]))
	if limit != (BlockSize-at-8)/8 || count == 0 || count > limit {
		t.Fatalf("block %d of the index has %d of %d entries", block, count, limit)
	}
	for i := range count {
		hash, child := le.Uint32(b[at+8*i:]), le.Uint32(b[at+8*i+4:])
		if i == 0 {
			hash = 0
		}
		if depth > 0 {
			l, h := walkIndex(t, data, child, 8, depth-1)
			h[0] = hash
			leaves, hashes = append(leaves, l...), append(hashes, h...)
		} else {
			leaves, hashes = append(leaves, child), append(hashes, hash)
		}
	}
	return leaves, hashes
}

func TestEncodeIndexed(t *testing.T) {
	v := indexedVolume()
	for _, count := range []int{10, 400, 20000} {
		dir := &inode{entry: &content.Entry{Mode: unix.S_IFDIR}, number: 20}
		dir.parent = dir
		want := map[string]bool{}
		for i := range count {
			name := fmt.Sprintf("%06d%s", i, strings.Repeat("n", 100))
			want[name] = true
			dir.children = append(dir.children, child{name, &inode{entry: &content.Entry{Mode: unix.S_IFREG}, number: 30}})
		}
		data := dir.encodeDir(v, 0)
		if dir.indexed != (count > 30) || len(data)%BlockSize != 0 {
			t.Fatalf("%d names: indexed %t, %d bytes", count, dir.indexed, len(data))
		}
		if !dir.indexed {
			continue
		}
		if deep := data[30] == 1; deep != (count == 20000) {
			t.Errorf("%d names: %d levels", count, data[30])
		}
		leaves, hashes := walkIndex(t, data, 0, 32, int(data[30]))
		if !slices.IsSorted(hashes) {
			t.Errorf("%d names: the hashes are out of order", count)
		}
		for i, leaf := range leaves {
			b := data[int(leaf)*BlockSize:][:BlockSize-direntTail]
			for at := 0; at < len(b); at += int(le.Uint16(b[at+4:])) {
				name := string(b[at+8:][:b[at+6]])
				h := v.hash(name)
				if h < hashes[i]&^1 || i+1 < len(hashes) && h > hashes[i+1] {
					t.Errorf("%s, hash %#x, is in the leaf from %#x on", name, h, hashes[i])
				}
				delete(want, name)
			}
		}
		if len(want) > 0 {
			t.Errorf("%d names are missing", len(want))
		}
	}
}
