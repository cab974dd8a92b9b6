package repart_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/disk/repart/reparttest"
)

// tablesSeed is what the identifiers in testdata/fstab are derived from.
var tablesSeed = uuid.MustParse("3d30965a-0981-46f6-a67a-9c6bc38538e6")

// The tables are those that systemd-repart writes for the same definitions.
func TestTables(t *testing.T) {
	paths, err := filepath.Glob("testdata/fstab/*.txt")
	if err != nil || len(paths) < 2 {
		t.Fatalf("there is no test data: %v", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sections := reparttest.Sections(string(text))
		fsys := fstest.MapFS{}
		for name, text := range sections {
			fsys[name] = &fstest.MapFile{Data: []byte(text)}
		}
		defs, _, err := repart.Parse(fsys, repart.Options{Architecture: "x86-64"})
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		var mounted []repart.Mounted
		for i := range defs {
			d := &defs[i]
			id := disk.PartitionUUID(tablesSeed, d.Type.UUID, count[d.Type.Name])
			count[d.Type.Name]++
			mounted = append(mounted, repart.Mounted{
				Definition: d, FileSystem: disk.FileSystemUUID(id), LUKS: disk.LUKSUUID(id), VolumeKeyHash: "0123456789abcdef",
			})
		}
		if diff := cmp.Diff(sections["fstab"], repart.Fstab(mounted)); diff != "" {
			t.Errorf("%s: fstab (-systemd-repart +ours):\n%s", path, diff)
		}
		crypttab, err := repart.Crypttab(mounted)
		if diff := cmp.Diff(sections["crypttab"], crypttab); diff != "" || err != nil {
			t.Errorf("%s: crypttab, %v (-systemd-repart +ours):\n%s", path, err, diff)
		}
	}
}

// What a field of fstab(5) cannot hold is escaped, which systemd-repart omits.
func TestFstabEscapes(t *testing.T) {
	d := &repart.Definition{Format: repart.FormatExt4, MountPoints: []repart.MountPoint{{Where: "/a b\\c\n", Options: "x\ty"}}}
	if got := repart.Fstab([]repart.Mounted{{Definition: d}}); !strings.Contains(got, ` /a\040b\134c\012 ext4 discard,rw,nodev,suid,exec,x\011y 0 2`+"\n") {
		t.Errorf("got %s", got)
	}
}

func TestCrypttabWithoutHash(t *testing.T) {
	d := &repart.Definition{File: "10.conf", Encrypt: repart.EncryptKeyFile, EncryptedVolume: &repart.EncryptedVolume{FixateVolumeKey: true}}
	if got, err := repart.Crypttab([]repart.Mounted{{Definition: d}}); err == nil || !strings.HasPrefix(err.Error(), "10.conf: EncryptedVolume=") {
		t.Errorf("got %q, %v", got, err)
	}
}

// An earlier section is replaced, and what the user wrote stays behind it.
func TestMergeFstab(t *testing.T) {
	const (
		start   = "# Start section ↓ of automatically generated fstab by systemd-repart\n"
		end     = "# End section ↑ of automatically generated fstab by systemd-repart\n"
		section = start + "new\n" + end
	)
	for old, want := range map[string]string{
		"":                                      section,
		"a\n":                                   section + "a\n",
		"a":                                     section + "a",
		"a\n" + start + "old\n" + end + "b\n":   section + "a\nb\n",
		start + end:                             section,
		"a\n" + start + "old\nb\n":              section + "a\n",
		"a\nold\n" + end + "b\n":                section + "a\nold\n" + end + "b\n",
		"a\n " + start + "old\n" + end + "b":    section + "a\n " + start + "old\n" + end + "b",
		"a\n\n" + start + "x\n" + end + "\n\nb": section + "a\n\n\n\nb",
		start + end + "b\n" + start + "x\n" + end: section + "b\n" + start + "x\n" + end,
	} {
		if got := repart.MergeFstab(old, section); got != want {
			t.Errorf("%q: got %q, want %q", old, got, want)
		}
	}
	if got := repart.MergeFstab("a\n", ""); got != "a\n" {
		t.Errorf("without mount points: %q", got)
	}
}
