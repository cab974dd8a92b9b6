package disk

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/disk/verity"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// signingPair makes a key and its certificate.
func signingPair(t *testing.T, name string) (crypto.Signer, *x509.Certificate) {
	t.Helper()
	keyPEM, certPEM, err := keys.Generate(keys.GenerateOptions{CommonName: name, ValidDays: 1, Now: time.Unix(1700000000, 0)})
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
	return key, cert
}

var signSeed = uuid.MustParse("3d30965a-0981-46f6-a67a-9c6bc38538e6")

// unsigned is a disk with one verity set of a file system of zeros, room for
// the signature, and another partition behind it. The table says what the
// complete disk has.
func unsigned(t *testing.T, sectorSize int) (path string, complete *gpt.Table, rootHash []byte) {
	t.Helper()
	sector := uint64(sectorSize)
	sectors := func(bytes uint64) uint64 { return bytes / sector }
	const first, size = 1 << 20, 1 << 20
	params := verity.Params{UUID: VerityUUID(signSeed), Salt: VeritySalt(signSeed)}
	hashSize := uint64(verity.Size(size, params))
	total := uint64(4 << 20)
	disk := make(memory, total)
	rootHash, err := verity.Write(t.Context(), bytes.NewReader(disk[first:first+size]), size, disk[first+size:], params)
	if err != nil {
		t.Fatal(err)
	}
	complete = &gpt.Table{
		UUID: DiskUUID(signSeed), SectorSize: sectorSize, Sectors: sectors(total),
		FirstUsable: sectors(first), LastUsable: sectors(total) - gpt.TailSectors(sectorSize) - 1,
	}
	dataID, hashID := verityUUIDs(rootHash)
	at := uint64(first)
	for i, p := range []struct {
		name string
		id   uuid.UUID
		size uint64
	}{
		{"root-x86-64", dataID, size}, {"root-x86-64-verity", hashID, hashSize},
		{"root-x86-64-verity-sig", uuid.Nil, verity.SignatureSize}, {"linux-generic", signSeed, 1 << 20},
	} {
		typ, err := repart.ParsePartitionType(p.name, "")
		if err != nil {
			t.Fatal(err)
		}
		if p.id == uuid.Nil {
			p.id = PartitionUUID(signSeed, typ.UUID, 0)
		}
		q := gpt.Partition{Number: i + 1, Type: typ.UUID, UUID: p.id, First: sectors(at), Last: sectors(at+p.size) - 1, Name: p.name}
		if i < 3 {
			q.Flags = 1 << 60
		}
		complete.Partitions = append(complete.Partitions, q)
		at += p.size
	}
	table := *complete
	table.Partitions = []gpt.Partition{complete.Partitions[0], complete.Partitions[1], complete.Partitions[3]}
	if err := table.WriteTo(disk); err != nil {
		t.Fatal(err)
	}
	copy(disk, "boot loader")
	path = filepath.Join(t.TempDir(), "image.raw")
	if err := os.WriteFile(path, disk, 0o644); err != nil {
		t.Fatal(err)
	}
	return path, complete, rootHash
}

// readTable is the table of a disk whose two copies agree.
func readTable(t *testing.T, b []byte, sectorSize int) *gpt.Table {
	t.Helper()
	found, err := gpt.Read(bytes.NewReader(b), int64(len(b)), sectorSize)
	if err != nil || found.Primary != nil || found.Backup != nil {
		t.Fatalf("the table is not good: %v, %+v", err, found)
	}
	found.Table.Entries, found.Table.EntrySize, found.Table.EntriesAt = 0, 0, 0
	return found.Table
}

