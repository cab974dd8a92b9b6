package tree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Links lead to what they name inside the root, and only regular files within the limit are read.
func TestReadFileIn(t *testing.T) {
	dir := t.TempDir()
	for name, target := range map[string]string{"link": "/a/file", "out": "../../../../etc/passwd", "dangling": "none"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(os.Mkdir(filepath.Join(dir, "a"), 0o755), os.WriteFile(filepath.Join(dir, "a/file"), []byte("text"), 0o644),
		unix.Mkfifo(filepath.Join(dir, "pipe"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	for _, name := range []string{"a/file", "link", "/a/../a/file"} {
		if b, err := ReadFileIn(root, name, 4); err != nil || string(b) != "text" {
			t.Errorf("%s: got %q, %v", name, b, err)
		}
	}
	for _, name := range []string{"none", "out", "dangling"} {
		if _, err := ReadFileIn(root, name, 4); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, want := range map[string]string{"a": "not a regular file", "pipe": "not a regular file", "link": "larger than 3 bytes"} {
		if _, err := ReadFileIn(root, name, 3); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
