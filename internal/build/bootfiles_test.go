package build

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/efi/pe/petest"
	"github.com/mkosi-go/mkosi/internal/keys"
	"github.com/mkosi-go/mkosi/internal/output"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// efiProgram is a program for firmware that holds a text.
func efiProgram(text string) string {
	return string(petest.Program(petest.Section{Name: ".text", Text: text}, petest.Section{Name: ".sbat", Text: "sbat,1\n"}))
}

// prebuilt is a unified kernel image that holds a text.
func prebuilt(text string) string {
	return string(petest.Program(petest.Section{Name: ".osrel", Text: "ID=tiny\n"}, petest.Section{Name: ".linux", Text: text}))
}

// What trees to boot are made of.
const (
	bootStub    = stubDir + "/linuxx64.efi.stub"
	systemdBoot = stubDir + "/systemd-bootx64.efi"
)

// bootTree is a tree with a kernel, and all that starts it but shim, as changed: an empty text removes a file.
func bootTree(t *testing.T, changes map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{
		"etc/os-release":              "ID=tiny\n",
		"boot/.keep":                  ".",
		"efi/.keep":                   ".",
		bootStub:                      efiProgram("stub"),
		systemdBoot:                   efiProgram("systemd-boot"),
		"usr/lib/modules/6.1/vmlinuz": efiProgram("kernel 6.1"),
	}
	for name, text := range changes {
		if files[name] = text; text == "" {
			delete(files, name)
		}
	}
	plant(t, root, files)
	return root
}

// bootImage is an image of a tree that says what it warns of.
func bootImage(t *testing.T, root string, img config.Image) (*image, *bytes.Buffer) {
	t.Helper()
	var said bytes.Buffer
	img.Architecture = config.ArchX86_64
	for _, v := range []struct {
		setting *string
		value   string
	}{{(*string)(&img.Format), string(config.FormatDirectory)}, {(*string)(&img.Bootloader), string(config.BootloaderSystemdBoot)},
		{(*string)(&img.UnifiedKernelImages), string(config.UKIAuto)}, {(*string)(&img.ShimBootloader), string(config.ShimNone)}} {
		if *v.setting == "" {
			*v.setting = v.value
		}
	}
	img.SignExpectedPcr = config.Disabled
	m := &image{Image: &img, b: &Builder{Config: &config.Config{Images: []*config.Image{&img}}, UI: ui.New(&said, ui.Options{})}, root: root, work: t.TempDir()}
	return m, &said
}

// makeBootable takes the steps that make an image bootable.
func (m *image) makeBootable(t *testing.T) (*output.BootFiles, error) {
	t.Helper()
	if err := m.installBootLoaders(t.Context()); err != nil {
		return nil, err
	}
	return m.makeBootFiles(t.Context(), output.BootInput{})
}

