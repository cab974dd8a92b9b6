package disk

import (
	"encoding/hex"
	"testing"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// The expected values are those in images of systemd-repart 262.
func TestDerivedLikeRepart(t *testing.T) {
	seed := uuid.MustParse("3d30965a-0981-46f6-a67a-9c6bc38538e6")
	partition := func(name string, n int) uuid.UUID {
		typ, err := repart.ParsePartitionType(name, "x86-64")
		if err != nil {
			t.Fatal(err)
		}
		return PartitionUUID(seed, typ.UUID, n)
	}
	for what, tt := range map[string]struct {
		got  uuid.UUID
		want string
	}{
		"disk":              {DiskUUID(seed), "56ea37d3-42b9-4d18-862b-f01b79ff46e0"},
		"root":              {partition("root", 0), "056fbb68-04a7-4fb8-93ed-64be240b7f7e"},
		"signature":         {partition("root-verity-sig", 0), "e4f8b3fe-e0ff-42fb-8f80-021a0bbf871d"},
		"generic":           {partition("linux-generic", 0), "ff09a808-ce0e-4cbf-ab6e-98efc91120db"},
		"second generic":    {partition("linux-generic", 1), "84da7611-fd88-4565-8184-4976e9d23ed5"},
		"third generic":     {partition("linux-generic", 2), "58f80cd0-d860-41f9-b439-60f956286af7"},
		"other arch":        {partition("usr-arm64-verity", 0), "d6bba68b-8806-4424-9927-3e6b9bbd05ce"},
		"file system":       {FileSystemUUID(partition("root", 0)), "2aa3c203-a411-49dd-b901-533f42c36c8c"},
		"LUKS":              {LUKSUUID(partition("linux-generic", 0)), "12177e72-c804-4a33-b666-64bd31055768"},
		"LUKS of verity":    {LUKSUUID(partition("root", 0)), "8f1ab96d-fa0a-4b75-b020-ccad4455a16a"},
		"verity superblock": {VerityUUID(seed), "a7dff149-03eb-49af-b47f-17d0bc060571"},
	} {
		if tt.got.String() != tt.want {
			t.Errorf("%s: %s, systemd-repart has %s", what, tt.got, tt.want)
		}
	}
	if got := hex.EncodeToString(VeritySalt(seed)); got != "8abe604072f41fac6f8028f04a5925b832e1a34ddb0f8f89441b22812bf9c4b6" {
		t.Errorf("salt %s", got)
	}
	root, _ := hex.DecodeString("1fbf2fc74459d82b803dcd6f5d32f847a037542bc47c941ba87a5481494e8877")
	data, hash := verityUUIDs(root)
	if data.String() != "1fbf2fc7-4459-d82b-803d-cd6f5d32f847" || hash.String() != "a037542b-c47c-941b-a87a-5481494e8877" {
		t.Errorf("verity partitions %s and %s", data, hash)
	}
}
