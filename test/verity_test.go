//go:build integration

package test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/verity"
)

// writeNoise writes the same pseudo-random bytes every time, with zeros in the
// middle.
func writeNoise(t *testing.T, path string, size int) []byte {
	t.Helper()
	b := make([]byte, size)
	source := rand.NewChaCha8([32]byte{byte(size)})
	if _, err := source.Read(b); err != nil {
		t.Fatal(err)
	}
	clear(b[size/2 : size/2+size/4])
	writeFile(t, path, b, 0o644)
	return b
}

// Trees and root hashes are those of veritysetup for all block sizes, and each
// accepts the other's.
func TestVerityLikeVeritysetup(t *testing.T) {
	dir := t.TempDir()
	data := writeNoise(t, filepath.Join(dir, "data"), 5<<20+4096)
	p := verity.Params{UUID: disk.VerityUUID(diskSeed), Salt: disk.VeritySalt(diskSeed)}
	var commands []string
	each := func(f func(name string, p verity.Params)) {
		for _, p.DataBlockSize = range []int{512, 1024, 2048, 4096} {
			for _, p.HashBlockSize = range []int{512, 1024, 2048, 4096} {
				f(fmt.Sprintf("%d-%d", p.DataBlockSize, p.HashBlockSize), p)
			}
		}
	}
	roots := map[string][]byte{}
	each(func(name string, p verity.Params) {
		tree, err := os.Create(filepath.Join(dir, name+".ours"))
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		root, err := verity.Write(t.Context(), bytes.NewReader(data), int64(len(data)), tree, p)
		if err != nil {
			t.Fatal(err)
		}
		roots[name] = root
		commands = append(commands, fmt.Sprintf("veritysetup format --uuid=%s --salt=%x --data-block-size=%d --hash-block-size=%d data %s.theirs >%s.root && veritysetup verify data %s.ours %x",
			p.UUID, p.Salt, p.DataBlockSize, p.HashBlockSize, name, name, name, root))
	})
	inReference(t, dir, "true", commands)
	each(func(name string, _ verity.Params) {
		if out := readFile(t, filepath.Join(dir, name+".root")); !bytes.Contains(out, []byte(hex.EncodeToString(roots[name]))) {
			t.Errorf("%s: root hash %x, veritysetup says %s", name, roots[name], out)
		}
		theirs := readFile(t, filepath.Join(dir, name+".theirs"))
		if !bytes.Equal(theirs, readFile(t, filepath.Join(dir, name+".ours"))) {
			t.Errorf("%s: the trees differ", name)
		}
		sb, err := verity.ParseSuperblock(bytes.NewReader(theirs))
		if err != nil {
			t.Fatal(err)
		}
		root, bad, err := verity.Check(t.Context(), bytes.NewReader(data), bytes.NewReader(theirs), sb)
		if err != nil || len(bad) > 0 || !bytes.Equal(root, roots[name]) {
			t.Errorf("%s: checked as %x, %v, %v", name, root, bad, err)
		}
	})
}

// Where veritysetup finds the first block that is wrong, there we do.
func TestVerityDamage(t *testing.T) {
	dir := t.TempDir()
	data := writeNoise(t, filepath.Join(dir, "data"), 3<<20)
	p := verity.Params{UUID: disk.VerityUUID(diskSeed), Salt: disk.VeritySalt(diskSeed)}
	tree, err := os.Create(filepath.Join(dir, "tree"))
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	root, err := verity.Write(t.Context(), bytes.NewReader(data), int64(len(data)), tree, p)
	if err != nil {
		t.Fatal(err)
	}
	sb, err := verity.ParseSuperblock(tree)
	if err != nil {
		t.Fatal(err)
	}
	position := regexp.MustCompile(`position ([0-9]+)`)
	for _, at := range []int64{0, 4095, 1<<20 + 7, 3<<20 - 1} {
		damaged := bytes.Clone(data)
		damaged[at] ^= 0x10
		writeFile(t, filepath.Join(dir, "damaged"), damaged, 0o644)
		r := run(t, reference(dir, "veritysetup", "verify", "damaged", "tree", hex.EncodeToString(root)))
		found := position.FindStringSubmatch(r.stderr)
		if r.code == 0 || found == nil {
			t.Fatalf("veritysetup verify: %d, %s", r.code, r.stderr)
		}
		_, bad, err := verity.Check(t.Context(), bytes.NewReader(damaged), tree, sb)
		if err != nil || len(bad) != 1 || fmt.Sprint(bad[0].Offset) != found[1] || bad[0].Level != verity.DataLevel {
			t.Errorf("byte %d changed: veritysetup says %s, Check %v, %v", at, strings.TrimSpace(r.stderr), bad, err)
		}
	}
}
