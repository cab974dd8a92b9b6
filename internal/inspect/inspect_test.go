package inspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/mkosi-go/mkosi/internal/archive"
)

func testFiles() files {
	return files{"usr/lib/os-release": "ID=debian\nPRETTY_NAME='A system'\n", "usr/large": strings.Repeat("0123456789abcdef", 20000), "opt/x": "x"}
}

func TestInspectDisk(t *testing.T) {
	p := newPair(t, "signer")
	image := signed(t, p, testFiles())
	im := inspect(t, image, p.cert)
	if im.Kind != KindDisk || im.Table.Primary != Good || im.Table.Backup != Good || im.Table.SectorSize != 512 {
		t.Errorf("%+v, table %+v", im, im.Table)
	}
	var formats []Format
	for _, part := range im.Partitions {
		formats = append(formats, part.Content.Format)
		if part.Content.Problem != "" {
			t.Errorf("partition %d: %s", part.Number, part.Content.Problem)
		}
	}
	if want := []Format{FormatVFAT, FormatVFAT, FormatVerity, FormatSignature, FormatEmpty}; !slices.Equal(formats, want) {
		t.Errorf("partitions hold %q", formats)
	}
	root := im.Partitions[1]
	if root.Type != "root-x86-64" || root.Label != "root" || !slices.Equal(root.Attributes, []string{"read-only"}) || root.Content.Files != 6 {
		t.Errorf("root %+v", root)
	}
	if r := root.Content.Releases; len(r) != 1 || r[0].Path != "usr/lib/os-release" || r[0].Fields["PRETTY_NAME"] != "A system" {
		t.Errorf("releases %+v", r)
	}
	if f := root.Content.FileSystem; f.UUID != "1234-5678" || f.Label != "TEST" || f.Size != 1<<20 {
		t.Errorf("file system %+v", f)
	}
	v := im.Partitions[2].Content.Verity
	if v.State != Good || v.Data != 2 || !v.MatchesUUIDs || len(v.RootHash) != 32 || v.DataBlocks != 256 {
		t.Errorf("verity %+v", v)
	}
	if s := im.Partitions[3].Content.Signature; s.State != Good || s.Signer != "CN=signer" || !bytes.Equal(s.RootHash, v.RootHash) {
		t.Errorf("signature %+v", s)
	}
	if p := im.Partitions[0].Content.Programs; len(p) != 1 || p[0].Path != "/EFI/Linux/a.efi" || p[0].Signatures[0].State != Good {
		t.Errorf("programs %+v", p)
	}
	for _, c := range im.Checks() {
		if !c.Good {
			t.Errorf("%+v", c)
		}
	}
	if b, err := json.Marshal(im); err != nil || !bytes.Contains(b, []byte(`"RootHash":"`+v.RootHash.String())) {
		t.Errorf("as JSON: %s, %v", b, err)
	}
}

// wrong returns the checks that failed.
func wrong(im *Image) []Check {
	return slices.DeleteFunc(im.Checks(), func(c Check) bool { return c.Good })
}

