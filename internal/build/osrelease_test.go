package build

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/config"
)

// newTree makes a tree of files with the given contents; a name that ends in a slash is a directory.
func newTree(t *testing.T, files map[string]string) (*os.Root, string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if name[len(name)-1] == '/' {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, dir
}

func content(t *testing.T, root *os.Root, name string) string {
	t.Helper()
	b, err := root.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWriteOSRelease(t *testing.T) {
	root, _ := newTree(t, map[string]string{"usr/lib/os-release": "ID=debian\nIMAGE_ID=old\nVERSION_ID=\"13\""})
	img := &config.Image{ImageId: `a"b`, ImageVersion: "7", Hostname: "hh"}
	if err := writeOSRelease(root, img); err != nil {
		t.Fatal(err)
	}
	want := "ID=debian\nVERSION_ID=\"13\"\nIMAGE_ID=\"a\\\"b\"\nIMAGE_VERSION=\"7\"\nDEFAULT_HOSTNAME=\"hh\"\n"
	if diff := cmp.Diff(want, content(t, root, "usr/lib/os-release")); diff != "" {
		t.Error(diff)
	}
	fields, err := readOSRelease(root)
	if err != nil {
		t.Fatal(err)
	}
	if fields["IMAGE_ID"] != `a"b` || fields["VERSION_ID"] != "13" {
		t.Errorf("read back %v", fields)
	}
}

func TestWriteExtensionRelease(t *testing.T) {
	for _, tt := range []struct {
		name  string
		img   config.Image
		host  map[string]string
		files map[string]string
		path  string
		want  string
	}{
		{
			name: "on a base tree",
			img:  config.Image{Format: config.FormatSysext, Output: "btrfs", Architecture: "x86-64"},
			host: map[string]string{"ID": "debian", "VERSION_ID": "13"},
			path: "usr/lib/extension-release.d/extension-release.btrfs",
			want: "ID=debian\nVERSION_ID=13\nSYSEXT_SCOPE=initrd system portable\nARCHITECTURE=x86-64\n",
		},
		{
			name: "on nothing",
			img: config.Image{Format: config.FormatConfext, Output: "c_1", ImageId: "c", ImageVersion: "1", Architecture: "arm64",
				Environment: map[string]string{"CONFEXT_SCOPE": "system"}},
			path: "etc/extension-release.d/extension-release.c_1",
			want: "ID=_any\nCONFEXT_ID=c\nCONFEXT_VERSION_ID=1\nCONFEXT_SCOPE=system\nARCHITECTURE=arm64\n",
		},
		{
			name:  "keeps what the tree says",
			img:   config.Image{Format: config.FormatSysext, Output: "x", Architecture: "x86-64"},
			files: map[string]string{"usr/lib/extension-release.d/extension-release.x": "ID=fedora\nSYSEXT_LEVEL=2\n"},
			path:  "usr/lib/extension-release.d/extension-release.x",
			want:  "ID=fedora\nSYSEXT_LEVEL=2\nSYSEXT_SCOPE=initrd system portable\nARCHITECTURE=x86-64\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root, _ := newTree(t, tt.files)
			if err := writeExtensionRelease(root, &tt.img, tt.host); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, content(t, root, tt.path)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzParseEnvFile(f *testing.F) {
	f.Add([]byte("ID=debian\nNAME=\"a \\\" b\"\n# c\nX='y'\nBROKEN"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for k, v := range parseEnvFile(b) {
			again := parseEnvFile(setFields(nil, []field{{k, quote(v)}}))
			if got, ok := again[k]; ok && got != v {
				t.Errorf("%q came back as %q", v, got)
			}
		}
	})
}
