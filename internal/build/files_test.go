package build

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A pipe where a file or directory should be must not make a build wait for ever.
func TestPipesInTheTree(t *testing.T) {
	root, dir := newTree(t, map[string]string{"etc/": "", "usr/lib/": ""})
	for _, name := range []string{"etc/passwd", "usr/lib/os-release", "usr/lib/sysusers.d"} {
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := readFileLimited(root, "etc/passwd", 100); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("reading a pipe: %v", err)
		}
		if _, err := readOSRelease(root); err == nil {
			t.Error("a pipe was taken for os-release")
		}
		if hasFiles(root, "usr/lib/sysusers.d") {
			t.Error("a pipe was taken for a directory")
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("waits for somebody to write into the pipe")
	}
}
