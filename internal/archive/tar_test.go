package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// mine extracts as the ordinary user that runs the tests.
var mine = ExtractOptions{IgnoreOwners: true}

func makeTar(headers ...tar.Header) *bytes.Buffer {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
			content = "content of " + h.Name
			h.Size = int64(len(content))
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		h.ModTime = time.Unix(1e9, 0)
		if err := w.WriteHeader(&h); err != nil {
			panic(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			panic(err)
		}
	}
	w.Close()
	return &b
}

func listing(t *testing.T, root string) []string {
	t.Helper()
	var lines []string
	must(t, filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		line := fmt.Sprintf("%s %s", rel, info.Mode())
		if target, err := os.Readlink(p); err == nil {
			line += " -> " + target
		}
		lines = append(lines, line)
		return nil
	}))
	return lines
}

func TestExtractTar(t *testing.T) {
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "usr/lib"), 0o755))
	must(t, os.Symlink("/usr/lib", filepath.Join(root, "lib")))
	must(t, os.MkdirAll(filepath.Join(root, "keep"), 0o700))
	must(t, os.WriteFile(filepath.Join(root, "old"), []byte("old"), 0o600))
	must(t, os.Symlink("old", filepath.Join(root, "replaced")))
	in := makeTar(
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o711},
		tar.Header{Name: "./lib/", Typeflag: tar.TypeDir},
		tar.Header{Name: "./lib/module", Mode: 0o644},
		tar.Header{Name: "keep/", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "replaced", Mode: 0o640},
		tar.Header{Name: "/absolute", Mode: 0o4755},
		tar.Header{Name: "sealed/", Typeflag: tar.TypeDir, Mode: 0o500},
		tar.Header{Name: "sealed/inside", Mode: 0o400},
		tar.Header{Name: "hard", Typeflag: tar.TypeLink, Linkname: "absolute"},
		tar.Header{Name: "missing/parent"},
		tar.Header{Name: "dev/", Typeflag: tar.TypeDir},
		tar.Header{Name: "dev/null"},
		tar.Header{Name: "./var/tmp/x"},
		tar.Header{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
	)
	must(t, ExtractTar(t.Context(), in, root, "", mine))
	want := []string{
		"absolute urwxr-xr-x",
		"dev drwxr-xr-x",
		"hard urwxr-xr-x",
		"keep drwx------",
		"lib Lrwxrwxrwx -> /usr/lib",
		"missing drwxr-xr-x",
		"missing/parent -rwxr-xr-x",
		"old -rw-------",
		"out Lrwxrwxrwx -> /etc",
		"replaced -rw-r-----",
		"sealed dr-x------",
		"sealed/inside -r--------",
		"usr drwxr-xr-x",
		"usr/lib drwxr-xr-x",
		"usr/lib/module -rw-r--r--",
	}
	if diff := cmp.Diff(want, listing(t, root)); diff != "" {
		t.Error(diff)
	}
	if b, _ := os.ReadFile(filepath.Join(root, "old")); string(b) != "old" {
		t.Errorf("old holds %q: a link was written through", b)
	}
	for _, name := range []string{"sealed", "absolute"} {
		if info, _ := os.Stat(filepath.Join(root, name)); !info.ModTime().Equal(time.Unix(1e9, 0)) {
			t.Errorf("%s has the time %s", name, info.ModTime())
		}
	}
	must(t, os.Chmod(filepath.Join(root, "sealed"), 0o700))
}

func TestExtractTarToTargetCompressed(t *testing.T) {
	root := t.TempDir()
	must(t, os.Symlink("/opt", filepath.Join(root, "target")))
	must(t, os.Mkdir(filepath.Join(root, "opt"), 0o755))
	packed := compress(t, XZ, 1, makeTar(tar.Header{Name: "f"}).Bytes())
	must(t, ExtractTar(t.Context(), bytes.NewReader(packed), root, "/target/new", mine))
	if _, err := os.Stat(filepath.Join(root, "opt/new/f")); err != nil {
		t.Error(err)
	}
}

