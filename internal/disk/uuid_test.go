package disk

import (
	"encoding/hex"
	"testing"

	"github.com/google/uuid"
)

// The expected values are those in images of systemd-repart 262.
func TestDerivedLikeRepart(t *testing.T) {
	seed := uuid.MustParse("3d30965a-0981-46f6-a67a-9c6bc38538e6")
	partition := func(name string, n int) uuid.UUID {
		typ, err := ParsePartitionType(name, "x86-64")
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

func TestParsePartitionType(t *testing.T) {
	for _, tt := range []struct {
		in, arch, name, uuid string
		role                 Role
		part                 verityPart
	}{
		{"root", "x86-64", "root-x86-64", "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", RoleRoot, verityNone},
		{"root-verity", "arm64", "root-arm64-verity", "df3300ce-d69f-4c92-978c-9bfb0f38d820", RoleRoot, verityTree},
		{"usr-verity-sig", "x86-64", "usr-x86-64-verity-sig", "e7bb33fb-06cf-4e81-8273-e543b413e2e2", RoleUsr, veritySig},
		{"usr-arm64", "x86-64", "usr-arm64", "b0e01050-ee5f-4390-949a-9101b17104e9", RoleUsr, verityNone},
		{"esp", "", "esp", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", RoleESP, verityNone},
		{"linux-generic", "", "linux-generic", "0fc63daf-8483-4772-8e79-3d69d8477de4", "", verityNone},
		{"2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5", "", "root-x86-64-verity", "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5", RoleRoot, verityTree},
		{"933ac7e1-2eb4-4f13-b844-0e14e2aef915", "", "home", "933ac7e1-2eb4-4f13-b844-0e14e2aef915", RoleHome, verityNone},
		{"11111111-2222-3333-4444-555555555555", "", "11111111-2222-3333-4444-555555555555", "11111111-2222-3333-4444-555555555555", "", verityNone},
	} {
		got, err := ParsePartitionType(tt.in, tt.arch)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if got.Name != tt.name || got.UUID.String() != tt.uuid || got.Role != tt.role || got.part != tt.part {
			t.Errorf("%s for %s: %+v", tt.in, tt.arch, got)
		}
	}
	for _, bad := range []string{"", "root-vax", "rootfs", "root-", "verity", "00000000-0000-0000-0000-000000000000"} {
		if got, err := ParsePartitionType(bad, "vax"); err == nil {
			t.Errorf("%q was accepted as %+v", bad, got)
		}
	}
	for _, arch := range Architectures() {
		for _, kind := range []string{"root", "root-verity", "root-verity-sig", "usr", "usr-verity", "usr-verity-sig"} {
			byName, err := ParsePartitionType(kind, arch)
			if err != nil {
				t.Fatal(err)
			}
			byUUID, err := ParsePartitionType(byName.UUID.String(), "")
			if err != nil || byUUID != byName {
				t.Errorf("%s of %s: %+v by its UUID, %v", kind, arch, byUUID, err)
			}
		}
	}
}
