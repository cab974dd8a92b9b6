package kernel

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// plant makes the files that lines name below a new directory: "dir/" is a
// directory, "a -> b" a link, "a | text" a file with that content, "a" one that
// holds its own path. Parents are made as needed, and all times are one.
func plant(t testing.TB, lines ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, line := range lines {
		name, target, isLink := strings.Cut(line, " -> ")
		name, content, hasContent := strings.Cut(name, " | ")
		if !hasContent {
			content = name
		}
		p := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		switch {
		case isLink:
			must(t, os.Symlink(target, p))
		case strings.HasSuffix(name, "/"):
			must(t, os.MkdirAll(p, 0o755))
		default:
			must(t, os.WriteFile(p, []byte(content), 0o644))
			must(t, os.Chtimes(p, plantTime, plantTime))
		}
	}
	return root
}

var plantTime = time.Unix(1e9, 0)

func TestFind(t *testing.T) {
	root := plant(t,
		"usr/lib/modules/6.9.0/vmlinuz",
		"usr/lib/modules/6.12.0/vmlinuz",
		"usr/lib/modules/6.12.0/vmlinux",
		"usr/lib/modules/6.12.0~rc1/vmlinux",
		"usr/lib/modules/6.13.0/kernel/",
		"usr/lib/modules/6.14.0/vmlinuz/",
		"usr/lib/modules/6.15.0 x/vmlinuz",
		"usr/lib/modules/.old/vmlinuz",
		"usr/lib/modules/7.0.0/vmlinuz -> /boot/image",
		"usr/lib/modules/7.1.0/vmlinuz -> /etc/passwd-of-nobody",
		"usr/lib/modules/7.2.0 -> 7.0.0",
		"usr/lib/modules/README",
		"boot/image",
	)
	got, err := Find(root)
	must(t, err)
	want := []Kernel{
		{"7.0.0", "usr/lib/modules/7.0.0/vmlinuz"},
		{"6.12.0", "usr/lib/modules/6.12.0/vmlinuz"},
		{"6.12.0~rc1", "usr/lib/modules/6.12.0~rc1/vmlinux"},
		{"6.9.0", "usr/lib/modules/6.9.0/vmlinuz"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := Find(t.TempDir()); err != nil || len(got) != 0 {
		t.Errorf("an empty tree has %v (%v)", got, err)
	}
}

func TestGatherImages(t *testing.T) {
	root := plant(t,
		"usr/lib/modules/1/kernel/",
		"boot/vmlinuz-1",
		"usr/lib/modules/2/vmlinuz | own",
		"boot/vmlinuz-2",
		"usr/lib/modules/3/kernel/",
		"boot/vmlinuz-3 -> ../../../../boot/vmlinuz-1",
		"usr/lib/modules/4/kernel/",
		"boot/vmlinuz-5",
	)
	must(t, os.Chmod(filepath.Join(root, "boot/vmlinuz-1"), 0o600))
	made, err := GatherImages(t.Context(), root)
	must(t, err)
	if diff := cmp.Diff([]string{"usr/lib/modules/3/vmlinuz", "usr/lib/modules/1/vmlinuz"}, made); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{"1": "boot/vmlinuz-1", "2": "own", "3": "boot/vmlinuz-1"} {
		p := filepath.Join(root, "usr/lib/modules", name, "vmlinuz")
		b, err := os.ReadFile(p)
		must(t, err)
		fi, err := os.Stat(p)
		must(t, err)
		if string(b) != want || !fi.ModTime().Equal(plantTime) {
			t.Errorf("%s holds %q of %v", p, b, fi.ModTime())
		}
		if name == "1" && fi.Mode() != 0o600 {
			t.Errorf("%s has mode %v", p, fi.Mode())
		}
	}
	if made, err := GatherImages(t.Context(), root); err != nil || len(made) != 0 {
		t.Errorf("a second time makes %v (%v)", made, err)
	}
}
