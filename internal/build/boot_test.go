package build

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/efi/authenticode"
	"github.com/mkosi-go/mkosi/internal/efi/pe/petest"
	"github.com/mkosi-go/mkosi/internal/kernel"
	"github.com/mkosi-go/mkosi/internal/keys"
)

func TestBoots(t *testing.T) {
	for _, test := range []struct {
		img           config.Image
		boots, loader bool
	}{
		{config.Image{Format: config.FormatDisk, Bootable: config.Auto}, true, true},
		{config.Image{Format: config.FormatDisk, Bootable: config.Disabled}, false, false},
		{config.Image{Format: config.FormatCPIO, Bootable: config.Auto}, false, false},
		{config.Image{Format: config.FormatCPIO, Bootable: config.Enabled}, true, true},
		{config.Image{Format: config.FormatSysext, Bootable: config.Auto}, false, false},
		{config.Image{Format: config.FormatDirectory, Bootable: config.Auto, Overlay: true}, false, false},
		{config.Image{Format: config.FormatUKI, Bootable: config.Auto}, true, false},
		{config.Image{Format: config.FormatESP, Bootable: config.Disabled}, false, true},
	} {
		if boots(&test.img) != test.boots || usesBootLoader(&test.img) != test.loader {
			t.Errorf("%s with Bootable=%s: boots %v, boot loader %v", test.img.Format, test.img.Bootable, boots(&test.img), usesBootLoader(&test.img))
		}
	}
}

func partition(role repart.Role, id string, hash []byte) disk.Partition {
	return disk.Partition{Type: repart.PartitionType{Role: role}, UUID: uuid.MustParse(id), RootHash: hash}
}

// The root hash comes first, and what stands for the identifier of a partition is replaced by it.
func TestKernelCommandLine(t *testing.T) {
	const root, usr = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
	for name, test := range map[string]struct {
		words      []string
		partitions []disk.Partition
		want, hash string
	}{
		"plain":      {words: []string{"quiet"}, want: "quiet"},
		"root hash":  {[]string{"quiet"}, []disk.Partition{partition(repart.RoleRoot, root, []byte{0xab})}, "roothash=ab quiet", "ab"},
		"/usr hash":  {nil, []disk.Partition{partition(repart.RoleUsr, usr, []byte{0xcd})}, "usrhash=cd", "cd"},
		"identifier": {[]string{"root=PARTUUID", "rw"}, []disk.Partition{partition(repart.RoleRoot, root, nil)}, "root=PARTUUID=" + root + " rw", ""},
		"both": {[]string{"root=PARTUUID", "mount.usr=PARTUUID"},
			[]disk.Partition{partition(repart.RoleRoot, root, nil), partition(repart.RoleUsr, usr, nil)},
			"root=PARTUUID=" + root + " mount.usr=PARTUUID=" + usr, ""},
	} {
		m := &image{Image: &config.Image{KernelCommandLine: test.words}}
		words, hash, err := m.kernelCommandLine(test.partitions)
		if err != nil || strings.Join(words, " ") != test.want || hash != test.hash {
			t.Errorf("%s: got %q, %q, %v", name, words, hash, err)
		}
	}
	m := &image{Image: &config.Image{KernelCommandLine: []string{"root=PARTUUID"}}}
	if _, _, err := m.kernelCommandLine(nil); err == nil {
		t.Error("a partition that is not there was found")
	}
}

func TestRootOption(t *testing.T) {
	const id = "00000000-0000-0000-0000-000000000001"
	partitions := []disk.Partition{partition(repart.RoleESP, id, nil), partition(repart.RoleRoot, id, nil)}
	for words, want := range map[string]string{"quiet": "root=PARTUUID=" + id, "root=LABEL=x": "", "roothash=ab": "", "": "root=PARTUUID=" + id} {
		if got := rootOption(strings.Fields(words), partitions); got != want {
			t.Errorf("%q: got %q, want %q", words, got, want)
		}
	}
	if got := rootOption(nil, nil); got != "" {
		t.Errorf("without partitions: got %q", got)
	}
}

func TestUKIPath(t *testing.T) {
	for _, test := range []struct{ format, hash, tries, want string }{
		{"", "", "", "token-6.1.efi"},
		{"", "ab", "", "token-6.1-ab.efi"},
		{"", "ab", "3", "token-6.1-ab+3.efi"},
		{"x&e&&-&k-&h&z", "", "", "xtoken&-6.1-&z.efi"},
		{"../&k", "", "", "6.1.efi"},
	} {
		m := &image{Image: &config.Image{UnifiedKernelImageFormat: test.format}}
		if got := m.ukiPath(kernel.Kernel{Version: "6.1"}, "token", test.hash, test.tries); got != "boot/EFI/Linux/"+test.want {
			t.Errorf("%q: got %s", test.format, got)
		}
	}
}

