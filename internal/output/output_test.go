package output

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/config"
)

// request returns a request for an image of a tree with one file.
func request(t *testing.T, img config.Image) Request {
	t.Helper()
	dir := t.TempDir()
	r := Request{Image: &img, Root: filepath.Join(dir, "root"), Dir: filepath.Join(dir, "outputs"), TempDir: filepath.Join(dir, "temporary"), FileMode: 0o644, OwnsRoot: true, IgnoreOwners: true}
	for _, d := range []string{r.Root, r.Dir, r.TempDir} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(r.Root, "file"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWrite(t *testing.T) {
	mode := func(m uint32) *uint32 { return &m }
	for _, test := range []struct {
		name  string
		img   config.Image
		names []string
		mode  fs.FileMode
	}{
		{"directory", config.Image{Format: config.FormatDirectory, Output: "base"}, []string{"base"}, 0o755},
		{"directory keeps its mode", config.Image{Format: config.FormatDirectory, Output: "base", OutputMode: mode(0o700)}, []string{"base"}, 0o755},
		{"directory with extension", config.Image{Format: config.FormatDirectory, Output: "base", OutputExtension: "d"}, []string{"base.d", "base"}, 0o755},
		{"cpio", config.Image{Format: config.FormatCPIO, Output: "initrd", OutputExtension: "cpio", CompressOutput: config.CompressionNone},
			[]string{"initrd.cpio", "initrd"}, 0o644},
		{"compressed", config.Image{Format: config.FormatCPIO, Output: "initrd", OutputExtension: "cpio", CompressOutput: config.CompressionZstd, CompressLevel: 3, OutputMode: mode(0o640)},
			[]string{"initrd.cpio.zst", "initrd"}, 0o640},
		{"no extension", config.Image{Format: config.FormatCPIO, Output: "initrd", CompressOutput: config.CompressionNone}, []string{"initrd"}, 0o644},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := request(t, test.img)
			result, err := Write(t.Context(), r)
			if err != nil || !slices.Equal(result.Names, test.names) {
				t.Fatalf("got %+v, %v, want %v", result, err, test.names)
			}
			names := result.Names
			fi, err := os.Lstat(filepath.Join(r.Dir, names[0]))
			if err != nil || fi.Mode().Perm() != test.mode {
				t.Errorf("%s: %v, %v, want mode %v", names[0], fi, err, test.mode)
			}
			for _, link := range names[1:] {
				if target, err := os.Readlink(filepath.Join(r.Dir, link)); err != nil || target != names[0] {
					t.Errorf("%s points to %q (%v)", link, target, err)
				}
			}
		})
	}
}

// What cannot be written is refused, and nothing is left in its place.
func TestWriteRefuses(t *testing.T) {
	for _, test := range []struct {
		img  config.Image
		want string
	}{
		{config.Image{Format: config.FormatOCI, Output: "image"}, "format oci is not supported yet"},
		{config.Image{Format: config.FormatCPIO, Output: "image", CompressOutput: config.CompressionLZ4}, "CompressOutput=lz4 is not supported"},
		{config.Image{Format: config.FormatSysext, Output: "image", Architecture: "x86-64", Verity: config.VeritySigned}, "genkey"},
		{config.Image{Format: config.FormatPortable, Output: "image", Architecture: "x86-64", Verity: config.VerityAuto}, "os-release"},
	} {
		r := request(t, test.img)
		result, err := Write(t.Context(), r)
		if err == nil || !strings.Contains(err.Error(), test.want) || result != nil {
			t.Errorf("%s: got %v, %v", test.img.Format, result, err)
		}
	}
}

// A kernel is split off of a tree that becomes the output itself.
func TestSplitKernelOfDirectory(t *testing.T) {
	r := request(t, config.Image{Format: config.FormatDirectory, Output: "image", SplitArtifacts: []config.Artifact{config.ArtifactKernel, config.ArtifactInitrd}})
	r.OwnsRoot = true
	kernel := filepath.Join(r.Root, "vmlinuz")
	if err := os.WriteFile(kernel, []byte("kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.Boot = func(context.Context, BootInput) (*BootFiles, error) {
		return &BootFiles{Kernel: kernel, Initrds: []string{kernel, kernel}}, nil
	}
	if _, err := Write(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"image.vmlinuz": "kernel", "image.initrd": "kernel\x00\x00kernel"} {
		if b, err := os.ReadFile(filepath.Join(r.Dir, name)); err != nil || string(b) != want {
			t.Errorf("%s: got %q, %v", name, b, err)
		}
	}
}

// An extension is signed with a key, and without one has hashes only when asked for.
func TestExtensionPartitions(t *testing.T) {
	for _, test := range []struct {
		verity config.Verity
		want   int
	}{{config.VerityAuto, 1}, {config.VerityDisabled, 1}, {config.VerityHash, 2}, {config.VerityDefer, 3}} {
		r := request(t, config.Image{Format: config.FormatSysext, Output: "image", Architecture: "x86-64", Verity: test.verity})
		plan, err := planImage(r.Image, nil)
		if err != nil || len(plan.Definitions) != test.want {
			t.Errorf("Verity=%s: got %+v, %v, want %d partitions", test.verity, plan, err, test.want)
		}
	}
}

// A script has left a link where the output goes. It is not followed.
func TestWriteFollowsNoLink(t *testing.T) {
	for _, img := range []config.Image{
		{Format: config.FormatDirectory, Output: "image"},
		{Format: config.FormatCPIO, Output: "image", CompressOutput: config.CompressionNone},
		{Format: config.FormatDisk, Output: "image", Architecture: "x86-64"},
		{Format: config.FormatSysext, Output: "image", Architecture: "x86-64"},
	} {
		r := request(t, img)
		outside := t.TempDir()
		victim := filepath.Join(outside, "victim")
		if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		target := victim
		if img.Format == config.FormatDirectory {
			target, r.OwnsRoot = outside, false
		}
		if err := os.Symlink(target, filepath.Join(r.Dir, img.OutputName())); err != nil {
			t.Fatal(err)
		}
		if _, err := Write(t.Context(), r); err == nil || !strings.Contains(err.Error(), "$OUTPUTDIR") {
			t.Errorf("%s: got %v", img.Format, err)
		}
		entries, err := os.ReadDir(outside)
		if err != nil || len(entries) != 1 {
			t.Errorf("%s: outside there are %v, %v", img.Format, entries, err)
		}
		fi, err := os.Stat(victim)
		if err != nil || fi.Size() != int64(len("precious")) || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: the link was followed: %v, %v", img.Format, fi, err)
		}
	}
}
