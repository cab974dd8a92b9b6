package output

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk/mkfs"
	"github.com/mkosi-go/mkosi/internal/keys"
)

const (
	dataRoot  = plainRoot + "Verity=data\nVerityMatchKey=r\n"
	hashRoot  = "[Partition]\nType=root-verity\nVerity=hash\nVerityMatchKey=r\nMinimize=best\n"
	signature = "[Partition]\nType=root-verity-sig\nVerity=signature\nVerityMatchKey=r\n"
)

// keyPair writes mkosi.key and mkosi.crt.
func keyPair(t *testing.T) map[string]string {
	t.Helper()
	key, crt, err := keys.Generate(keys.GenerateOptions{CommonName: "test", ValidDays: 1, Now: time.Unix(1700000000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"mkosi.key": string(key), "mkosi.crt": string(crt)}
}

// What cannot be written is known before anything is built.
func TestCheck(t *testing.T) {
	triple := map[string]string{"mkosi.repart/1.conf": dataRoot, "mkosi.repart/2.conf": hashRoot, "mkosi.repart/3.conf": signature}
	pair := keyPair(t)
	for name, tt := range map[string]struct {
		conf  string
		files []map[string]string
		want  string // "" if nothing is wrong
	}{
		"built-in":              {"", nil, ""},
		"no definition":         {"", []map[string]string{{"mkosi.repart/README": "text"}}, "there is no partition definition"},
		"wrong definition":      {"", []map[string]string{{"mkosi.repart/1.conf": "[Partition]\nType=rot\n"}}, "1.conf:2"},
		"signed":                {"", []map[string]string{triple, pair}, ""},
		"signature without key": {"", []map[string]string{triple}, "mkosi genkey"},
		"hash":                  {"[Validation]\nVerity=hash\n", []map[string]string{triple}, ""},
		"defer":                 {"[Validation]\nVerity=defer\n", []map[string]string{triple}, ""},
		"signature disabled":    {"[Validation]\nVerity=no\n", []map[string]string{triple, pair}, "3.conf: there is nothing to put"},
		"nothing to sign":       {"[Validation]\nVerity=signed\n", []map[string]string{pair}, "needs a partition with Verity=signature"},
		"broken key":            {"", []map[string]string{triple, pair, {"mkosi.key": "x"}}, "mkosi.key"},
		"no ESP":                {"[Output]\nElTorito=yes\n", nil, "ElTorito=yes needs an EFI system partition"},
		"extension":             {"[Output]\nFormat=sysext\n", []map[string]string{{"mkosi.repart/1.conf": "nonsense"}}, ""},
		"own extension":         {"[Output]\nFormat=sysext\nRepartDirectories=own\n", []map[string]string{{"own/1.conf": "nonsense"}}, "1.conf:1"},
		"signed portable":       {"[Output]\nFormat=portable\n[Validation]\nVerity=signed\n", nil, "mkosi genkey"},
		"directory":             {"[Output]\nFormat=directory\n", []map[string]string{{"mkosi.repart/1.conf": "nonsense"}}, ""},
		"level":                 {"[Output]\nFormat=tar\nCompressOutput=xz\nCompressLevel=10\n", nil, "CompressLevel="},
		"variables":             {"[Build]\nEnvironment=SYSTEMD_REPART_OVERRIDE_FSTYPE_ROOT=erofs\n", nil, ""},
	} {
		files := map[string]string{"mkosi.conf": tt.conf}
		for _, more := range tt.files {
			for file, text := range more {
				files[file] = text
			}
		}
		err := Check(loadConf(t, files))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

func TestElTorito(t *testing.T) {
	img := loadConf(t, map[string]string{"mkosi.conf": "[Output]\nElToritoSystem=a\nElToritoVolume=b\nElToritoPublisher=c\n"})
	esp := definition(t, "[Partition]\nType=esp\n")
	root := definition(t, plainRoot)
	for _, tt := range []struct {
		value config.Feature
		bios  config.BiosBootloader
		esp   bool
		want  bool
	}{
		{config.Auto, "", true, true},
		{config.Auto, "", false, false},
		{config.Auto, config.BiosBootloaderGrub, true, false},
		{config.Enabled, config.BiosBootloaderGrub, true, true},
		{config.Disabled, "", true, false},
	} {
		img.ElTorito, img.BiosBootloader = tt.value, tt.bios
		defs := root
		if tt.esp {
			defs = append(esp, root...)
		}
		got, err := elTorito(img, defs)
		if err != nil || (got != nil) != tt.want {
			t.Errorf("%+v: %v, %v", tt, got, err)
		}
		if got != nil && (got.System != "a" || got.Volume != "b" || got.Publisher != "c") {
			t.Errorf("identifiers %+v", got)
		}
	}
	img.ElTorito, img.ElToritoVolume = config.Auto, strings.Repeat("x", 33)
	if _, err := elTorito(img, esp); err == nil || !strings.Contains(err.Error(), "ElToritoVolume=") {
		t.Errorf("long volume: %v", err)
	}
}

func TestPrograms(t *testing.T) {
	for _, tt := range []struct {
		conf string
		want []mkfs.Program
	}{
		{"", []mkfs.Program{{Name: "mke2fs", Package: "e2fsprogs", Purpose: "Format=ext4"}}},
		{"[Build]\nEnvironment=SYSTEMD_REPART_OVERRIDE_FSTYPE_ROOT=btrfs\n", []mkfs.Program{{Name: "mkfs.btrfs", Package: "btrfs-progs", Purpose: "Format=btrfs"}}},
		{"[Build]\nEnvironment=SYSTEMD_REPART_OVERRIDE_FSTYPE=erofs\n", nil},
		{"[Output]\nFormat=sysext\n", nil},
		{"[Output]\nFormat=cpio\n", nil},
	} {
		if diff := cmp.Diff(tt.want, Programs(loadConf(t, map[string]string{"mkosi.conf": tt.conf}))); diff != "" {
			t.Errorf("%q: %s", tt.conf, diff)
		}
	}
}

// The passphrase is what the file holds, byte by byte.
func TestReadPassphrase(t *testing.T) {
	defs := definition(t, plainRoot)
	defs[0].Encrypt = "key-file"
	p := &imagePlan{}
	p.Definitions = defs
	path := filepath.Join(t.TempDir(), "passphrase")
	var warnings []string
	w := &packer{Request: Request{Image: &config.Image{Passphrase: path}, Warn: func(s string) { warnings = append(warnings, s) }}}
	for text, want := range map[string]struct {
		ok       bool
		warnings int
	}{"secret": {true, 0}, "secret\n": {true, 1}, "": {false, 0}} {
		warnings = nil
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := p.readPassphrase(w)
		if (err == nil) != want.ok || want.ok && string(b) != text || len(warnings) != want.warnings {
			t.Errorf("%q: got %q, %v, warnings %q", text, b, err, warnings)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the passphrase is in %v", err)
		}
	}
	if err := p.checkPassphrase(&config.Image{}); err == nil || !strings.Contains(err.Error(), "Passphrase=") {
		t.Errorf("no passphrase: %v", err)
	}
	if err := p.checkPassphrase(&config.Image{Passphrase: path + "x"}); err == nil {
		t.Error("a passphrase that does not exist was accepted")
	}
	p.Definitions[0].KeyFile = "/key"
	if err := p.checkPassphrase(&config.Image{}); err != nil {
		t.Errorf("a partition with a key of its own: %v", err)
	}
}