func TestVerifyFindsWhatIsWrong(t *testing.T) {
	p, other := newPair(t, "signer"), newPair(t, "other")
	image := signed(t, p, testFiles())
	good := inspect(t, image, p.cert)
	offset := func(n int) int { return int(good.Partitions[n-1].Offset) }
	for name, tt := range map[string]struct {
		change func(b []byte)
		what   string
		detail string
		bad    []BadBlock
	}{
		"data": {func(b []byte) { b[offset(2)+100*4096+7] ^= 1 }, "hash tree", "1 block is not", []BadBlock{
			{Partition: 2, Block: 100, Level: -1, Offset: 100 * 4096, DiskOffset: int64(offset(2)) + 100*4096}}},
		"two blocks": {func(b []byte) { b[offset(2)+100*4096] ^= 1; b[offset(2)+255*4096] ^= 1 }, "hash tree", "2 blocks are not", []BadBlock{
			{Partition: 2, Block: 100, Level: -1, Offset: 100 * 4096, DiskOffset: int64(offset(2)) + 100*4096},
			{Partition: 2, Block: 255, Level: -1, Offset: 255 * 4096, DiskOffset: int64(offset(2)) + 255*4096}}},
		"hashes": {func(b []byte) { b[offset(3)+2*4096] ^= 1 }, "hash tree", "1 block is not", []BadBlock{
			{Partition: 3, Block: 0, Level: 0, Offset: 2 * 4096, DiskOffset: int64(offset(3)) + 2*4096}}},
		"root hash":      {func(b []byte) { b[offset(3)+4096] ^= 1 }, "signature", "root hash", nil},
		"signature":      {func(b []byte) { b[offset(4)+20] ^= 1 }, "signature", "", nil},
		"no signature":   {func(b []byte) { clear(b[offset(4)+1 : offset(4)+500]) }, "signature", "", nil},
		"primary table":  {func(b []byte) { b[512+20] ^= 1 }, "primary partition table", "", nil},
		"backup entries": {func(b []byte) { b[len(b)-512-128*128] ^= 1 }, "backup partition table", "", nil},
		"program":        {func(b []byte) { at := bytes.Index(b, []byte("kernelkernel")); b[at] ^= 1 }, "signature of /EFI/Linux/a.efi", "changed", nil},
	} {
		b := bytes.Clone(image)
		tt.change(b)
		list := wrong(inspect(t, b, p.cert))
		i := slices.IndexFunc(list, func(c Check) bool { return c.What == tt.what })
		if i < 0 || !strings.Contains(list[i].Detail, tt.detail) {
			t.Errorf("%s: found %+v", name, list)
		} else if tt.bad != nil {
			for j := range list[i].Bad {
				list[i].Bad[j].File = ""
			}
			if !slices.Equal(list[i].Bad, tt.bad) {
				t.Errorf("%s: bad blocks %+v", name, list[i].Bad)
			}
		}
	}
	if list := wrong(inspect(t, image, other.cert)); len(list) != 2 || !strings.Contains(list[1].Detail, "none of those given") {
		t.Errorf("with another certificate: %+v", list)
	}
	if list := wrong(inspect(t, image)); len(list) != 2 {
		t.Errorf("without a certificate: %+v", list)
	}
}

func TestNothingToVerify(t *testing.T) {
	im := inspect(t, disk(t, part{"root", "root", "7c1f6b43-22f4-4a0f-8f4b-16e9b1c4a0e1", vfat(t, testFiles(), 1<<20), 0}))
	if im.Verifiable() || len(im.Checks()) != 2 {
		t.Errorf("checks %+v", im.Checks())
	}
}

func TestOpenCompressed(t *testing.T) {
	image := vfat(t, testFiles(), 4<<20)
	for _, c := range []archive.Compression{archive.Zstd, archive.Gzip, archive.XZ} {
		var b bytes.Buffer
		w, err := archive.NewWriter(&b, c, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(image); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		im := inspect(t, b.Bytes())
		if im.Kind != KindFileSystem || im.Compression != string(c) || im.Size != 4<<20 || im.Content.Files != 6 {
			t.Errorf("%s: %+v", c, im)
		}
		path := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), path, 1<<20); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: beyond the limit: %v", c, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, b := range map[string][]byte{"text": []byte("hello"), "empty": nil, "zeros": make([]byte, 1<<20),
		"mbr":       append(append(make([]byte, 446), make([]byte, 64)...), 0x55, 0xaa),
		"truncated": signed(t, newPair(t, "x"), testFiles())[:100000]} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), path, 0)
		if err != nil {
			continue
		}
		if im, err := Inspect(t.Context(), s, Options{}); err == nil {
			t.Errorf("%s: %+v", name, im)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := Open(t.Context(), "/dev/null", 0); err == nil {
		t.Error("/dev/null was accepted")
	}
}

func TestOpenUnfinished(t *testing.T) {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := w.EncodeAll(bytes.Repeat([]byte("some text of a few bytes"), 10000), nil)
	path := filepath.Join(t.TempDir(), "image.zst")
	if err := os.WriteFile(path, b[:len(b)-3], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path, 0); err == nil {
		t.Error("a file that ends too early was unpacked")
	}
}
