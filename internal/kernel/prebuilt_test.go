package kernel

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/efi/pe/petest"
)

// Only what has both a kernel and an os-release file is a unified kernel image, whatever it is called.
func TestFindPrebuilt(t *testing.T) {
	root := plant(t,
		"usr/lib/modules/7.0/vmlinuz",
		"usr/lib/modules/7.0/vmlinuz-text.efi",
		"usr/lib/modules/7.0/vmlinuz-dir.efi/",
		"usr/lib/modules/7.0/vmlinuz-virt.efi -> /etc/passwd-of-nobody",
		"usr/lib/modules/6.2/vmlinuz.efi -> /usr/share/uki",
	)
	uki := string(petest.Program(petest.Section{Name: ".osrel", Text: "ID=x"}, petest.Section{Name: ".linux", Text: "kernel"}))
	for name, content := range map[string]string{
		"usr/share/uki":                      uki,
		"usr/lib/modules/6.10/vmlinuz-b.efi": uki,
		"usr/lib/modules/6.10/vmlinuz-a.efi": uki,
		"usr/lib/modules/6.10/vmlinuz-0.efi": "no program",
		"usr/lib/modules/6.9/vmlinuz.efi":    string(petest.Program(petest.Section{Name: ".osrel", Text: "ID=x"})),
		"usr/lib/modules/6.8/vmlinuz.efi":    string(petest.Program(petest.Section{Name: ".linux", Text: "kernel"})),
		"usr/lib/modules/6.7/uki.efi":        uki,
		"usr/lib/modules/6.6/vmlinuz.EFI":    uki,
		"boot/vmlinuz-6.5.efi":               uki,
	} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(root, name), []byte(content), 0o644))
	}
	got, err := FindPrebuilt(root)
	must(t, err)
	want := []Kernel{
		{Version: "6.10", Image: "usr/lib/modules/6.10/vmlinuz-a.efi"},
		{Version: "6.2", Image: "usr/lib/modules/6.2/vmlinuz.efi"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want, got:\n%s", diff)
	}
	if got, err := FindPrebuilt(t.TempDir()); err != nil || got != nil {
		t.Errorf("in an empty tree: got %v, %v", got, err)
	}
}
