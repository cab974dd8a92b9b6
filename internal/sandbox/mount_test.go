package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// makeDirs creates directories of these names in a new one and returns their
// paths.
func makeDirs(t *testing.T, names ...string) []string {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func wantFile(t *testing.T, name, content string) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil || string(got) != content {
		t.Errorf("%s: got %q and %v, want %q", name, got, err, content)
	}
}

func TestMountNeedsSession(t *testing.T) {
	if Current().Active {
		return // this is about the others
	}
	dir := t.TempDir()
	_, err := MountOverlay([]string{dir}, "", "", dir)
	for _, err := range []error{err, MountTmpfs(dir, 0, 0o755), MountBind(dir, dir, true), Unmount(dir)} {
		if !errors.Is(err, errNoSession) {
			t.Errorf("got %v", err)
		}
	}
}

// changeOverlay does with a mounted overlay what checkUpper looks for.
func changeOverlay(t *testing.T, at string) {
	t.Helper()
	wantFile(t, filepath.Join(at, "both"), "top")
	for _, err := range []error{
		os.Remove(filepath.Join(at, "removed")),
		os.WriteFile(filepath.Join(at, "both"), []byte("new"), 0o644),
		os.Rename(filepath.Join(at, "file"), filepath.Join(at, "renamed")),
		os.RemoveAll(filepath.Join(at, "dir")),
		os.Mkdir(filepath.Join(at, "dir"), 0o755),
		os.WriteFile(filepath.Join(at, "dir", "inner"), []byte("inner"), 0o644),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	err := os.Rename(filepath.Join(at, "movable"), filepath.Join(at, "moved"))
	if !errors.Is(err, unix.EXDEV) {
		t.Errorf("moving a lower directory: %v", err)
	}
}

// overlayLayers makes two lower layers, the topmost first.
func overlayLayers(t *testing.T) []string {
	t.Helper()
	lower := makeDirs(t, `t,o:p\ `, "bottom")
	for _, dir := range []string{"dir", "movable"} {
		if err := os.Mkdir(filepath.Join(lower[1], dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"removed", "file", "dir/old"} {
		writeFile(t, filepath.Join(lower[1], name), "old")
	}
	writeFile(t, filepath.Join(lower[0], "both"), "top")
	writeFile(t, filepath.Join(lower[1], "both"), "bottom")
	return lower
}

func checkUpper(t *testing.T, upper string) {
	t.Helper()
	wantFile(t, filepath.Join(upper, "both"), "new")
	wantFile(t, filepath.Join(upper, "renamed"), "old")
	wantFile(t, filepath.Join(upper, "dir/inner"), "inner")
	for name, want := range map[string]bool{"removed": true, "file": true, "both": false, "dir": false} {
		info, err := os.Lstat(filepath.Join(upper, name))
		if err != nil || IsWhiteout(info) != want {
			t.Errorf("%s: %v, want a whiteout: %t", name, err, want)
		}
	}
	for name, want := range map[string]bool{"dir": true, ".": false, "both": false} {
		if got, err := IsOpaque(filepath.Join(upper, name)); err != nil || got != want {
			t.Errorf("%s: opaque is %t, %v", name, got, err)
		}
	}
	if _, err := IsOpaque(filepath.Join(upper, "nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestMountOverlay(t *testing.T) {
	if !inSession(t) {
		return
	}
	lower := overlayLayers(t)
	dirs := makeDirs(t, "upper:x,y", "work", `target \`)
	for range 2 { // the second time with what the first one left
		unmount, err := MountOverlay(lower, dirs[0], dirs[1], dirs[2])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(filepath.Join(dirs[0], "removed")); err != nil {
			changeOverlay(t, dirs[2])
		}
		wantFile(t, filepath.Join(dirs[2], "both"), "new")
		if err := unmount(); err != nil {
			t.Fatal(err)
		}
		checkUpper(t, dirs[0])
	}
	if left, err := os.ReadDir(dirs[1]); err != nil || len(left) != 0 {
		t.Errorf("%v left in the work directory: %v", left, err)
	}
	if left, err := os.ReadDir(dirs[2]); err != nil || len(left) != 0 {
		t.Errorf("%v left in the target: %v", left, err)
	}
}

func TestMountOverlayReadOnly(t *testing.T) {
	if !inSession(t) {
		return
	}
	target := t.TempDir()
	unmount, err := MountOverlay(overlayLayers(t), "", "", target)
	if err != nil {
		t.Fatal(err)
	}
	defer unmount()
	wantFile(t, filepath.Join(target, "both"), "top")
	if err := os.WriteFile(filepath.Join(target, "x"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing: %v", err)
	}
	if _, err := MountOverlay(nil, "", "", target); err == nil {
		t.Error("mounted without layers")
	}
	if _, err := MountOverlay([]string{target}, target, "", target); err == nil {
		t.Error("mounted without a work directory")
	}
}

// manyLayers makes 100 layers with paths of 200 odd components.
func manyLayers(t *testing.T) []string {
	t.Helper()
	deep := t.TempDir() + strings.Repeat(`/a,:\= b`, 200)
	var lower []string
	for i := range 100 {
		dir := filepath.Join(deep, fmt.Sprint(i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, fmt.Sprint("file", i)), "")
		writeFile(t, filepath.Join(dir, "all"), fmt.Sprint(i))
		lower = append(lower, dir)
	}
	return lower
}

func TestMountOverlayManyLayers(t *testing.T) {
	if !inSession(t) {
		return
	}
	target := t.TempDir()
	unmount, err := MountOverlay(manyLayers(t), "", "", target)
	if err != nil {
		t.Fatal(err)
	}
	defer unmount()
	wantFile(t, filepath.Join(target, "all"), "0")
	if files, err := os.ReadDir(target); err != nil || len(files) != 101 {
		t.Errorf("%d files, %v", len(files), err)
	}
}

// TestLegacyOverlay mounts an overlay the way that older kernels need.
func TestLegacyOverlay(t *testing.T) {
	if !inSession(t) {
		return
	}
	target := t.TempDir()
	lower := overlayLayers(t)
	cause := errors.New("cause")
	dirs := makeDirs(t, "upper", "work", "a")
	options := append([]option{{"upperdir", dirs[0]}, {"workdir", dirs[1]}}, plainUpper(false)...)
	mount, err := legacyOverlay(lower[1]+":"+dirs[2], options, cause)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.MoveMount(mount, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		t.Fatal(err)
	}
	unix.Close(mount)
	wantFile(t, filepath.Join(target, "both"), "bottom")
	if err := os.Remove(filepath.Join(target, "both")); err != nil {
		t.Error(err)
	}
	if err := Unmount(target); err != nil {
		t.Error(err)
	}
	info, err := os.Lstat(filepath.Join(dirs[0], "both"))
	if err != nil || !IsWhiteout(info) {
		t.Errorf("no whiteout: %v", err)
	}
	_, err = legacyOverlay(strings.Repeat("/proc/self/fd/100:", 400), nil, cause)
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), "too many") {
		t.Errorf("got %v", err)
	}
}

func TestMountTmpfsAndBind(t *testing.T) {
	if !inSession(t) {
		return
	}
	dirs := makeDirs(t, "tmpfs", "bind")
	if err := MountTmpfs(dirs[0], 1<<20, 0o750|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dirs[0])
	if err != nil || info.Mode() != fs.ModeDir|fs.ModeSticky|0o750 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	err = os.WriteFile(filepath.Join(dirs[0], "big"), make([]byte, 2<<20), 0o644)
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("writing 2 MiB to a tmpfs of 1 MiB: %v", err)
	}
	if err := os.Remove(filepath.Join(dirs[0], "big")); err != nil {
		t.Error(err)
	}
	writeFile(t, filepath.Join(dirs[0], "file"), "x")
	if err := MountBind(dirs[0], dirs[1], true); err != nil {
		t.Fatal(err)
	}
	wantFile(t, filepath.Join(dirs[1], "file"), "x")
	if err := os.Remove(filepath.Join(dirs[1], "file")); !errors.Is(err, unix.EROFS) {
		t.Errorf("removing from a read-only bind: %v", err)
	}
	f, err := os.Open(dirs[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := Unmount(dirs[1]); !errors.Is(err, unix.EBUSY) {
		t.Errorf("unmounting in use: %v", err)
	}
	f.Close()
	for _, dir := range slices.Backward(dirs) {
		if err := Unmount(dir); err != nil {
			t.Error(err)
		}
	}
	if err := MountBind(filepath.Join(dirs[0], "missing"), dirs[1], true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
