package bootloader

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// makeTree makes a tree of files, and of directories, whose names end with "/".
func makeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// readTree returns the files below the given directories of a tree, and the empty directories, with "/" at their end.
func readTree(t *testing.T, root string, dirs ...string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, dir := range dirs {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name, _ := filepath.Rel(root, path)
			if d.IsDir() {
				names, err := os.ReadDir(path)
				if len(names) == 0 {
					files[name+"/"] = ""
				}
				return err
			}
			b, err := os.ReadFile(path)
			files[name] = string(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// sameFiles compares what is in a tree with what should be.
func sameFiles(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, content := range want {
		if text, ok := got[name]; !ok {
			t.Errorf("there is no %s", name)
		} else if text != content {
			t.Errorf("%s:\n%s\nwant:\n%s", name, text, content)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("there is %s too", name)
		}
	}
}

// fakeSign signs a program so that a test sees it.
func fakeSign(_ context.Context, program []byte) ([]byte, error) {
	return append([]byte("signed "), program...), nil
}

func isMissing(t *testing.T, err error, words ...string) {
	t.Helper()
	var missing *Missing
	if !errors.As(err, &missing) {
		t.Fatalf("got %v", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

func TestEntryToken(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"file", map[string]string{"etc/kernel/entry-token": "mine\nother\n", "etc/machine-id": id}, "mine"},
		{"file below usr", map[string]string{"usr/lib/kernel/entry-token": "mine", "etc/machine-id": id}, "mine"},
		{"bad file", map[string]string{"etc/kernel/entry-token": "../mine\n", "etc/machine-id": id}, id},
		{"machine ID", map[string]string{"etc/machine-id": id + "\n", "etc/os-release": "IMAGE_ID=image\n"}, id},
		{"image", map[string]string{"etc/machine-id": "uninitialized\n", "usr/lib/os-release": "ID=debian\nIMAGE_ID=\"image\"\n"}, "image"},
		{"zeroes", map[string]string{"etc/machine-id": strings.Repeat("0", 32), "usr/lib/os-release": "ID=debian\n"}, "debian"},
		{"bad image", map[string]string{"etc/os-release": "ID=debian\nIMAGE_ID=a/b\n"}, "debian"},
		{"etc counts", map[string]string{"etc/os-release": "ID=a\n", "usr/lib/os-release": "ID=b\n"}, "a"},
	} {
		got, err := EntryToken(makeTree(t, tt.files))
		if err != nil || got != tt.want {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
	if _, err := EntryToken(makeTree(t, map[string]string{"etc/os-release": "NAME=x\n"})); !errors.Is(err, ErrNoToken) {
		t.Errorf("nothing to name it after: %v", err)
	}
}

// What a tree links to outside of it is looked for, and written, inside.
func TestLinksStayInside(t *testing.T) {
	outside := t.TempDir()
	root := makeTree(t, map[string]string{"etc/os-release": "ID=a\n", systemdBootDir + "/systemd-bootx64.efi": "program"})
	if err := errors.Join(os.Symlink(outside, filepath.Join(root, "efi")), os.WriteFile(filepath.Join(outside, "token"), []byte("x"), 0o644),
		os.MkdirAll(filepath.Join(root, "etc/kernel"), 0o755), os.Symlink(outside+"/token", filepath.Join(root, "etc/kernel/entry-token"))); err != nil {
		t.Fatal(err)
	}
	if token, err := EntryToken(root); err != nil || token != "a" {
		t.Errorf("token %q, %v", token, err)
	}
	err := InstallSystemdBoot(t.Context(), SystemdBoot{Options: Options{Root: root, Architecture: "x64"}})
	if err == nil || !strings.Contains(err.Error(), "link to nowhere") {
		t.Errorf("installing into a link that leads outside: %v", err)
	}
	if names, err := os.ReadDir(outside); err != nil || len(names) != 1 {
		t.Errorf("outside there are %v, %v", names, err)
	}
}

// FuzzEntryToken reads any files for those that name a system: a token is always a name that a boot partition can have.
func FuzzEntryToken(f *testing.F) {
	f.Add("token\n", "0123456789abcdef0123456789abcdef\n", "ID=a\nIMAGE_ID=\"b\"\n")
	f.Add("..", "uninitialized", "ID=../a\n")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, token, machineID, release string) {
		root := makeTree(t, map[string]string{tokenFiles[0]: token, "etc/machine-id": machineID, "etc/os-release": release})
		got, err := EntryToken(root)
		if err == nil && (!ValidName(got) || strings.ContainsAny(got, "/\n\x00")) {
			t.Errorf("got %q", got)
		}
	})
}