// bootPartition lists what is on the boot partition of a tree, and which program each begins with.
func bootPartition(t *testing.T, root string) (names []string) {
	t.Helper()
	for _, dir := range []string{"boot", "efi"} {
		err := fs.WalkDir(os.DirFS(root), dir, func(name string, d fs.DirEntry, err error) error {
			lower := strings.ToLower(name)
			if err == nil && !d.IsDir() && (strings.HasSuffix(lower, ".efi") || strings.HasSuffix(lower, "/vmlinuz") || strings.HasSuffix(lower, ".cfg") || strings.Contains(lower, "/entries/")) {
				names = append(names, name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// What is put onto the boot partition for the settings and the tree: all that makes it start, or nothing.
func TestMakeBootable(t *testing.T) {
	shim := map[string]string{"usr/lib/shim/shimx64.efi": efiProgram("shim"), "usr/lib/shim/mmx64.efi": efiProgram("mok")}
	const (
		first    = "efi/EFI/BOOT/BOOTX64.EFI"
		second   = "efi/EFI/BOOT/grubx64.EFI"
		own      = "efi/EFI/systemd/systemd-bootx64.efi"
		unified  = "boot/EFI/Linux/tiny-6.1.efi"
		mok      = "efi/EFI/BOOT/mmx64.efi"
		entry    = "boot/loader/entries/tiny-6.1.conf"
		separate = "boot/tiny/6.1/vmlinuz"
	)
	for _, tt := range []struct {
		name    string
		img     config.Image
		changes map[string]string
		want    []string
		says    string // a warning
		refuses string // or an error
	}{
		{"all", config.Image{Bootable: config.Enabled}, nil, []string{unified, first, own}, "", ""},
		{"shim", config.Image{ShimBootloader: config.ShimUnsigned}, shim, []string{unified, first, second, mok, own}, "", ""},
		{"no shim", config.Image{ShimBootloader: config.ShimSigned}, nil, []string{unified, first, own}, "without shim", ""},
		{"no shim, needed", config.Image{ShimBootloader: config.ShimSigned, Bootable: config.Enabled}, nil, nil, "", "no shim"},
		{"only shim", config.Image{ShimBootloader: config.ShimUnsigned}, map[string]string{
			systemdBoot: "", "usr/lib/shim/shimx64.efi": efiProgram("shim"), "usr/lib/shim/mmx64.efi": efiProgram("mok"),
		}, []string{unified}, "", ""},
		{"uki", config.Image{Bootloader: config.BootloaderUKI}, nil, []string{first}, "", ""},
		{"uki, no stub", config.Image{Bootloader: config.BootloaderUKI}, map[string]string{bootStub: ""}, nil, "", ""},
		{"uki, no stub, needed", config.Image{Bootloader: config.BootloaderUKI, Bootable: config.Enabled}, map[string]string{bootStub: ""}, nil, "", "no stub"},
		{"no stub, asked for", config.Image{UnifiedKernelImages: config.UKIUnsigned}, map[string]string{bootStub: ""}, nil, "", "no stub"},
		{"no stub", config.Image{}, map[string]string{bootStub: ""}, []string{entry, separate, first, own}, "", ""},
		{"no name", config.Image{}, map[string]string{"etc/os-release": "NAME=x\n"}, nil, "not made bootable", ""},
		{"no name, needed", config.Image{Bootable: config.Enabled}, map[string]string{"etc/os-release": "NAME=x\n"}, nil, "", "ImageId="},
		{"uki needs no name", config.Image{Bootloader: config.BootloaderUKI, Bootable: config.Enabled}, map[string]string{"etc/os-release": "NAME=x\n"}, []string{first}, "", ""},
		{"one name for two", config.Image{UnifiedKernelImageFormat: "fixed"}, map[string]string{"usr/lib/modules/6.2/vmlinuz": efiProgram("kernel 6.2")}, nil, "", "6.2 and 6.1 would both be called fixed.efi"},
		{"one name but for case", config.Image{}, map[string]string{
			"usr/lib/modules/6.1A/vmlinuz": efiProgram("A"), "usr/lib/modules/6.1a/vmlinuz": efiProgram("a"),
		}, nil, "", "would both be called tiny-6.1A.efi"},
		{"a name that FAT has not", config.Image{UnifiedKernelImageFormat: "a:b"}, nil, nil, "", `"a:b.efi"`},
		{"tries", config.Image{}, map[string]string{"etc/kernel/tries": "3\n"}, []string{"boot/EFI/Linux/tiny-6.1+3.efi", first, own}, "", ""},
		{"no tries", config.Image{}, map[string]string{"etc/kernel/tries": "3\n4"}, nil, "", `"3\n4" is no number`},
		{"addon", config.Image{Format: config.FormatAddon, Bootable: config.Enabled}, nil, nil, "", "no stub"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.img.Bootable == "" {
				tt.img.Bootable = config.Auto
			}
			root := bootTree(t, tt.changes)
			m, said := bootImage(t, root, tt.img)
			_, err := m.makeBootable(t)
			if tt.refuses != "" {
				if err == nil || !strings.Contains(err.Error(), tt.refuses) {
					t.Errorf("got %v, want %q", err, tt.refuses)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, bootPartition(t, root)); diff != "" {
				t.Errorf("want, got:\n%s", diff)
			}
			if warned := strings.Contains(said.String(), "warning"); warned != (tt.says != "") || !strings.Contains(said.String(), tt.says) {
				t.Errorf("said %q, want %q", said, tt.says)
			}
		})
	}
}

// An image for machines without UEFI firmware has its kernels for other boot loaders.
func TestMakeBootableWithoutEFI(t *testing.T) {
	root := bootTree(t, nil)
	m, _ := bootImage(t, root, config.Image{Bootable: config.Auto})
	m.Architecture = config.ArchS390X
	if _, err := m.makeBootable(t); err != nil {
		t.Fatal(err)
	}
	if want := []string{"boot/loader/entries/tiny-6.1.conf", "boot/tiny/6.1/vmlinuz"}; !slices.Equal(bootPartition(t, root), want) {
		t.Errorf("got %q", bootPartition(t, root))
	}
}

// Boot loaders called -signed start what the distribution has built, as it is, unless that is ruled out.
func TestMakeBootablePrebuilt(t *testing.T) {
	uki := map[string]string{
		systemdBoot + ".signed":                efiProgram("signed"),
		"usr/lib/modules/6.2/vmlinuz":          efiProgram("kernel 6.2"),
		"usr/lib/modules/6.1/vmlinuz-virt.efi": prebuilt("unified"),
	}
	only := map[string]string{systemdBoot + ".signed": efiProgram("signed"), "usr/lib/modules/6.1/vmlinuz": "", "usr/lib/modules/6.1/vmlinuz-virt.efi": prebuilt("unified")}
	none := map[string]string{systemdBoot + ".signed": efiProgram("signed")}
	sdBoot, asLoader := config.BootloaderSystemdBootSigned, config.BootloaderUKISigned
	for _, tt := range []struct {
		name    string
		img     config.Image
		changes map[string]string
		at      string // where the prebuilt one is; "" if there is none
		kernel  string // to be split off
		refuses string
	}{
		{"beside a newer kernel", config.Image{Bootloader: sdBoot}, uki, "boot/EFI/Linux/tiny-6.1.efi", "unified", ""},
		{"only", config.Image{Bootloader: sdBoot}, only, "boot/EFI/Linux/tiny-6.1.efi", "unified", ""},
		{"as the loader", config.Image{Bootloader: asLoader, UnifiedKernelImages: config.UKISigned}, uki, "efi/EFI/BOOT/BOOTX64.EFI", "unified", ""},
		{"built here", config.Image{Bootloader: asLoader, UnifiedKernelImages: config.UKIUnsigned}, uki, "", efiProgram("kernel 6.2"), ""},
		{"not signed", config.Image{Bootloader: config.BootloaderSystemdBoot}, uki, "", efiProgram("kernel 6.2"), ""},
		{"missing", config.Image{Bootloader: asLoader}, none, "", "", "UnifiedKernelImages=unsigned"},
		{"named", config.Image{Bootloader: sdBoot, UnifiedKernelImageFormat: "x-&k"}, only, "boot/EFI/Linux/x-6.1.efi", "unified", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := bootTree(t, tt.changes)
			tt.img.Bootable = config.Enabled
			m, _ := bootImage(t, root, tt.img)
			files, err := m.makeBootable(t)
			if tt.refuses != "" {
				if err == nil || !strings.Contains(err.Error(), tt.refuses) {
					t.Errorf("got %v, want %q", err, tt.refuses)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range bootPartition(t, root) {
				b, err := os.ReadFile(filepath.Join(root, name))
				if same := string(b) == prebuilt("unified"); err != nil || same != (name == tt.at) {
					t.Errorf("%s is the prebuilt one: %v, %v", name, same, err)
				}
			}
			split, err := os.ReadFile(files.UKI)
			if same := string(split) == prebuilt("unified"); err != nil || same != (tt.at != "") {
				t.Errorf("to be split off is the prebuilt one: %v, %v", same, err)
			}
			if kernel, err := os.ReadFile(files.Kernel); err != nil || string(kernel) != tt.kernel {
				t.Errorf("the kernel to be split off is %q, %v", kernel, err)
			}
		})
	}
	root := bootTree(t, only)
	if err := os.Remove(filepath.Join(root, "usr/lib/modules/6.1/vmlinuz-virt.efi")); err != nil {
		t.Fatal(err)
	}
	m, _ := bootImage(t, root, config.Image{Bootloader: sdBoot, Bootable: config.Auto})
	if files, err := m.makeBootable(t); err != nil || files != nil || len(bootPartition(t, root)) > 0 {
		t.Errorf("with Bootable=auto and without any: got %v, %v, %q", files, err, bootPartition(t, root))
	}
}

// secureBootPair makes a key and its certificate and returns their paths.
func secureBootPair(t *testing.T) (key, cert string) {
	t.Helper()
	dir := t.TempDir()
	key, cert = filepath.Join(dir, "key"), filepath.Join(dir, "crt")
	keyPEM, certPEM, err := keys.Generate(keys.GenerateOptions{CommonName: "test", ValidDays: 1, Now: time.Unix(1700000000, 0)})
	if err == nil {
		err = keys.WriteFiles(key, cert, keyPEM, certPEM, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

// Kernels are signed whether they are compressed or not. One that cannot be is refused in a unified kernel image, which only
// firmware starts, and else left as it is.
func TestSignKernels(t *testing.T) {
	var compressed bytes.Buffer
	z := gzip.NewWriter(&compressed)
	if _, err := z.Write([]byte(efiProgram("kernel"))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	key, cert := secureBootPair(t)
	for _, tt := range []struct {
		name, kernel string
		img          config.Image
		signed       bool
		says         string
		refuses      string
	}{
		{"unified", efiProgram("kernel"), config.Image{}, true, "", ""},
		{"unified, compressed", compressed.String(), config.Image{}, true, "", ""},
		{"unified, none", "\x7fELF", config.Image{}, false, "", "kernel 6.1: signing for Secure Boot: signing a program: not a program"},
		{"type 1", efiProgram("kernel"), config.Image{UnifiedKernelImages: config.UKINone}, true, "", ""},
		{"type 1, compressed", compressed.String(), config.Image{UnifiedKernelImages: config.UKINone}, false, "not signed", ""},
		{"type 1, none", "\x7fELF", config.Image{UnifiedKernelImages: config.UKINone}, false, "not signed", ""},
		{"type 1, not by us", efiProgram("kernel"), config.Image{UnifiedKernelImages: config.UKINone, Bootloader: config.BootloaderSystemdBootSigned}, false, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := bootTree(t, map[string]string{"usr/lib/modules/6.1/vmlinuz": tt.kernel, systemdBoot + ".signed": efiProgram("signed")})
			tt.img.Bootable, tt.img.SecureBoot, tt.img.SecureBootKey, tt.img.SecureBootCertificate = config.Enabled, true, key, cert
			m, said := bootImage(t, root, tt.img)
			files, err := m.makeBootable(t)
			if tt.refuses != "" {
				if err == nil || !strings.Contains(err.Error(), tt.refuses) {
					t.Errorf("got %v, want %q", err, tt.refuses)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			name := files.Kernel
			if m.UnifiedKernelImages == config.UKINone {
				name = filepath.Join(root, "boot/tiny/6.1/vmlinuz")
			}
			b, err := os.ReadFile(name)
			if signed := string(b) != tt.kernel && len(b) > len(efiProgram("kernel")); err != nil || signed != tt.signed {
				t.Errorf("signed: %v, %v", signed, err)
			}
			if tt.says != "" && !strings.Contains(said.String(), tt.says) {
				t.Errorf("said %q, want %q", said, tt.says)
			}
		})
	}
}
