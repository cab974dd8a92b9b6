package repart

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// setOf parses definitions, each the settings of one without heading.
func setOf(t *testing.T, texts ...string) []Definition {
	t.Helper()
	var pairs []string
	for i, text := range texts {
		pairs = append(pairs, string(rune('1'+i))+"0.conf", "[Partition]\n"+text+"\n")
	}
	defs, _, err := Parse(files(pairs...), Options{Architecture: "x86-64"})
	if err != nil {
		t.Fatal(err)
	}
	return defs
}

func TestCheck(t *testing.T) {
	for _, defs := range [][]Definition{
		setOf(t, "Type=esp\nFormat=vfat", "Type=xbootldr\nSupplementFor=10"),
		setOf(t, "Type=home\nSupplementFor=20", "Type=root"),
		setOf(t, "Type=root\nFormat=erofs\nVerity=data\nVerityMatchKey=a\nMinimize=guess", "Type=root-verity\nVerity=hash\nVerityMatchKey=a\nMinimize=best", "Type=root-verity-sig\nVerity=signature\nVerityMatchKey=a"),
		setOf(t, "Type=root\nCopyBlocks=/a\nVerity=data\nVerityMatchKey=a", "Type=root-verity\nVerity=hash\nVerityMatchKey=a\nMinimize=best"),
	} {
		if err := Check(defs); err != nil {
			t.Error(err)
		}
	}
	// Hashes of what is only encrypted later cannot be counted before.
	err := Check(setOf(t, "Type=root\nFormat=erofs\nMinimize=guess\nEncrypt=key-file\nVerity=data\nVerityMatchKey=a", "Type=root-verity\nVerity=hash\nVerityMatchKey=a\nMinimize=best"))
	if err == nil || !strings.HasPrefix(err.Error(), "20.conf: setting Minimize=") {
		t.Errorf("hashes of encrypted data: %v", err)
	}
}

// Bounds and weights are merged as systemd-repart merges them.
func TestMerge(t *testing.T) {
	for _, tt := range []struct{ target, supplement, want string }{
		{"Weight=500", "", "Weight=1000"},
		{"Weight=500\nPaddingWeight=3", "Weight=7\nPaddingWeight=9", "Weight=7\nPaddingWeight=9"},
		{"SizeMinBytes=5M", "SizeMinBytes=30M", "SizeMinBytes=30M"},
		{"SizeMinBytes=50M", "SizeMinBytes=30M", "SizeMinBytes=50M"},
		{"SizeMinBytes=50M", "", ""},
		{"", "SizeMinBytes=3M", "SizeMinBytes=3M"},
		{"PaddingMinBytes=5M", "", ""},
		{"PaddingMinBytes=5M", "PaddingMinBytes=2M", "PaddingMinBytes=5M"},
		{"SizeMaxBytes=30M", "", "SizeMaxBytes=30M"},
		{"", "SizeMaxBytes=30M", "SizeMaxBytes=30M"},
		{"SizeMaxBytes=30M", "SizeMaxBytes=20M", "SizeMaxBytes=20M"},
		{"PaddingMaxBytes=5M", "PaddingMaxBytes=2M", "PaddingMaxBytes=2M"},
		{
			"CopyFiles=/a\nExcludeFiles=/b\nExcludeFilesTarget=/c\nMakeDirectories=/d\nSubvolumes=/e:ro\nLabel=x\nMakeSymlinks=/l:x",
			"CopyFiles=/f\nExcludeFiles=/g\nExcludeFilesTarget=/h\nMakeDirectories=/i\nSubvolumes=/e /j\nLabel=y\nMakeSymlinks=/m:x\nFormat=xfs\nPriority=3",
			"CopyFiles=/a\nCopyFiles=/f\nExcludeFiles=/b /g\nExcludeFilesTarget=/c /h\nMakeDirectories=/d /i\nSubvolumes=/e:ro /j\nLabel=x\nMakeSymlinks=/l:x",
		},
		{"", "MakeDirectories=/a", "MakeDirectories=/a"},
	} {
		defs := setOf(t, "Type=root\n"+tt.target, "Type=home\nSupplementFor=10\n"+tt.supplement)
		want := setOf(t, "Type=root\n"+tt.want)
		if diff := cmp.Diff(want[0], Merge(&defs[0], &defs[1]), cmp.AllowUnexported(PartitionType{})); diff != "" {
			t.Errorf("%q and %q (-want +got):\n%s", tt.target, tt.supplement, diff)
		}
	}
}

