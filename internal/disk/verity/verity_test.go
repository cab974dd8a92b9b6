package verity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"testing"

	"github.com/google/uuid"
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
		if got := Size(size, params()); got != tt.size {
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

// The same for other block sizes, and data that does not fill the last hash
// block of a level.
func TestBlockSizesLikeVeritysetup(t *testing.T) {
	for _, tt := range []struct {
		data, hash int
		size, tree int64
		root, sum  string
	}{
		{512, 512, 1999872, 134656, "7038dcf8addb887e4b428fba7a83f6e692c45454aacb5c1e4d53cc6f7ec2de93", "86ca7f3901876b72653142fecd992988a2afd91930cc8b1fc2fe2d21b81eea96"},
		{512, 1024, 1999872, 132096, "0f170d62ad34c5f73863dd8772fb37542fe7907fc7d330cd2e52acf3945b7f6d", "03275219d8042d80f7edf3bf553718e3ec925432169936ee47b1c4ded6436d5f"},
		{512, 2048, 1999872, 131072, "be2e6f95e33a7d601694369ded75d09cb4c0f49ca569b8629884d84510871489", "ec500c7bb01baed89b6f3e5640f21c9e400accf5bb987eafa6a73ecf25336a5a"},
		{512, 4096, 1999872, 135168, "3ac4cf1eb9d9a0b78f153edfbfcb84161e4e233e2b98d13cabf939ee0138e96e", "f4da2a5980cf01853c050356d0f0f40bd098079c04dde45150c2f02d066ecfe4"},
		{1024, 512, 1999872, 68096, "4f5cea9949e6b79f5c3b0f04d6b03405987111e6ef5f4c46631e4994b04a9310", "2ed5d8218fe8c9fe489ea95a28149961c17e620e803200233d91aadf1089483b"},
		{1024, 1024, 1999872, 67584, "7415b864c8456c8501a9a2438ebe645933803f4885501878bb4053783c5e29bf", "afcbd3b8b0ea3634968443f5502ffe3bb854237a5f5039e7bb055f6e10db37fa"},
		{1024, 2048, 1999872, 67584, "7f3b22a7af5bc6919bf7e89edddd1acdaec094bb622a9e32fae1bbdedc4b04d8", "5bbbcc9894ba6567a6463fc54792dfc1e2532f5dc4a2bf4b7856457de07e65c7"},
		{1024, 4096, 1999872, 73728, "84c769ee9276b65b73939b0c1e8fa613fb158cdd9458c5a2b90820df28cbc486", "10d06c1e08cea7047e265688c07baa65e2c589b24521dbdfc165b84410a7590c"},
		{2048, 512, 1998848, 34304, "07f0fa98bbcd3f1581743f74ef452b775cf7f1992315e2c8144bbada437adaf6", "e74e8369f0d9dab198742d8f5d4272da7044ffec31b62b56f21b8c76e45da1f1"},
		{2048, 1024, 1998848, 33792, "fb632f9ae61ce502e64339197be2c80adb81102bd893650400bc7218ce756b59", "50edfc1df16d8e23c16cd77f5b46f9f94734801cd01c05b6f4d066ae771313e4"},
		{2048, 2048, 1998848, 36864, "87d6ecfce5697908485c4eea82bac66d713e979ec42240128ea6cd4ca9f0c5c2", "d5bc71b7a47519403fe2ab2ca9448c9bd2e213ce0e8130ed8ccec27a21887091"},
		{2048, 4096, 1998848, 40960, "1f4f086e17d4b15dec6f4430682a52b139a08119aee09b99f6640b9f26901042", "755a9ace19fe645988ad4ec767c1f4e5000322a0c562c2782c99a3a63ca8969e"},
		{4096, 512, 1998848, 17920, "be6a7dbeb395c763f910b2ae5e198860e82c5d435977b7716872b34cd613458e", "cf91488658392f2065aaeab04eda4670f6e1fc09ee73f1fa797ce2630bdd9b35"},
		{4096, 1024, 1998848, 18432, "19d0de9de9d844ee3a304b4dccb30ef8a78779c8e406c416c52a2b5cc5d6fa1f", "050ffad20972e3f4d711740b3bf827a25bff112f5d69dd5fbff2076e79064ec1"},
		{4096, 2048, 1998848, 20480, "288d62146d991ecdaa10a43aff460ff6fca9e1be76563c599c133084a69f3598", "faadfa71faf19c5c030620823f8997e29c2177b820fc0b28f7044f2d982642ce"},
		{4096, 4096, 1998848, 24576, "b7c04bf88c28f853644469d9d30c3d86be3403672ad5b43a5b51568d4474c8d5", "176434a74de9a53c3591d2e30ea07b7379c4a9e5ce0a9c1699cb5ae2d1b5cd43"},
	} {
		p := params()
		p.DataBlockSize, p.HashBlockSize = tt.data, tt.hash
		if got := Size(tt.size, p); got != tt.tree {
			t.Errorf("%d, %d: %d bytes of hashes, want %d", tt.data, tt.hash, got, tt.tree)
		}
		tree := make(buffer, tt.tree)
		root, err := Write(t.Context(), pattern(tt.size), tt.size, tree, p)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(root); got != tt.root {
			t.Errorf("%d, %d: root hash %s", tt.data, tt.hash, got)
		}
		if got := sha256.Sum256(tree); hex.EncodeToString(got[:]) != tt.sum {
			t.Errorf("%d, %d: the tree differs", tt.data, tt.hash)
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
	for _, p := range []Params{{DataBlockSize: 256}, {DataBlockSize: 8192}, {HashBlockSize: 768}, {HashBlockSize: -512}} {
		if _, err := Write(ctx, pattern(8192), 8192, make(buffer, 1<<20), p); err == nil {
			t.Errorf("block sizes of %+v were accepted", p)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Write(cancelled, pattern(1<<20), 1<<20, make(buffer, 1<<20), params()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
