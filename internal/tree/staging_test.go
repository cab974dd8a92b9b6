package tree

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestStaging(t *testing.T) {
	dir := plant(t, ".mkosi-private/mine", ".mkosi-/mine", ".mkosi-123 | a file")
	must(t, os.MkdirAll(filepath.Join(dir, ".mkosi-456/left/behind"), 0o700))
	first, err := Stage(t.Context(), dir)
	must(t, err)
	must(t, os.WriteFile(first.Path("image"), []byte("half"), 0o600))
	second, err := Stage(t.Context(), dir)
	must(t, err)
	if _, err := os.Stat(first.Path("image")); err != nil {
		t.Errorf("a live staging directory was cleaned: %v", err)
	}
	info, err := os.Stat(first.Dir())
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("mode %s", info.Mode())
	}
	for _, s := range []*Staging{first, second, first} {
		must(t, s.Close())
	}
	want := []string{".mkosi-/", ".mkosi-/mine", ".mkosi-123", ".mkosi-private/", ".mkosi-private/mine"}
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// TestStagingAfterKill kills a process that holds a staging directory.
func TestStagingAfterKill(t *testing.T) {
	if dir := os.Getenv("TREE_TEST_STAGE"); dir != "" {
		if _, err := Stage(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		must(t, os.WriteFile(filepath.Join(dir, "ready"), nil, 0o600))
		time.Sleep(time.Minute)
		t.Fatal("was not killed")
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStagingAfterKill$")
	cmd.Env = append(os.Environ(), "TREE_TEST_STAGE="+dir)
	must(t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	deadline := time.Now().Add(30 * time.Second)
	for {
		if _, err := os.Stat(filepath.Join(dir, "ready")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the other process did not stage")
		}
		time.Sleep(5 * time.Millisecond)
	}
	staged := func() int {
		found, err := filepath.Glob(filepath.Join(dir, ".mkosi-*"))
		must(t, err)
		return len(found)
	}
	s, err := Stage(t.Context(), dir)
	must(t, err)
	if n := staged(); n != 2 {
		t.Errorf("%d staging directories while the other process lives", n)
	}
	must(t, s.Close())
	must(t, cmd.Process.Kill())
	cmd.Wait()
	s, err = Stage(t.Context(), dir)
	must(t, err)
	if n := staged(); n != 1 {
		t.Errorf("%d staging directories after the other process was killed", n)
	}
	must(t, s.Close())
}

// TestStageAs tells that one at a time has a directory that an id names, and that stale ones of that name are no
// obstacle.
func TestStageAs(t *testing.T) {
	dir := plant(t, ".mkosi-7/left/behind")
	first, err := StageAs(t.Context(), dir, 7, func() { t.Error("waits for nobody") })
	must(t, err)
	inside, err := filepath.Rel(dir, first.Path("."))
	must(t, err)
	if diff := cmp.Diff([]string{".mkosi-7/", inside + "/"}, names(t, dir)); diff != "" {
		t.Error(diff)
	}
	other, err := StageAs(t.Context(), dir, 8, func() { t.Error("waits for another id") })
	must(t, err)
	must(t, other.Close())

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := StageAs(ctx, dir, 7, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("two have it: %v", err)
	}
	second, err := StageAs(t.Context(), dir, 7, func() { must(t, first.Close()) })
	must(t, err)
	must(t, second.Close())
	if diff := cmp.Diff([]string{}, names(t, dir), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	must(t, os.WriteFile(filepath.Join(dir, ".mkosi-7"), nil, 0o600))
	if _, err := StageAs(t.Context(), dir, 7, nil); err == nil {
		t.Error("took a file for a directory")
	}
}

func TestSwap(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string
		want  []string
	}{
		"nothing there":            {[]string{"new/f"}, []string{"old/", "old/f"}},
		"file over file":           {[]string{"new | n", "old | o"}, []string{"old"}},
		"directory over directory": {[]string{"new/f", "old/g/h"}, []string{"new/", "new/g/", "new/g/h", "old/", "old/f"}},
		"file over directory":      {[]string{"new | n", "old/g/h"}, []string{"new/", "new/g/", "new/g/h", "old"}},
		"directory over file":      {[]string{"new/f", "old | o"}, []string{"new", "old/", "old/f"}},
		"directory over link":      {[]string{"new/f", "x/keep", "old -> x"}, []string{"new -> x", "old/", "old/f", "x/", "x/keep"}},
	} {
		root := plant(t, c.lines...)
		if err := Swap(filepath.Join(root, "new"), filepath.Join(root, "old")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, names(t, root)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	root := plant(t, "old | kept")
	if err := Swap(filepath.Join(root, "absent"), filepath.Join(root, "old")); err == nil {
		t.Error("no error without a new file")
	}
	if b, _ := os.ReadFile(filepath.Join(root, "old")); string(b) != "kept" {
		t.Errorf("old holds %q", b)
	}
}