func TestSelect(t *testing.T) {
	defs := setOf(t, "Type=root", "Type=esp", "Type=root-verity", "Type=root-arm64")
	for _, tt := range []struct{ include, exclude, want string }{
		{"", "", "10 20 30 40"},
		{"root,esp", "", "10 20"},
		{"", "root,esp", "30 40"},
		{"", "root-x86-64,c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "30 40"},
		{"srv", "", ""},
	} {
		list := func(s string) []string {
			if s == "" {
				return nil
			}
			return strings.Split(s, ",")
		}
		selected, err := Select(defs, list(tt.include), list(tt.exclude), "x86-64")
		var got []string
		for _, d := range selected {
			got = append(got, d.Name())
		}
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("include %q, exclude %q: got %q, %v, want %q", tt.include, tt.exclude, got, err, tt.want)
		}
	}
	for _, lists := range [][2][]string{{{"root"}, {"esp"}}, {{"floppy"}, nil}, {nil, {""}}} {
		if got, err := Select(defs, lists[0], lists[1], "x86-64"); err == nil {
			t.Errorf("%q: got %d definitions and no error", lists, len(got))
		}
	}
}

// Variables change what systemd-repart lets them change.
func TestOverrideFormats(t *testing.T) {
	const all, root, usr, home, esp, swap = "SYSTEMD_REPART_OVERRIDE_FSTYPE", "SYSTEMD_REPART_OVERRIDE_FSTYPE_ROOT", "SYSTEMD_REPART_OVERRIDE_FSTYPE_USR",
		"SYSTEMD_REPART_OVERRIDE_FSTYPE_HOME", "SYSTEMD_REPART_OVERRIDE_FSTYPE_ESP", "SYSTEMD_REPART_OVERRIDE_FSTYPE_SWAP"
	for _, tt := range []struct {
		text string
		env  map[string]string
		want string
	}{
		{"Type=root\nFormat=ext4", map[string]string{all: "btrfs"}, "btrfs"},
		{"Type=root\nFormat=ext4", map[string]string{root: "btrfs", all: "vfat"}, "btrfs"},
		{"Type=root-arm64\nFormat=ext4", map[string]string{root: "btrfs"}, "btrfs"},
		{"Type=root\nFormat=ext4", map[string]string{usr: "btrfs", root: ""}, "ext4"},
		{"Type=root-verity\nFormat=ext4", map[string]string{root: "btrfs"}, "ext4"},
		{"Type=usr\nFormat=erofs", map[string]string{usr: "btrfs"}, "btrfs"},
		{"Type=home\nCopyFiles=/a", map[string]string{home: "btrfs"}, "btrfs"},
		{"Type=home\nCopyFiles=/a", map[string]string{all: "btrfs"}, "ext4"},
		{"Type=home", map[string]string{home: "btrfs"}, "btrfs"},
		{"Type=home", map[string]string{all: "btrfs"}, ""},
		{"Type=home\nFormat=empty", map[string]string{all: "btrfs"}, "btrfs"},
		{"Type=home\nFormat=swap", map[string]string{all: "btrfs"}, "btrfs"},
		{"Type=esp\nFormat=vfat", map[string]string{esp: "ext4"}, "ext4"},
		{"Type=swap", map[string]string{all: "btrfs", swap: "ext4"}, "swap"},
		{"Type=linux-generic\nFormat=ext4", map[string]string{all: "xfs"}, "xfs"},
		{"Type=root\nCopyBlocks=/a", map[string]string{root: "xfs"}, ""},
		{"Type=root\nVerity=hash\nVerityMatchKey=a", map[string]string{root: "xfs", all: "xfs"}, ""},
	} {
		defs := setOf(t, tt.text)
		before := defs[0].Format
		got, err := OverrideFormats(defs, func(name string) string { return tt.env[name] })
		if err != nil || got[0].Format != tt.want {
			t.Errorf("%q with %v: %v, %v, want %s", tt.text, tt.env, got, err, tt.want)
		}
		if defs[0].Format != before {
			t.Errorf("%q: the definitions that were given have changed", tt.text)
		}
	}
	// A role's variable leaves what Format=empty stands for, the general one takes its place.
	for name, want := range map[string]string{home: EmptyLabel, all: ""} {
		defs, err := OverrideFormats(setOf(t, "Type=home\nFormat=empty"), func(n string) string { return map[string]string{name: "ext4"}[n] })
		if err != nil || defs[0].Label != want || (defs[0].NoAuto != nil) != (want != "") {
			t.Errorf("%s: %+v, %v", name, defs, err)
		}
	}
	minimal, err := OverrideFormats(setOf(t, "Type=root\nFormat=erofs\nMinimize=best"), func(string) string { return "ext4" })
	if err != nil || minimal[0].Minimize != MinimizeGuess {
		t.Errorf("Minimize=best became %v, %v", minimal, err)
	}
	for _, format := range []string{"foo", "empty", "swap"} {
		if got, err := OverrideFormats(setOf(t, "Type=home\nCopyFiles=/a"), func(string) string { return format }); err == nil {
			t.Errorf("file system %s: %+v and no error", format, got)
		}
	}
}