func readImage(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The signed disk is the one that had not left the partition out.
func TestSignImage(t *testing.T) {
	key, cert := signingPair(t, "signer")
	for _, sectorSize := range []int{512, 4096} {
		path, complete, root := unsigned(t, sectorSize)
		before := readImage(t, path)
		signed, err := Sign(t.Context(), SignOptions{
			Path: path, Key: key, Certificate: cert, Check: true,
			Origins: []SignOrigin{{Seed: uuid.Nil}, {Seed: signSeed}},
		})
		if err != nil {
			t.Fatal(err)
		}
		want := complete.Partitions[2]
		if len(signed) != 1 || !bytes.Equal(signed[0].RootHash, root) || !signed[0].Added || signed[0].Type.Name != "root-x86-64-verity-sig" {
			t.Errorf("signed %+v", signed)
		}
		after := readImage(t, path)
		if diff := cmp.Diff(complete, readTable(t, after, sectorSize)); diff != "" {
			t.Errorf("the table (-complete +signed):\n%s", diff)
		}
		content, err := verity.Sign(key, cert, root)
		if err != nil {
			t.Fatal(err)
		}
		at := int(want.First) * sectorSize
		if !bytes.Equal(after[at:at+len(content)], content) {
			t.Error("the signature is another one")
		}
		// Nothing else changed: neither boot record nor partitions.
		if !bytes.Equal(before[:sectorSize], after[:sectorSize]) || !bytes.Equal(before[1<<20:at], after[1<<20:at]) {
			t.Error("more than table and signature changed")
		}
	}
}

// An image is not signed twice, unless that is asked for.
func TestSignAgain(t *testing.T) {
	key, cert := signingPair(t, "first")
	path, _, _ := unsigned(t, 512)
	o := SignOptions{Path: path, Key: key, Certificate: cert}
	if _, err := Sign(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	before := readImage(t, path)
	o.Key, o.Certificate = signingPair(t, "second")
	if _, err := Sign(t.Context(), o); !errors.Is(err, ErrSigned) || !bytes.Equal(before, readImage(t, path)) {
		t.Errorf("signed again: %v", err)
	}
	o.Force = true
	signed, err := Sign(t.Context(), o)
	if err != nil || len(signed) != 1 || signed[0].Added {
		t.Fatalf("forced: %+v, %v", signed, err)
	}
	b := readImage(t, path)
	at := signed[0].Partition.First * 512
	sig, err := verity.ParseSignature(b[at : at+verity.SignatureSize])
	if err != nil {
		t.Fatal(err)
	}
	if err := sig.Verify(signed[0].RootHash, []*x509.Certificate{o.Certificate}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(readTable(t, before, 512), readTable(t, b, 512)); diff != "" {
		t.Errorf("the table changed:\n%s", diff)
	}
}

// Without the seed, label and identifier are derived from what is there, and
// with it from the definition.
func TestSignDescribes(t *testing.T) {
	key, cert := signingPair(t, "signer")
	sigType, err := repart.ParsePartitionType("root-x86-64-verity-sig", "")
	if err != nil {
		t.Fatal(err)
	}
	id := uuid.MustParse("12177e72-c804-4a33-b666-64bd31055768")
	no := false
	defs := []repart.Definition{{Type: sigType, Verity: repart.VeritySignatureRole, Label: "my sig", UUID: &id, ReadOnly: &no}}
	for name, tt := range map[string]struct {
		origins []SignOrigin
		want    gpt.Partition
	}{
		"unknown":    {[]SignOrigin{{Seed: id, Definitions: defs}}, gpt.Partition{UUID: PartitionUUID(DiskUUID(signSeed), sigType.UUID, 0), Name: sigType.Name, Flags: 1 << 60}},
		"seed":       {[]SignOrigin{{Seed: signSeed}}, gpt.Partition{UUID: PartitionUUID(signSeed, sigType.UUID, 0), Name: sigType.Name, Flags: 1 << 60}},
		"definition": {[]SignOrigin{{Seed: signSeed, Definitions: defs}}, gpt.Partition{UUID: id, Name: "my sig"}},
	} {
		path, complete, _ := unsigned(t, 512)
		signed, err := Sign(t.Context(), SignOptions{Path: path, Key: key, Certificate: cert, Origins: tt.origins})
		if err != nil {
			t.Fatal(err)
		}
		want := complete.Partitions[2]
		want.UUID, want.Name, want.Flags = tt.want.UUID, tt.want.Name, tt.want.Flags
		if diff := cmp.Diff(want, signed[0].Partition); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestSignJoined(t *testing.T) {
	key, cert := signingPair(t, "signer")
	_, other := signingPair(t, "other")
	path, _, root := unsigned(t, 512)
	before := readImage(t, path)
	der, err := keys.SignPKCS7Detached(key, cert, verity.SignedText(root))
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := keys.SignPKCS7Detached(key, cert, []byte("something else"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		o    SignOptions
		want string
	}{
		"hash":        {SignOptions{Join: &JoinedSignature{root[:16], der}}, "the image has"},
		"certificate": {SignOptions{Join: &JoinedSignature{root, der}, Certificate: other}, "CN=signer"},
		"content":     {SignOptions{Join: &JoinedSignature{root, wrong}}, "not one of this content"},
		"form":        {SignOptions{Join: &JoinedSignature{root, []byte("PEM")}}, "not a PKCS#7 signature"},
	} {
		tt.o.Path = path
		if _, err := Sign(t.Context(), tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !bytes.Equal(before, readImage(t, path)) {
		t.Error("a refused signature changed the image")
	}
	signed, err := Sign(t.Context(), SignOptions{Path: path, Join: &JoinedSignature{root, der}})
	if err != nil || !signed[0].Certificate.Equal(cert) {
		t.Errorf("joined: %+v, %v", signed, err)
	}
}

// What an interruption can leave, a second run completes.
func TestSignAfterInterruption(t *testing.T) {
	key, cert := signingPair(t, "signer")
	path, _, _ := unsigned(t, 512)
	before := readImage(t, path)
	o := SignOptions{Path: path, Key: key, Certificate: cert}
	if _, err := Sign(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	want := readImage(t, path)
	signature, backup := bytes.Index(want, []byte(`{"rootHash"`)), len(want)-33*512
	for name, left := range map[string]func() []byte{
		"before the backup": func() []byte {
			return append(append(bytes.Clone(before[:signature]), want[signature:signature+verity.SignatureSize]...), before[signature+verity.SignatureSize:]...)
		},
		"before the table": func() []byte {
			return append(append(bytes.Clone(before[:signature]), want[signature:signature+verity.SignatureSize]...), want[signature+verity.SignatureSize:]...)
		},
		"within the backup": func() []byte {
			return append(bytes.Clone(before[:backup+1000]), want[backup+1000:]...)
		},
		"within the table": func() []byte {
			return append(append(bytes.Clone(before[:1024]), make([]byte, 1024)...), want[2048:]...)
		},
	} {
		if err := os.WriteFile(path, left(), 0o644); err != nil {
			t.Fatal(err)
		}
		o.Force = true
		if _, err := Sign(t.Context(), o); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !bytes.Equal(readImage(t, path), want) {
			t.Errorf("%s: the image is not as without interruption", name)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	key, cert := signingPair(t, "signer")
	for name, tt := range map[string]struct {
		change func(disk memory, table *gpt.Table)
		check  bool
		want   string
	}{
		"table":     {func(disk memory, _ *gpt.Table) { clear(disk) }, false, "no GUID partition table"},
		"no hashes": {func(_ memory, table *gpt.Table) { table.Partitions = table.Partitions[3:] }, false, "no partition has dm-verity hashes"},
		"no data": {func(_ memory, table *gpt.Table) { table.Partitions = table.Partitions[1:2] }, false,
			"which of 0 partitions of type root-x86-64"},
		"superblock": {func(disk memory, _ *gpt.Table) { disk[2<<20] = 'x' }, false, "no partition has dm-verity hashes"},
		"data": {func(disk memory, table *gpt.Table) { disk[1<<20+5000]++; without(table, 2) }, true,
			"partition 1 does not match its hashes in partition 2: data block 1 (at byte 4096 of the data) differs"},
		"top of the tree": {func(disk memory, table *gpt.Table) { disk[2<<20+4096]++; without(table, 2) }, false, "does not match its hashes"},
		"no room": {func(_ memory, table *gpt.Table) {
			table.Partitions[3].First = table.Partitions[2].First + 8
			table.Partitions[3].Last = table.LastUsable
			without(table, 2)
		}, false, "no room for a signature partition"},
		"foreign": {func(disk memory, table *gpt.Table) { copy(disk[table.Partitions[2].First*512:], "text") }, false, "not one of root hash"},
		"small":   {func(_ memory, table *gpt.Table) { table.Partitions[2].Last-- }, false, "less than the 16384 bytes"},
	} {
		path, table, _ := unsigned(t, 512)
		disk := memory(readImage(t, path))
		if err := table.WriteTo(disk); err != nil {
			t.Fatal(err)
		}
		tt.change(disk, table)
		if name != "table" {
			if err := table.WriteTo(disk); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, disk, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Sign(t.Context(), SignOptions{Path: path, Key: key, Certificate: cert, Check: tt.check})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(disk, readImage(t, path)) {
			t.Errorf("%s: the image changed", name)
		}
	}
}

// without takes a partition out of a table.
func without(t *gpt.Table, i int) {
	t.Partitions = append(t.Partitions[:i:i], t.Partitions[i+1:]...)
}
