package repart

import (
	"io/fs"
	"os"
	"path/filepath"
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

// testOptions are those of an image with a system.
func testOptions() Options {
	fields := map[string]string{"ID": "debian", "IMAGE_ID": "snow", "IMAGE_VERSION": "7%", "VERSION_ID": "13"}
	return Options{
		Architecture: "arm64",
		OSRelease:    func(field string) string { return fields[field] },
		MachineID:    "0123456789abcdef0123456789abcdef",
	}
}

func TestParse(t *testing.T) {
	id := uuid.MustParse("11111111-2222-3333-4444-555555555555")
	typ := func(name string) PartitionType {
		p, err := ParsePartitionType(name, "arm64")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, tt := range []struct {
		text string
		want Definition
	}{
		{
			"Type = linux-generic\nLabel=data %a 100%%\nUUID=11111111-2222-3333-4444-555555555555\nPriority=-3\nFormat=ext4\n" +
				"CopyFiles=/srv:/\nCopyFiles=/opt/%a:/a b\\x3a:fsverity=off\nExcludeFiles=/srv/a '/srv/b c/'\nExcludeFilesTarget=/c/\n" +
				"MakeDirectories=/d \\\n   /d//e\nMakeSymlinks=/l:../x \"/m n\":/o\nAddValidateFS=no\nMinimize=guess\n" +
				"Weight=7\nPaddingWeight=1000000\nFlags=0x10\nNoAuto=yes\nReadOnly=off\nGrowFileSystem=1\nFactoryReset=yes\nSplitName=%M_%A.%t-%U\n",
			Definition{
				Type: typ("linux-generic"), Label: "data arm64 100%", UUID: &id, Priority: -3, Format: "ext4",
				CopyFiles:    []CopyFiles{{Source: "/srv", Target: "/"}, {Source: "/opt/arm64", Target: "/a b:"}},
				ExcludeFiles: []string{"/srv/a", "/srv/b c/"}, ExcludeFilesTarget: []string{"/c/"},
				MakeDirectories: []string{"/d", "/d/e"}, MakeSymlinks: []Symlink{{"/l", "../x"}, {"/m n", "/o"}},
				AddValidateFS: ptr(false), Minimize: "guess", Weight: 7, PaddingWeight: 1000000, Flags: 16,
				NoAuto: ptr(true), ReadOnly: ptr(false), GrowFileSystem: ptr(true), FactoryReset: true, SplitName: "snow_7%%.%t-%U",
			},
		},
		{
			"Type=root\nSizeMinBytes=5000\nSizeMaxBytes=10M\nPaddingMinBytes=1\nPaddingMaxBytes=8191\nFormat=erofs\nCompression=zstd\nCompressionLevel=12\n" +
				"Verity=data\nVerityMatchKey=r\nVerityDataBlockSizeBytes=512\nVerityHashBlockSizeBytes=4K\nFileSystemSectorSize=512\nMinimize=yes\nUUID=null\n",
			Definition{
				Type: typ("root"), SizeMin: ptr(uint64(8192)), SizeMax: ptr(uint64(10 << 20)), PaddingMin: ptr(uint64(4096)), PaddingMax: ptr(uint64(4096)),
				Weight: 1000, Format: "erofs", Compression: "zstd", CompressionLevel: "12", Verity: "data", VerityMatchKey: "r",
				VerityDataBlockSize: 512, VerityHashBlockSize: 4096, FileSystemSectorSize: 512, Minimize: "best", UUID: &uuid.UUID{}, SplitName: "%t",
			},
		},
		{
			"Type=home\nEncrypt=yes\nEncryptKDF=minimal\nKeyFile=/k\nVolumeLabel=%o\nDiscard=no\nSubvolumes=/a /b:ro\nSubvolumes=/a:ro,nodatacow\nDefaultSubvolume=/a/\nFormat=btrfs\n" +
				"MountPoint=/home\nMountPoint=\"/x:y\":\"zstd:1,ro\"\nEncryptedVolume=home:none:luks:fixate-volume-key\nLabel=\nSplitName=\n",
			Definition{
				Type: typ("home"), NoLabel: true, Weight: 1000, Encrypt: "key-file", EncryptKDF: "minimal", KeyFile: "/k", VolumeLabel: "debian", Discard: ptr(false),
				Subvolumes: []Subvolume{{Path: "/a", ReadOnly: true, NoDataCow: true}, {Path: "/b", ReadOnly: true}}, DefaultSubvolume: "/a", Format: "btrfs",
				MountPoints:     []MountPoint{{"/home", ""}, {"/x:y", "zstd:1,ro"}},
				EncryptedVolume: &EncryptedVolume{Name: "home", KeyFile: "none", Options: "luks", FixateVolumeKey: true}, SplitName: "%t",
			},
		},
		{"Type=root\nCopyBlocks=auto\nSupplementFor=\n", Definition{Type: typ("root"), CopyBlocks: "auto", Weight: 1000, SplitName: "%t"}},
		{"Type=root\nCopyBlocks=/%m.raw\nEncrypt=key-file\n", Definition{Type: typ("root"), CopyBlocks: "/0123456789abcdef0123456789abcdef.raw", Encrypt: "key-file", Weight: 1000, SplitName: "%t"}},
		// What is set and taken back.
		{
			"Type=swap\nType=root\nUUID=null\nUUID=\nExcludeFiles=/a\nExcludeFiles=\nSubvolumes=/a\nSubvolumes=\nMountPoint=/a\nMountPoint=\nEncrypt=key-file\nEncrypt=\nReadOnly=yes\nReadOnly=\nVerity=hash\nVerity=\n" +
				"EncryptedVolume=a\nEncryptedVolume=\nCopyBlocks=/a\nCopyBlocks=\nDefaultSubvolume=/a\nDefaultSubvolume=\nFileSystemSectorSize=512\nFileSystemSectorSize=\nTPM2PCRs=\nBlockDeviceReplace=\nVolumeName=\nIntegrity=off\n",
			Definition{Type: typ("root"), Weight: 1000, SplitName: "%t"},
		},
	} {
		defs, _, err := Parse(files("10.conf", "[Partition]\n"+tt.text), testOptions())
		if err != nil {
			t.Error(err)
			continue
		}
		tt.want.File = "10.conf"
		if diff := cmp.Diff([]Definition{tt.want}, defs, cmpopts.IgnoreUnexported(PartitionType{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.text, diff)
		}
	}
}

// The file system of a partition that names none follows from what it is to
// hold.
func TestImpliedFormat(t *testing.T) {
	for text, want := range map[string]string{
		"Type=home":                                       "",
		"Type=home\nCopyFiles=/a":                         "ext4",
		"Type=home\nMakeDirectories=/a":                   "ext4",
		"Type=home\nMakeSymlinks=/a:b":                    "ext4",
		"Type=home\nAddValidateFS=yes":                    "ext4",
		"Type=home\nAddValidateFS=no":                     "",
		"Type=home\nEncrypt=key-file":                     "ext4",
		"Type=home\nEncrypt=key-file\nFormat=empty":       "empty",
		"Type=home\nEncrypt=key-file\nCopyBlocks=/a":      "",
		"Type=home\nSubvolumes=/a":                        "",
		"Type=home\nExcludeFiles=/a":                      "",
		"Type=home\nCompression=zstd":                     "",
		"Type=esp\nCopyFiles=/a":                          "vfat",
		"Type=xbootldr\nCopyFiles=/a":                     "vfat",
		"Type=esp":                                        "",
		"Type=esp\nFormat=ext4\nCopyFiles=/a":             "ext4",
		"Type=swap":                                       "swap",
		"Type=swap\nEncrypt=key-file":                     "swap",
		"Type=swap\nCopyBlocks=/a":                        "",
		"Type=swap\nFormat=empty":                         "empty",
		"Type=swap\nFormat=ext4":                          "ext4",
		"Type=root-verity\nVerity=hash\nVerityMatchKey=a": "",
	} {
		d := parseOne(t, "[Partition]\n"+text+"\n")
		if d.Format != want || d.FormatImplied != (want != "" && !strings.Contains(text, "Format=")) {
			t.Errorf("%q: Format=%s, implied %t, want %s", text, d.Format, d.FormatImplied, want)
		}
	}
}

// Which files count, and in what order, is as systemd-repart has it.
func TestDefinitionFiles(t *testing.T) {
	const home = "[Partition]\nType=home\n"
	fsys := fstest.MapFS{
		"b.conf":               {Data: []byte(home)},
		"B.conf":               {Data: []byte(home)},
		"a-b.conf":             {Data: []byte(home)},
		"a.b.conf":             {Data: []byte(home)},
		"a.conf":               {Data: []byte(home)},
		"9.conf":               {Data: []byte(home)},
		"10.conf":              {Data: []byte(home)},
		"10.conf.d/b.conf":     {Data: []byte("[Partition]\nLabel=b\n")},
		"10.conf.d/a.conf":     {Data: []byte("[Partition]\nLabel=a\nUUID=null\n")},
		"10.conf.d/.z.conf":    {Data: []byte("[Partition]\nLabel=z\n")},
		"10.conf.d/z.txt":      {Data: []byte("[Partition]\nLabel=z\n")},
		"11.conf.d/a.conf":     {Data: []byte(home)},
		"12.conf":              {},
		"12.conf.d/a.conf":     {Data: []byte(home)},
		"13.conf":              {Data: []byte(home), Mode: fs.ModeDevice | fs.ModeCharDevice},
		"14.conf":              {Data: []byte("[Partition]\nLabel=fourteen\n")},
		"14.conf.d/empty.conf": {},
		"14.conf.d/null.conf":  {Mode: fs.ModeDevice | fs.ModeCharDevice},
		"14.conf.d/type.conf":  {Data: []byte(home)},
		".hidden.conf":         {Data: []byte(home)},
		"README":               {Data: []byte("nothing")},
		"dir.conf/x":           {Data: []byte("nothing")},
	}
	defs, warnings, err := Parse(fsys, Options{})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	var got []string
	for _, d := range defs {
		got = append(got, strings.TrimSpace(d.File+" "+d.Label))
	}
	want := []string{"10.conf b", "14.conf fourteen", "9.conf", "B.conf", "a-b.conf", "a.b.conf", "a.conf", "b.conf"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("definitions (-want +got):\n%s", diff)
	}
	if defs[0].UUID == nil {
		t.Error("a drop-in was not read")
	}
	if defs[0].Name() != "10" {
		t.Errorf("SupplementFor= has to call it %q", defs[0].Name())
	}
}

// Symbolic links are followed, and those that lead nowhere told.
func TestDefinitionLinks(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "10.conf"), []byte("[Partition]\nType=home\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"20.conf": "10.conf", "30.conf": "missing", "40.conf": "/dev/null"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	defs, warnings, err := Parse(os.DirFS(dir), Options{})
	if err != nil || len(defs) != 2 || defs[1].File != "20.conf" {
		t.Errorf("got %+v, %v", defs, err)
	}
	if len(warnings) != 1 || warnings[0].Error() != "30.conf: the symbolic link leads nowhere and is ignored" {
		t.Errorf("warnings %v", warnings)
	}
}

func TestWarnings(t *testing.T) {
	for text, want := range map[string][]string{
		"[Partition]\nType=home\nColour=red\n":                                  {"10.conf:3: unknown setting Colour= is ignored"},
		"[Partition]\nType=home\nX-Colour=red\n[X-Other]\nhello\n":              nil,
		"[Weather]\nsunny\n[Partition]\nType=home\n":                            {"10.conf:1: unknown section [Weather] is ignored"},
		"[Partition]\nType=home\nEncryptKDF=minimal\n":                          {"10.conf:3: EncryptKDF=: has no effect without Encrypt="},
		"[Partition]\nType=home\nDiscard=yes\n":                                 {"10.conf:3: Discard=: has no effect without Encrypt="},
		"[Partition]\nType=home\nEncryptedVolume=a\n":                           {"10.conf:3: EncryptedVolume=: has no effect without Encrypt="},
		"[Partition]\nType=home\nIntegrityAlgorithm=hmac-sha1\n":                {"10.conf:3: IntegrityAlgorithm=: has no effect without Integrity=inline"},
		"[Partition]\nType=home\nLabel=1234567890123456789012345678901234567\n": {`10.conf:3: Label=: partition name "1234567890123456789012345678901234567" is 37 characters long, the limit is 36: this is ignored`},
		"[Partition]\nType=esp\nReadOnly=yes\n":                                 {"10.conf:3: ReadOnly=: has no effect on the type esp"},
		"[Partition]\nType=root-x86-64-verity\nGrowFileSystem=yes\n":            {"10.conf:3: GrowFileSystem=: has no effect on the type root-x86-64-verity"},
		"[Partition]\nType=home\nEncrypt=key-file\nEncryptKDF=pbkdf2\n":         nil,
		"\ufeff[Partition]\r\nType=home\r\n; comment\r\n  # comment\r\n":        nil,
	} {
		defs, warnings, err := Parse(files("10.conf", text), Options{})
		if err != nil || len(defs) != 1 {
			t.Errorf("%q: %v, %v", text, defs, err)
			continue
		}
		var got []string
		for _, w := range warnings {
			got = append(got, w.Error())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	if _, err := ParseDefinitions(files("10.conf", "[Partition]\nType=home\nColour=red\n"), ""); err == nil {
		t.Error("ParseDefinitions passed over a warning")
	}
}

// All mistakes are told at once, each with its file and line.
func TestParseTellsAll(t *testing.T) {
	_, _, err := Parse(files(
		"10.conf", "[Partition]\nType=floppy\nWeight=a\n", "10.conf.d/x.conf", "\nx",
		"20.conf", "[Partition]\nLabel=x\n", "30.conf", strings.Repeat("#", maxDefinitionSize),
	), Options{})
	want := []string{"10.conf:2: Type=", "10.conf:3: Weight=", "10.conf.d/x.conf:2: expected", "20.conf: setting Type=", "30.conf: setting Type="}
	got := strings.Split(err.Error(), "\n")
	if len(got) != len(want) {
		t.Fatalf("got %v", err)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("error %q, want %q", got[i], want[i])
		}
	}
	if _, _, err := Parse(files("10.conf", strings.Repeat("#", maxDefinitionSize+1)), Options{}); err == nil || !strings.Contains(err.Error(), "10.conf: larger than") {
		t.Errorf("a large file: %v", err)
	}
	many := fstest.MapFS{}
	for i := range maxDefinitions + 1 {
		many[strings.Repeat("a", i+1)+".conf"] = &fstest.MapFile{Data: []byte("[Partition]\nType=home\n")}
	}
	if _, _, err := Parse(many, Options{}); err == nil || !strings.Contains(err.Error(), "129 partition definitions") {
		t.Errorf("many files: %v", err)
	}
}

func FuzzParse(f *testing.F) {
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
	f.Add("[Partition]\nType=linux-generic\nLabel=%a%%\nCopyFiles=/a:/b\\x3a\nSizeMinBytes=1E 1.5K\nSplitName=%t%T%U%n%M\nFlags=0b1\n\\\n")
	f.Add("[Partition]\nType=root\nMakeSymlinks='/a b':c\nSubvolumes=/a:ro\nMountPoint=\"/a\":b\nEncryptedVolume=a:b:c:fixate-volume-key\nEncrypt=yes\n")
	f.Fuzz(func(t *testing.T, text string) {
		defs, _, err := Parse(files("10.conf", text, "20.conf", "[Partition]\nType=home\n"), testOptions())
		if err != nil {
			return
		}
		for i := range defs {
			checkFuzzed(t, &defs[i])
		}
		if err := Check(defs); err == nil && len(defs) == 2 {
			Merge(&defs[1], &defs[0])
		}
	})
}

// checkFuzzed holds what all definitions must be like, however they came about.
func checkFuzzed(t *testing.T, d *Definition) {
	t.Helper()
	paths := append(d.ExcludeFiles, d.MakeDirectories...)
	for _, c := range d.CopyFiles {
		paths = append(paths, c.Source, c.Target)
	}
	for _, s := range d.MakeSymlinks {
		paths = append(paths, s.Path)
	}
	for _, p := range paths {
		if p[0] != '/' || strings.Contains(p+"/", "/../") || strings.Contains(p, "\x00") {
			t.Errorf("path %q leads out of the tree", p)
		}
	}
	for _, n := range []*uint64{d.SizeMin, d.SizeMax, d.PaddingMin, d.PaddingMax} {
		if n != nil && (*n%sizeUnit != 0 || int64(*n) < 0) {
			t.Errorf("size %d", *n)
		}
	}
	if _, err := ExpandSplitName(d.SplitName, FinishedPartition{Type: d.Type}); err != nil {
		t.Errorf("SplitName=%s: %v", d.SplitName, err)
	}
	for line := range strings.Lines(Fstab([]Mounted{{Definition: d}})) {
		if line[0] != '#' && len(strings.Fields(line)) != 6 {
			t.Errorf("malformed line %q for fstab", line)
		}
	}
}
