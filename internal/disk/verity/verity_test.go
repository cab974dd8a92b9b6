package verity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/keys"
)

// pattern is data whose blocks are all different.
type pattern int64

func (p pattern) ReadAt(b []byte, off int64) (int, error) {
	n := int(min(int64(len(b)), int64(p)-off))
	for i := range n {
		at := off + int64(i)
		shift := at % 2 * 8
		b[i] = byte(at / BlockSize >> shift)
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

type buffer []byte

func (b buffer) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(b)) {
		return 0, errors.New("disk full")
	}
	return copy(b[off:], p), nil
}

func params() Params {
	salt, _ := hex.DecodeString("8abe604072f41fac6f8028f04a5925b832e1a34ddb0f8f89441b22812bf9c4b6")
	return Params{UUID: uuid.MustParse("a7dff149-03eb-49af-b47f-17d0bc060571"), Salt: salt}
}

// Root hashes and whole trees are those that veritysetup 2.8 makes.
func TestLikeVeritysetup(t *testing.T) {
	for _, tt := range []struct {
		blocks, size int64
		root, tree   string
	}{
		{1, 4096, "05dad4c23c98cbfecb6e3e6fafeda2ef81a4234ef90906f7919cfd7bf8b519ad", "0a388a03ed4856e329dcb834f60aadf070b31841a7023fd53499e21acdc1a8e7"},
		{2, 8192, "2c114ab64bdc7880307f811a0bdf2fd8ad98f87458b4311763956fcb0ae2548d", "187445488c4d7095c059f8e037f145c01c3cb733ab8829175ccfbcd5269ceb67"},
		{128, 8192, "80686f0768070dfb19a83035a364c76fe172e704386cb0dd55a8b47e58d316e4", "1e45b1938376ccbe5dc54359b76acfd6554c3e3a0e233a26c1b5305607baa98b"},
		{129, 16384, "ee74ccbb231ad9dba3e8c67fa51d4b94b0b4ac3cf2697b17c82d63d930ca8483", "e501ababab8a2149e444b3755749380aff1934043a9e98b3434ee618b6b88abc"},
		{16385, 544768, "bd9b6a0329980dd3a3ddc4c13fb58d1475d2a44c3bfcd93f630e07a513472858", "bb5e963e7fed2629c5b33315293a7e43c1f6884cbd05c38d8f31c2c36ffdbae9"},
	} {
		size := tt.blocks * BlockSize
		if got := Size(size); got != tt.size {
			t.Errorf("%d blocks: %d bytes of hashes, want %d", tt.blocks, got, tt.size)
		}
		tree := make(buffer, tt.size)
		root, err := Write(t.Context(), pattern(size), size, tree, params())
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(root); got != tt.root {
			t.Errorf("%d blocks: root hash %s", tt.blocks, got)
		}
		if got := sha256.Sum256(tree); hex.EncodeToString(got[:]) != tt.tree {
			t.Errorf("%d blocks: the tree differs", tt.blocks)
		}
	}
}

func TestWriteErrors(t *testing.T) {
	ctx := t.Context()
	for _, size := range []int64{0, -4096, 4095} {
		if _, err := Write(ctx, pattern(size), size, make(buffer, 8192), params()); err == nil {
			t.Errorf("%d bytes of data were accepted", size)
		}
	}
	if _, err := Write(ctx, pattern(4096), 8192, make(buffer, 8192), params()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short data: %v", err)
	}
	for _, size := range []int{0, 4096} {
		if _, err := Write(ctx, pattern(8192), 8192, make(buffer, size), params()); err == nil {
			t.Errorf("a tree of 8192 bytes was written to %d", size)
		}
	}
	if _, err := Write(ctx, pattern(4096), 4096, make(buffer, 4096), Params{Salt: make([]byte, 257)}); err == nil {
		t.Error("a salt of 257 bytes was accepted")
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Write(cancelled, pattern(1<<20), 1<<20, make(buffer, 1<<20), params()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestSign(t *testing.T) {
	keyPEM, certPEM, err := keys.Generate(keys.GenerateOptions{CommonName: "test", ValidDays: 1, Now: time.Unix(1700000000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	key, err := keys.ParseKey(keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := keys.ParseCertificate(certPEM)
	if err != nil {
		t.Fatal(err)
	}
	root := bytes.Repeat([]byte{0xab}, 32)
	b, err := Sign(key, cert, root)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != 16384 {
		t.Errorf("%d bytes", len(b))
	}
	text := string(bytes.TrimRight(b, "\x00"))
	fingerprint := sha256.Sum256(cert.Raw)
	want := `{"rootHash":"` + strings.Repeat("ab", 32) + `","certificateFingerprint":"` + hex.EncodeToString(fingerprint[:]) + `","signature":"MII`
	if !strings.HasPrefix(text, want) || !strings.HasSuffix(text, `"}`) {
		t.Errorf("signature partition %.250s", text)
	}
	var sig struct{ Signature []byte }
	if err := json.Unmarshal([]byte(text), &sig); err != nil {
		t.Fatal(err)
	}
	der, err := keys.SignPKCS7Detached(key, cert, []byte(strings.Repeat("ab", 32)))
	if err != nil || !bytes.Equal(der, sig.Signature) {
		t.Errorf("the signature is not one of the hash as text: %v", err)
	}
	cert.Raw = make([]byte, 100)
	cert.PublicKey = nil
	if _, err := Sign(key, cert, root); err == nil {
		t.Error("signed with another key's certificate")
	}
}
