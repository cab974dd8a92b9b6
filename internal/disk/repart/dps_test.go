package repart

import "testing"

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
		{"root-secondary", "x86-64", "root-x86", "44479540-f297-41b2-9af7-d131d5f0458a", RoleRoot, verityNone},
		{"usr-secondary-verity-sig", "arm64", "usr-arm-verity-sig", "d7ff812f-37d1-4902-a810-d76ba57b975a", RoleUsr, veritySig},
		{"usr-amd64-verity", "arm64", "usr-x86-64-verity", "77ff5f63-e7b6-4633-acf4-1565b864c0e6", RoleUsr, verityTree},
		{"root-aarch64", "", "root-arm64", "b921b045-1df0-41c3-af44-4c6f280d3fae", RoleRoot, verityNone},
		{"user-home", "", "user-home", "773f91ef-66d4-49b5-bd83-d683bf40ad16", "", verityNone},
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
	for _, bad := range []string{"", "root-vax", "rootfs", "root-", "verity", "root-secondary", "{933ac7e1-2eb4-4f13-b844-0e14e2aef915}", "00000000-0000-0000-0000-000000000000"} {
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

func TestDefaultLabel(t *testing.T) {
	for in, want := range map[string]string{
		"root": "root-x86-64", "usr-verity": "usr-x86-64-verity", "esp": "esp", "linux-generic": "linux-generic", "11111111-2222-3333-4444-555555555555": "linux",
	} {
		typ, err := ParsePartitionType(in, "x86-64")
		if err != nil || typ.DefaultLabel() != want {
			t.Errorf("%s: label %q, %v, want %q", in, typ.DefaultLabel(), err, want)
		}
	}
}
