package build

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/script"
)

// With BuildSourcesEphemeral=buildcache, changes are kept where build scripts can put a link. It is not followed.
func TestKeptSourcesFollowNoLink(t *testing.T) {
	for _, suffix := range []string{"", workSuffix} {
		dir := t.TempDir()
		m := &image{Image: &config.Image{
			BuildDirectory:        filepath.Join(dir, "build"),
			BuildSources:          []config.Tree{{Source: filepath.Join(dir, "src")}},
			BuildSourcesEphemeral: config.BuildSourcesEphemeralBuildcache,
		}}
		if _, err := m.openSources(script.Build); err != nil {
			t.Fatal(err)
		}
		kept := filepath.Join(m.BuildSubdirectory(), keptSources+"src"+suffix)
		if err := os.Remove(kept); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(t.TempDir(), kept); err != nil {
			t.Fatal(err)
		}
		if _, err := m.openSources(script.Build); err == nil {
			t.Errorf("changes would go to where %s leads", kept)
		}
	}
}

// What scripts leave as packages has to be files.
func TestCheckBuiltPackages(t *testing.T) {
	for name, leave := range map[string]func(path string) error{
		"pipe":      func(path string) error { return unix.Mkfifo(path, 0o600) },
		"link":      func(path string) error { return os.Symlink("/etc/passwd", path) },
		"directory": func(path string) error { return os.Mkdir(path, 0o755) },
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "good.deb"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := checkBuiltPackages(dir); err != nil {
			t.Errorf("a file: %v", err)
		}
		if err := leave(filepath.Join(dir, "bad.deb")); err != nil {
			t.Fatal(err)
		}
		if err := checkBuiltPackages(dir); err == nil {
			t.Errorf("a %s was taken for a package", name)
		}
	}
}
