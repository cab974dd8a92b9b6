package disk

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/verity"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// extension are options for an extension of a small tree.
func extension(t *testing.T, mode VerityMode) Options {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"usr/lib/extension-release.d/extension-release.x": "ID=_any\n", "usr/bin/x": strings.Repeat("program", 10000),
		"opt/x": "x", "etc/not-in-the-image": "y",
	} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	plan := builtin(t, mode)
	epoch := int64(1700000000)
	o := Options{
		Path: filepath.Join(t.TempDir(), "image.raw"), Root: root, Definitions: plan.Definitions, Defer: plan.Defer,
		Seed: uuid.MustParse("3d30965a-0981-46f6-a67a-9c6bc38538e6"), SourceDateEpoch: &epoch,
	}
	if plan.Sign {
		keyPEM, certPEM, err := keys.Generate(keys.GenerateOptions{CommonName: "test", ValidDays: 1, Now: time.Unix(epoch, 0)})
		if err != nil {
			t.Fatal(err)
		}
		if o.Key, err = keys.ParseKey(keyPEM); err != nil {
			t.Fatal(err)
		}
		if o.Certificate, err = keys.ParseCertificate(certPEM); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func build(t *testing.T, o Options) (*Result, []byte) {
	t.Helper()
	if err := os.Remove(o.Path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	r, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != r.Size {
		t.Errorf("%d bytes written, %d reported", len(b), r.Size)
	}
	return r, b
}

func TestBuildExtension(t *testing.T) {
	o := extension(t, VeritySigned)
	r, image := build(t, o)
	if len(r.Partitions) != 3 {
		t.Fatalf("partitions %+v", r.Partitions)
	}
	root, hash, sig := r.Partitions[0], r.Partitions[1], r.Partitions[2]
	if root.Offset != 20480 || root.SplitName != "root-x86-64" || sig.Number != 3 {
		t.Errorf("partitions %+v", r.Partitions)
	}
	// What the partitions hold belongs together.
	size := int64(root.Size)
	if blocks := int64(image[root.Offset+1024+36]) | int64(image[root.Offset+1024+37])<<8; blocks*4096 < size {
		size = blocks * 4096
	}
	tree := make([]byte, verity.Size(size, verity.Params{}))
	rootHash, err := verity.Write(t.Context(), bytes.NewReader(image[root.Offset:]), size, memory(tree), verity.Params{UUID: VerityUUID(o.Seed), Salt: VeritySalt(o.Seed)})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(rootHash, root.RootHash) || !bytes.Equal(rootHash, sig.RootHash) {
		t.Errorf("root hash %x, reported %x", rootHash, root.RootHash)
	}
	if !bytes.Equal(tree, image[hash.Offset:][:len(tree)]) {
		t.Error("the hash partition holds other hashes")
	}
	if !bytes.Equal(rootHash, append(bytes.Clone(root.UUID[:]), hash.UUID[:]...)) {
		t.Errorf("root hash %x, partitions %s and %s", rootHash, root.UUID, hash.UUID)
	}
	want, err := verity.Sign(o.Key, o.Certificate, rootHash)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, image[sig.Offset:sig.Offset+sig.Size]) {
		t.Error("the signature partition differs")
	}
	if bytes.Contains(image, []byte("not-in-the-image")) {
		t.Error("the image holds a file from outside of /usr and /opt")
	}

	if again, second := build(t, o); !bytes.Equal(image, second) || cmp.Diff(r.UUID, again.UUID) != "" {
		t.Error("two images of the same tree differ")
	}
	o.Seed[0]++
	if _, other := build(t, o); bytes.Equal(image, other) {
		t.Error("the seed changes nothing")
	}
}

// memory is a file in memory.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

func TestBuildDeferred(t *testing.T) {
	o := extension(t, VerityDefer)
	r, image := build(t, o)
	sig := r.Partitions[2]
	if !sig.Deferred || sig.Number != 3 || sig.Size != verity.SignatureSize || sig.Offset != r.Partitions[1].Offset+r.Partitions[1].Size {
		t.Errorf("deferred partition %+v", sig)
	}
	if !bytes.Equal(image[sig.Offset:sig.Offset+sig.Size], make([]byte, sig.Size)) {
		t.Error("the deferred partition is not empty")
	}
	if entry := image[1024+2*128:][:128]; !bytes.Equal(entry, make([]byte, 128)) {
		t.Errorf("the deferred partition is in the table: %x", entry)
	}
	// The space is the same as with the signature.
	if full, _ := build(t, extension(t, VeritySigned)); full.Size != r.Size {
		t.Errorf("%d bytes, with the signature %d", r.Size, full.Size)
	}
}

func TestBuildErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no partitions":    {func(o *Options) { o.Definitions = nil }, "no partitions"},
		"sector size":      {func(o *Options) { o.SectorSize = 100 }, "sector size 100"},
		"no key":           {func(o *Options) { o.Key = nil }, "30-root-verity-sig.conf: signing needs"},
		"no hash":          {func(o *Options) { o.Definitions = o.Definitions[:1] }, "VerityMatchKey=root needs"},
		"two data":         {func(o *Options) { o.Definitions = append(o.Definitions, o.Definitions[0]) }, "needs one partition with Verity=data, there are 2"},
		"deferred data":    {func(o *Options) { o.Defer = []string{"root"} }, "deferring"},
		"unknown deferred": {func(o *Options) { o.Defer = []string{"rot"} }, `unknown partition type "rot"`},
		"too large":        {func(o *Options) { o.Definitions[0].SizeMax = ptr(uint64(8192)) }, "10-root.conf: the content takes"},
		"disk too small":   {func(o *Options) { o.Size = 65536 }, "the disk has room for"},
		"no root":          {func(o *Options) { o.Root += "/missing" }, "no such file"},
		"no folder":        {func(o *Options) { o.Path += "/missing/image" }, "missing/image"},
		"label":            {func(o *Options) { o.Definitions[0].Label = strings.Repeat("x", 40) }, "40 characters"},
		"file system":      {func(o *Options) { o.Definitions[0].Format = "zfs" }, "\"zfs\""},
	} {
		o := extension(t, VeritySigned)
		tt.change(&o)
		if r, err := Build(t.Context(), o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, error %v, want one with %q", name, r, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, extension(t, VerityHash)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func ptr[T any](v T) *T { return &v }