func TestUKITexts(t *testing.T) {
	if got := commandLine([]string{"a", "b c"}); got != "a b c\x00" {
		t.Errorf("command line: got %q", got)
	}
	if got := commandLine(nil); got != "" {
		t.Errorf("no command line: got %q", got)
	}
	fields := map[string]string{"TITLE": "Emergency boot", "ID": "emergency", "A": "b", "B": `a"$b`, "C": "", "D": "@%+=:,./-_", "E": "a;b"}
	if got, want := profileText(fields), "ID=emergency\nA=b\nB=\"a\\\"\\$b\"\nC=\nD=@%+=:,./-_\nE=\"a;b\"\nTITLE=\"Emergency boot\"\n"; got != want {
		t.Errorf("profile: got %q, want %q", got, want)
	}
}

// A kernel that is a link is that of the tree, wherever the link says it is, and one that is too large is none.
func TestCopyKernel(t *testing.T) {
	m := &image{root: t.TempDir(), work: t.TempDir()}
	outside := filepath.Join(t.TempDir(), "outside")
	err := errors.Join(os.Mkdir(filepath.Join(m.root, "boot"), 0o755), os.WriteFile(filepath.Join(m.root, "boot/vmlinuz-1"), []byte("kernel"), 0o644),
		os.WriteFile(outside, []byte("secret"), 0o600), os.Symlink("/boot/vmlinuz-1", filepath.Join(m.root, "inside")), os.Symlink(outside, filepath.Join(m.root, "outside")))
	if err != nil {
		t.Fatal(err)
	}
	file, err := m.copyKernel(kernel.Kernel{Version: "1", Image: "inside"})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "kernel" {
		t.Errorf("got %q, %v", b, err)
	}
	if file, err := m.copyKernel(kernel.Kernel{Version: "2", Image: "outside"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("outside of the tree: got %q, %v", file, err)
	}
	sparse := filepath.Join(m.root, "boot/vmlinuz-3")
	if err := errors.Join(os.WriteFile(sparse, nil, 0o644), os.Truncate(sparse, maxBootProgram+1)); err != nil {
		t.Fatal(err)
	}
	if file, err := m.copyKernel(kernel.Kernel{Version: "3", Image: "boot/vmlinuz-3"}); err == nil || !strings.Contains(err.Error(), "boot/vmlinuz-3 of the image has 1073741825 bytes") {
		t.Errorf("a kernel of nothing but holes: got %q, %v", file, err)
	}
}

// What scripts leave for the boot is taken in the order of the names, and nothing else is.
func TestArtifacts(t *testing.T) {
	m := &image{work: t.TempDir()}
	if files, err := m.artifacts("io.mkosi.initrd"); err != nil || files != nil {
		t.Errorf("got %v, %v", files, err)
	}
	dir := filepath.Join(m.work, artifactsDir, "io.mkosi.initrd")
	if err := os.MkdirAll(filepath.Join(dir, "directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "a"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	files, err := m.artifacts("io.mkosi.initrd")
	if want := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}; err != nil || !slices.Equal(files, want) {
		t.Errorf("got %v, %v", files, err)
	}
}

// Programs are signed with the key of the image, and the enrolments carry the names of variables.
func TestSecureBootKeys(t *testing.T) {
	dir := t.TempDir()
	key, cert := filepath.Join(dir, "key"), filepath.Join(dir, "crt")
	keyPEM, certPEM, err := keys.Generate(keys.GenerateOptions{CommonName: "test", ValidDays: 1, Now: time.Unix(1700000000, 0)})
	if err == nil {
		err = keys.WriteFiles(key, cert, keyPEM, certPEM, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	epoch := int64(1700000000)
	m := &image{Image: &config.Image{SecureBootKey: key, SecureBootCertificate: cert, SourceDateEpoch: &epoch}}
	program := petest.Program(petest.Section{Name: ".text", Text: "text"})
	signed, err := m.signProgram(t.Context(), program)
	if err != nil {
		t.Fatal(err)
	}
	signatures, err := authenticode.List(bytes.NewReader(signed), int64(len(signed)))
	if err != nil || len(signatures) != 1 {
		t.Errorf("got %d signatures, %v", len(signatures), err)
	}
	files, err := m.enrolments(t.Context())
	if err != nil || !slices.Equal(sortedKeys(files), []string{"KEK", "PK", "db"}) {
		t.Errorf("got %v, %v", sortedKeys(files), err)
	}
	m = &image{Image: &config.Image{SecureBootKey: filepath.Join(dir, "none"), SecureBootCertificate: cert}}
	if _, err := m.signProgram(t.Context(), program); err == nil {
		t.Error("a key that is not there was used")
	}
}
