package deb

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRegular(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"link": "pipe", "out": "../x", "absolute": "/etc/passwd"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range []string{"pipe", "link", ".", "out", "absolute"} {
		if _, err := ReadRegular(root, name); err == nil {
			t.Errorf("reading %s succeeded", name)
		}
		if err := WriteRegular(root, name, []byte("x"), 0o644); err == nil {
			t.Errorf("writing %s succeeded", name)
		}
	}
	for _, text := range []string{"a long text", "short"} {
		if err := WriteRegular(root, "file", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if b, err := ReadRegular(root, "file"); err != nil || string(b) != text {
			t.Errorf("%q, %v", b, err)
		}
	}
	if err := os.Truncate(filepath.Join(dir, "file"), maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRegular(root, "file"); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("a huge file: %v", err)
	}
}
