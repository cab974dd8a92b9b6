package repart

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/resources"
)

func files(pairs ...string) fs.FS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

func ptr[T any](v T) *T { return &v }

func TestParseDefinitions(t *testing.T) {
	got, err := ParseDefinitions(files(
		"20-data.conf", `
; everything at once
[Partition]
Type = linux-generic
Label=data %a 100%%
UUID=11111111-2222-3333-4444-555555555555
Format=ext4
CopyFiles=/srv:/
CopyFiles=/opt/%a::fsverity=off
ExcludeFiles=/srv/a /srv/b/
ExcludeFilesTarget=/c/
MakeDirectories=/d \
   /d//e
AddValidateFS=no
Minimize=guess
SizeMinBytes=5000
SizeMaxBytes=10M
PaddingMinBytes=1
PaddingMaxBytes=8191
Weight=7
PaddingWeight=1000000
Flags=0x10
NoAuto=yes
ReadOnly=off
GrowFileSystem=1
SplitName=%t-%U
`,
		"10-root.conf", "[Partition]\nType=root\nFormat=erofs\nVerity=data\nVerityMatchKey=r\nUUID=null\n",
		"10-root.conf.d/b.conf", "[Partition]\nUUID=\nMinimize=yes\n",
		"10-root.conf.d/a.conf", "[Partition]\nMinimize=off\nSplitName=-\n",
		"ignored.txt", "nothing",
	), "arm64")
	if err != nil {
		t.Fatal(err)
	}
	root, _ := ParsePartitionType("root", "arm64")
	generic, _ := ParsePartitionType("linux-generic", "")
	id := uuid.MustParse("11111111-2222-3333-4444-555555555555")
	want := []Definition{
		{File: "10-root.conf", Type: root, Format: "erofs", Verity: "data", VerityMatchKey: "r", Minimize: "best", Weight: 1000, SplitName: "-"},
		{
			File: "20-data.conf", Type: generic, Label: "data arm64 100%", UUID: &id, Format: "ext4",
			CopyFiles:    []CopyFiles{{Source: "/srv", Target: "/"}, {Source: "/opt/arm64", Target: "/opt/arm64"}},
			ExcludeFiles: []string{"/srv/a", "/srv/b/"}, ExcludeFilesTarget: []string{"/c/"},
			MakeDirectories: []string{"/d", "/d/e"}, AddValidateFS: ptr(false), Minimize: "guess",
			SizeMin: ptr(uint64(8192)), SizeMax: ptr(uint64(10 << 20)), PaddingMin: ptr(uint64(4096)), PaddingMax: ptr(uint64(4096)),
			Weight: 7, PaddingWeight: 1000000, Flags: 16,
			NoAuto: ptr(true), ReadOnly: ptr(false), GrowFileSystem: ptr(true), SplitName: "%t-%U",
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(PartitionType{})); diff != "" {
		t.Errorf("definitions (-want +got):\n%s", diff)
	}
}

// Each error names file and line, or the file, and what is wrong.
func TestParseDefinitionErrors(t *testing.T) {
	for text, want := range map[string]string{
		"Type=root\n":                                                           "10.conf:1: setting outside",
		"[Partition]\nType=floppy\n":                                            `10.conf:2: Type=: unknown partition type "floppy"`,
		"[Partition]\n\nEncrypt=tpm2\n":                                         "10.conf:3: Encrypt=: not supported yet",
		"[Partition]\nCopyBlocks=auto\n":                                        "CopyBlocks=: not supported yet",
		"[Partition]\nTyp=root\n":                                               "10.conf:2: Typ=: unknown setting",
		"[Partitions]\n":                                                        "10.conf:1: unknown section [Partitions]",
		"[Partition]\nroot\n":                                                   "10.conf:2: expected NAME=value",
		"[Partition]\n":                                                         "10.conf: setting Type= is missing",
		"[Partition]\nType=root\nFormat=xfs\n":                                  "Format=xfs is not supported yet",
		"[Partition]\nType=esp\nCopyFiles=/boot:/\n":                            "Format=vfat is not supported yet",
		"[Partition]\nType=root\nLabel=%v\n":                                    "specifier %v is not supported yet",
		"[Partition]\nType=root\nLabel=x%\n":                                    "at the end",
		"[Partition]\nLabel=" + strings.Repeat("x", 37):                         "37 characters",
		"[Partition]\nUUID=x\n":                                                 "not a UUID",
		"[Partition]\nCopyFiles=usr\n":                                          "not an absolute path",
		"[Partition]\nCopyFiles=/usr/../etc\n":                                  "leads out",
		"[Partition]\nCopyFiles=/a:/b:fsverity=copy\n":                          "fsverity=copy is not supported yet",
		"[Partition]\nCopyFiles=\"/a\"\n":                                       "quotes",
		"[Partition]\nMakeDirectories=/a b\n":                                   "not an absolute path",
		"[Partition]\nSizeMinBytes=1X\n":                                        "not a size",
		"[Partition]\nSizeMinBytes=-1\n":                                        "not a size",
		"[Partition]\nSizeMinBytes=999999999999P\n":                             "too large",
		"[Partition]\nWeight=1000001\n":                                         "0 to 1000000",
		"[Partition]\nReadOnly=maybe\n":                                         "not a boolean",
		"[Partition]\nVerity=maybe\n":                                           "none of off, data",
		"[Partition]\nMinimize=maybe\n":                                         "none of off, best",
		"[Partition]\nSplitName=a/b\n":                                          "file name",
		"[Partition]\nType=root\nVerity=hash\n":                                 "needs VerityMatchKey=",
		"[Partition]\nType=root\nVerityMatchKey=a\n":                            "needs Verity=",
		"[Partition]\nVerityMatchKey=a b\n":                                     "short identifier",
		"[Partition]\nType=root\nMinimize=best\n":                               "needs Format=",
		"[Partition]\nType=root\nFormat=ext4\nMinimize=best":                    "use Minimize=guess",
		"[Partition]\nType=root\nVerity=data\nVerityMatchKey=a\n":               "needs Format=",
		"[Partition]\nType=root\nVerity=hash\nVerityMatchKey=a\nFormat=erofs\n": "no room",
		"[Partition]\nType=root\nSizeMinBytes=2M\nSizeMaxBytes=1M\n":            "larger than SizeMaxBytes=",
		"[Partition]\nType=root\nPaddingMinBytes=2M\nPaddingMaxBytes=1M\n":      "larger than PaddingMaxBytes=",
		strings.Repeat("#", maxDefinitionSize+1):                                "larger than",
	} {
		_, err := ParseDefinitions(files("10.conf", text), "x86-64")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "10.conf") {
			t.Errorf("%.70q: error %q, want one with %q", text, err, want)
		}
	}
	if _, err := ParseDefinitions(files("10.conf", "[Partition]\nType=root\n", "10.conf.d/x.conf", "\nx"), "x86-64"); err == nil || !strings.Contains(err.Error(), "10.conf.d/x.conf:2") {
		t.Errorf("error in a drop-in: %v", err)
	}
}

func FuzzParseDefinitions(f *testing.F) {
	for _, name := range []string{"sysext", "confext-unsigned", "disk"} {
		fsys, err := resources.Repart(name)
		if err != nil {
			f.Fatal(err)
		}
		text, err := fs.ReadFile(fsys, "10-root.conf")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("[Partition]\nType=linux-generic\nLabel=%a%%\nCopyFiles=/a:/b\nSizeMinBytes=1E\nSplitName=%t%T%U%n\nFlags=0b1\n\\\n")
	f.Fuzz(func(t *testing.T, text string) {
		defs, err := ParseDefinitions(files("10.conf", text), "x86-64")
		if err != nil {
			return
		}
		for _, d := range defs {
			for _, c := range d.CopyFiles {
				if strings.Contains(c.Source+c.Target+"/", "/../") {
					t.Errorf("%+v leads out of the tree", c)
				}
			}
			for _, n := range []*uint64{d.SizeMin, d.SizeMax, d.PaddingMin, d.PaddingMax} {
				if n != nil && (*n%sizeUnit != 0 || int64(*n) < 0) {
					t.Errorf("size %d", *n)
				}
			}
		}
	})
}
