package build

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/config"
)

// namesIn lists a directory; one that does not exist has nothing.
func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestCleanOutputs(t *testing.T) {
	for _, test := range []struct {
		name string
		img  config.Image
		// files are in the output directory, left is what stays.
		files, left []string
	}{
		{
			name: "directory",
			img:  config.Image{Format: config.FormatDirectory},
			files: []string{
				"image", "image.manifest", "image.SHA256SUMS", "image.SHA256SUMS.gpg", "image.vmlinuz", "image.initrd", "image.efi",
				"image.changelog", "image.nspawn", "image.osrelease", "image.pcrs", "image.roothash", "image.console.log", "image.journal.log",
				"SHA256SUMS", "image.raw", "image.raw.zst", "image.tar.gz", "image.foo", "image.root.raw", "image2", "imag", "image_1",
			},
			left: []string{"SHA256SUMS", "imag", "image.foo", "image.raw", "image.raw.zst", "image.root.raw", "image.tar.gz", "image2", "image_1"},
		},
		{
			name:  "compressed",
			img:   config.Image{Format: config.FormatTar, OutputExtension: "tar", CompressOutput: config.CompressionZstd},
			files: []string{"image", "image.tar", "image.tar.zst", "image.tar.gz", "image.raw"},
			left:  []string{"image.raw", "image.tar.gz"},
		},
		{
			name: "partitions",
			img:  config.Image{Format: config.FormatDisk, Architecture: "x86-64", OutputExtension: "raw", CompressOutput: config.CompressionXZ},
			files: []string{"image", "image.raw", "image.raw.xz", "image.root-x86-64.raw", "image.root-x86-64.raw.xz", "image.repart.d/10-root.conf",
				"image.tar.xz", "image.roothash", "image.home.raw", "image.root-x86-64.raw.zst"},
			left: []string{"image.home.raw", "image.root-x86-64.raw.zst"},
		},
		{
			name:  "none",
			img:   config.Image{Format: config.FormatNone},
			files: []string{"image", "image.manifest"},
			left:  []string{"image", "image.manifest"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range test.files {
				writeTestFile(t, filepath.Join(dir, name), "")
			}
			img := test.img
			img.Image, img.Output, img.OutputDirectory = "main", "image", dir
			b := &Builder{Config: &config.Config{Dir: dir, Images: []*config.Image{&img}}, UI: quietUI()}
			if err := b.Clean(t.Context(), Cleaning{Outputs: true}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.left, namesIn(t, dir)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// An image may have the name of what would lie beside another's output.
func TestCleanOutputOfAnotherImage(t *testing.T) {
	dir := t.TempDir()
	one := &config.Image{Image: "one", Output: "image", Format: config.FormatDirectory, OutputDirectory: dir}
	two := &config.Image{Image: "two", Output: "image.efi", Format: config.FormatDirectory, OutputDirectory: dir}
	writeTestFile(t, filepath.Join(dir, "image/file"), "")
	writeTestFile(t, filepath.Join(dir, "image.efi/file"), "")
	b := &Builder{Config: &config.Config{Dir: dir, Images: []*config.Image{one, two}}, UI: quietUI()}
	if err := b.clean(t.Context(), one, Cleaning{Outputs: true}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"image.efi"}, namesIn(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// The build directory itself stays: mkosi.builddir is used because it exists.
func TestCleanBuildDirectory(t *testing.T) {
	for _, key := range []string{"-", "&d~&a"} {
		dir := t.TempDir()
		img := &config.Image{Image: "main", Output: "image", Format: config.FormatDirectory, Distribution: "debian", Architecture: "x86-64",
			BuildDirectory: dir, BuildKey: key, OutputDirectory: filepath.Join(dir, "out")}
		b := &Builder{Config: &config.Config{Dir: dir, Images: []*config.Image{img}}, UI: quietUI()}
		writeTestFile(t, filepath.Join(img.BuildSubdirectory(), "objects/main.o"), "")
		for range 2 {
			if err := b.Clean(t.Context(), Cleaning{BuildDir: true}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := os.Stat(img.BuildSubdirectory()); err != nil {
			t.Errorf("BuildKey=%s: %v", key, err)
		}
		if left := namesIn(t, img.BuildSubdirectory()); len(left) > 0 {
			t.Errorf("BuildKey=%s: %v is left", key, left)
		}
	}
}

// TestCleanBefore tells what each option of a build removes before it begins.
func TestCleanBefore(t *testing.T) {
	type left struct{ Output, Build, System bool }
	for _, test := range []struct {
		name    string
		options config.Options
		want    left
	}{
		{"nothing", config.Options{}, left{true, true, true}},
		{"-f", config.Options{Force: 1}, left{true, true, true}},
		{"-ff", config.Options{Force: 2}, left{true, false, false}},
		{"-w", config.Options{WipeBuildDir: true}, left{true, false, true}},
		{"-fw", config.Options{Force: 1, WipeBuildDir: true}, left{true, false, true}},
		{"-R", config.Options{RerunBuildScripts: true}, left{true, true, true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := layered(t)
			img := cfg.Main()
			img.BuildDirectory, img.BuildKey = filepath.Join(cfg.Dir, "build"), "-"
			keep(t, cfg)
			object := filepath.Join(img.BuildDirectory, "main.o")
			writeTestFile(t, object, "")
			writeTestFile(t, img.OutputPath(cfg.Dir), "")
			cfg.Options = test.options
			b := &Builder{Config: cfg, UI: quietUI()}
			plan := &Plan{Jobs: []*Job{{Image: img}}}
			if err := b.findCached(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			if err := b.cleanBefore(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			missing, err := (&image{Image: img, b: &Builder{Config: cfg}}).missingLayers(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := left{pathExists(img.OutputPath(cfg.Dir)), pathExists(object), len(missing) == 0}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A build that must find everything in the cache fails before anything is removed or run.
func TestFindCachedStrict(t *testing.T) {
	find := func(cfg *config.Config) error {
		b := &Builder{Config: cfg, UI: quietUI()}
		return b.findCached(t.Context(), &Plan{Jobs: []*Job{{Image: cfg.Main()}}})
	}
	wantStale := func(what string, err error) {
		t.Helper()
		var stale *staleError
		if !errors.As(err, &stale) {
			t.Errorf("%s: %v, want that the cached image cannot be used", what, err)
		}
	}
	cfg := layered(t)
	if err := find(cfg); err != nil {
		t.Errorf("Incremental=yes without a cached image: %v", err)
	}
	cfg.Options.RerunBuildScripts = true
	wantStale("--rerun-build-scripts", find(cfg))
	cfg.Options.RerunBuildScripts = false
	cfg.Main().Incremental = config.IncrementalStrict
	wantStale("without a cached image", find(cfg))
	keep(t, cfg)
	if err := find(cfg); err != nil {
		t.Errorf("with a cached image: %v", err)
	}
	cfg.Options.Force = 2
	wantStale("with --force twice", find(cfg))
}

// What scripts leave among the outputs must not become configuration.
func TestCheckOutput(t *testing.T) {
	img := &config.Image{Image: "main", Output: "mkosi.image", Format: config.FormatDisk, OutputExtension: "raw"}
	m := &image{Image: img, b: &Builder{Config: &config.Config{Dir: "/project"}}}
	for _, test := range []struct {
		dir, name string
		ok        bool
	}{
		{"/project", "SHA256SUMS", true},
		{"/project", "mkosi.image.raw", true},
		{"/project", "mkosi.conf", false},
		{"/project", ".git", false},
		{"/project/out", "mkosi.conf", true},
	} {
		if err := m.checkOutput(test.dir, test.name); (err == nil) != test.ok {
			t.Errorf("%s in %s: %v", test.name, test.dir, err)
		}
	}
}