// TestExtractTarStaysInside gives archives that try to write outside; whether
// they are refused or defused, what is outside must not change.
func TestExtractTarStaysInside(t *testing.T) {
	for name, headers := range map[string][]tar.Header{
		"dots":               {{Name: "../victim"}},
		"inner dots":         {{Name: "a/../../victim"}},
		"absolute":           {{Name: "@OUTSIDE/victim"}},
		"link then file":     {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "@OUTSIDE"}, {Name: "l/victim"}},
		"relative link":      {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "l/victim"}},
		"link to file":       {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "@OUTSIDE/victim"}, {Name: "l"}},
		"hard link":          {{Name: "h", Typeflag: tar.TypeLink, Linkname: "@OUTSIDE/victim"}, {Name: "h"}},
		"hard link dots":     {{Name: "h", Typeflag: tar.TypeLink, Linkname: "../victim"}, {Name: "h"}},
		"hard link via link": {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "h", Typeflag: tar.TypeLink, Linkname: "l/victim"}},
		"directory via link": {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "@OUTSIDE"}, {Name: "l", Typeflag: tar.TypeDir, Mode: 0o777}},
		"planted link":       {{Name: "planted/victim"}},
		"late link":          {{Name: "d", Typeflag: tar.TypeDir, Mode: 0o777}, {Name: "d", Typeflag: tar.TypeSymlink, Linkname: "@OUTSIDE"}, {Name: "d/victim"}},
	} {
		t.Run(name, func(t *testing.T) {
			outside := t.TempDir()
			root := filepath.Join(outside, "root")
			must(t, os.Mkdir(root, 0o755))
			must(t, os.WriteFile(filepath.Join(outside, "victim"), []byte("untouched"), 0o600))
			must(t, os.Symlink(outside, filepath.Join(root, "planted")))
			before, _ := os.Stat(outside)
			for i := range headers {
				headers[i].Name = strings.ReplaceAll(headers[i].Name, "@OUTSIDE", outside)
				headers[i].Linkname = strings.ReplaceAll(headers[i].Linkname, "@OUTSIDE", outside)
			}
			err := ExtractTar(t.Context(), makeTar(headers...), root, "", mine)
			t.Logf("error is %v", err)
			b, err := os.ReadFile(filepath.Join(outside, "victim"))
			if err != nil || string(b) != "untouched" {
				t.Errorf("victim holds %q, %v", b, err)
			}
			after, _ := os.Stat(outside)
			if !before.ModTime().Equal(after.ModTime()) || before.Mode() != after.Mode() {
				t.Error("the directory outside has changed")
			}
			if info, err := os.Stat(filepath.Join(outside, "victim")); err != nil || info.Mode() != 0o600 {
				t.Error("victim's mode has changed")
			}
		})
	}
}

func TestExtractTarLimits(t *testing.T) {
	in := func() *bytes.Buffer { return makeTar(tar.Header{Name: "a"}, tar.Header{Name: "b"}) }
	for _, o := range []ExtractOptions{{IgnoreOwners: true, MaxEntries: 1}, {IgnoreOwners: true, MaxBytes: 20}} {
		if err := ExtractTar(t.Context(), in(), t.TempDir(), "", o); !errors.Is(err, ErrLimit) {
			t.Errorf("%+v: error is %v", o, err)
		}
	}
	long := makeTar(tar.Header{Name: strings.Repeat("d/", 3000) + "f"})
	if err := ExtractTar(t.Context(), long, t.TempDir(), "", mine); err == nil {
		t.Error("a name of 6000 bytes is taken")
	}
	cut := in().Bytes()[:515]
	if err := ExtractTar(t.Context(), bytes.NewReader(cut), t.TempDir(), "", mine); err == nil {
		t.Error("a truncated archive is taken")
	}
}

func TestExtractTarRefusesACLs(t *testing.T) {
	in := makeTar(tar.Header{Name: "f", PAXRecords: map[string]string{"SCHILY.acl.access": "user::rw-"}})
	if err := ExtractTar(t.Context(), in, t.TempDir(), "", mine); err == nil || !strings.Contains(err.Error(), "access control") {
		t.Errorf("error is %v", err)
	}
}

func FuzzExtractTar(f *testing.F) {
	f.Add(makeTar(tar.Header{Name: "a"}, tar.Header{Name: "d/", Typeflag: tar.TypeDir}, tar.Header{Name: "d/h", Typeflag: tar.TypeLink, Linkname: "a"}).Bytes())
	f.Add(makeTar(tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, tar.Header{Name: "l/x"}).Bytes())
	f.Add(makeTar(tar.Header{Name: "../x"}).Bytes())
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		base, err := os.MkdirTemp(dir, "")
		must(t, err)
		defer os.RemoveAll(base)
		root := filepath.Join(base, "root")
		must(t, os.Mkdir(root, 0o755))
		before, _ := os.Stat(base)
		_ = ExtractTar(t.Context(), bytes.NewReader(data), root, "", ExtractOptions{IgnoreOwners: true, MaxBytes: 1 << 20, MaxEntries: 100})
		after, _ := os.Stat(base)
		names, _ := os.ReadDir(base)
		if len(names) != 1 || !before.ModTime().Equal(after.ModTime()) {
			t.Fatal("something was written outside")
		}
	})
}
