package output

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/host"
)

// writeFiles makes files and their directories below dir.
func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLayers(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"a/10.conf": "a", "a/10.conf.d/x.conf": "ax", "a/README": "text",
		"b/10.conf": "b", "b/10.conf.d/y.conf": "by", "b/20.conf": "b",
	})
	l := directories([]string{filepath.Join(dir, "a"), filepath.Join(dir, "b")})
	if err := fstest.TestFS(l, "10.conf", "10.conf.d/x.conf", "10.conf.d/y.conf", "20.conf", "README"); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{"10.conf": "a", "20.conf": "b", "10.conf.d/y.conf": "by"} {
		if b, err := fs.ReadFile(l, name); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v, want %q", name, b, err, want)
		}
	}
	missing := directories([]string{filepath.Join(dir, "c")})
	if _, err := fs.ReadDir(missing, "."); err == nil {
		t.Error("a directory that does not exist was read")
	}
}

// loadConf reads a configuration of one image.
func loadConf(t *testing.T, files map[string]string, args ...string) *config.Image {
	t.Helper()
	dir := t.TempDir()
	writeFiles(t, dir, files)
	c, err := config.Load(t.Context(), config.LoadOptions{
		Args: args, Dir: dir,
		Host: host.Facts{Distribution: "debian", VersionID: "12", Codename: "bookworm", Architecture: "x86-64", CPUs: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c.Main()
}

const plainRoot = "[Partition]\nType=root\nFormat=erofs\nCopyFiles=/\nMinimize=best\n"

// An extension has partitions of its own unless directories are named explicitly.
func TestExplicitDirectories(t *testing.T) {
	files := map[string]string{"mkosi.repart/10.conf": plainRoot, "own/10.conf": plainRoot}
	for conf, want := range map[string]struct {
		dirs  []string
		found bool
	}{
		"":                               {nil, true},
		"RepartDirectories=own":          {[]string{"own"}, true},
		"RepartDirectories=mkosi.repart": {[]string{"mkosi.repart"}, true},
	} {
		files["mkosi.conf"] = "[Output]\n" + conf + "\n"
		img := loadConf(t, files)
		dirs, found := explicitDirectories(img)
		for i := range dirs {
			dirs[i] = filepath.Base(dirs[i])
		}
		if !slices.Equal(dirs, want.dirs) || found != want.found {
			t.Errorf("%q: %v, %t; all are %v", conf, dirs, found, img.RepartDirectories)
		}
	}
}

func TestDefinitionFiles(t *testing.T) {
	for _, tt := range []struct {
		img  config.Image
		want []string
	}{
		{config.Image{}, []string{"10-root.conf"}},
		{config.Image{Bootable: config.Enabled}, []string{"00-esp.conf", "10-root.conf"}},
		{config.Image{Bootable: config.Enabled, BiosBootloader: config.BiosBootloaderGrub}, []string{"00-esp.conf", "05-bios.conf", "10-root.conf"}},
	} {
		files, err := definitionFiles(&tt.img)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := fs.ReadDir(files, ".")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, e.Name())
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("Bootable=%s: %s", tt.img.Bootable, diff)
		}
	}
}

// definition reads one definition.
func definition(t *testing.T, text string) []repart.Definition {
	t.Helper()
	defs, err := repart.ParseDefinitions(fstest.MapFS{"1.conf": {Data: []byte(text)}}, "x86-64")
	if err != nil {
		t.Fatal(err)
	}
	return defs
}
