package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// noOwners is for the ordinary user that may run the tests.
var noOwners = CopyOptions{IgnoreOwners: true}

func TestCopyKeepsEverything(t *testing.T) {
	src := plant(t, "a | text", "d/b = a", "d/link -> ../a", "z = a", "empty/", "private/f | x", "dangling -> /nowhere")
	must(t, unix.Mkfifo(filepath.Join(src, "pipe"), 0o640))
	must(t, unix.Setxattr(filepath.Join(src, "private/f"), "user.note", []byte("kept"), 0))
	must(t, os.WriteFile(filepath.Join(src, "big"), bytes.Repeat([]byte("0123456789abcdef"), 1<<16), 0o644))
	must(t, os.Chmod(filepath.Join(src, "a"), 0o4755))
	must(t, os.Chmod(filepath.Join(src, "a"), os.ModeSetuid|0o755))
	must(t, os.Chmod(filepath.Join(src, "private/f"), 0o400))
	must(t, os.Chmod(filepath.Join(src, "private"), 0o500))
	t.Cleanup(func() { os.Chmod(filepath.Join(src, "private"), 0o700) })
	for i, name := range []string{"a", "d/link", "dangling", "pipe", "empty", "d", "private", "."} {
		setTime(t, filepath.Join(src, name), 1e9+int64(i), 123456789)
	}
	dst := filepath.Join(t.TempDir(), "copy")
	must(t, Copy(t.Context(), src, dst, noOwners))
	t.Cleanup(func() { os.Chmod(filepath.Join(dst, "private"), 0o700) })
	diff, err := Compare(t.Context(), src, dst, CompareOptions{})
	must(t, err)
	for _, d := range diff {
		t.Error(d)
	}
}

func TestCopyKeepsHoles(t *testing.T) {
	src, dst := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	f, err := os.Create(src)
	must(t, err)
	_, err = f.WriteAt([]byte("in the middle"), 8<<20)
	must(t, err)
	must(t, f.Truncate(32<<20))
	must(t, f.Close())
	must(t, Copy(t.Context(), src, dst, noOwners))
	a, err := os.ReadFile(src)
	must(t, err)
	b, err := os.ReadFile(dst)
	must(t, err)
	if !bytes.Equal(a, b) {
		t.Error("content differs")
	}
	var st unix.Stat_t
	must(t, unix.Stat(dst, &st))
	if st.Blocks*512 > 1<<20 {
		t.Errorf("the copy takes %d bytes", st.Blocks*512)
	}
}

func TestCopyMerges(t *testing.T) {
	src := plant(t, "lib/x | new", "etc/conf | new", "etc/link -> new", "etc/through | written")
	dst := plant(t, "usr/lib/y", "lib -> /usr/lib", "etc/conf | old", "etc/kept | old", "etc/link | old", "etc/target | old and longer", "etc/through -> /etc/target")
	must(t, os.Chmod(filepath.Join(src, "etc"), 0o700))
	o := noOwners
	if err := Copy(t.Context(), src, dst, o); err == nil || !strings.Contains(err.Error(), "lib") {
		t.Errorf("a directory over a link: error is %v", err)
	}
	o.FollowDirLinks = true
	must(t, Copy(t.Context(), src, dst, o))
	want := []string{"etc/", "etc/conf", "etc/kept", "etc/link -> new", "etc/target", "etc/through -> /etc/target", "lib -> /usr/lib", "usr/", "usr/lib/", "usr/lib/x", "usr/lib/y"}
	if diff := cmp.Diff(want, names(t, dst)); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{"etc/conf": "new", "etc/target": "written", "etc/kept": "old"} {
		if b, _ := os.ReadFile(filepath.Join(dst, name)); string(b) != want {
			t.Errorf("%s holds %q", name, b)
		}
	}
	if info, _ := os.Stat(filepath.Join(dst, "etc")); info.Mode().Perm() != 0o700 {
		t.Errorf("etc has the mode %s", info.Mode())
	}
}

func TestCopyConflicts(t *testing.T) {
	for name, c := range map[string]struct{ src, dst string }{
		"file over directory": {"a | x", "a/"},
		"link over directory": {"a -> x", "a/"},
		"directory over file": {"a/", "a | x"},
		"through nowhere":     {"a | x", "a -> nowhere"},
		"through a directory": {"a | x", "a -> ."},
	} {
		if err := Copy(t.Context(), plant(t, c.src), plant(t, c.dst), noOwners); err == nil {
			t.Errorf("%s is no error", name)
		}
	}
	src := plant(t, "a/b/")
	if err := Copy(t.Context(), src, filepath.Join(src, "a/b/copy"), noOwners); err == nil || !strings.Contains(err.Error(), "into itself") {
		t.Errorf("into itself: %v", err)
	}
}

// TestCopyBreaksHardLinks: the further names of an overwritten file keep what
// they hold.
func TestCopyBreaksHardLinks(t *testing.T) {
	dst := plant(t, "a | old", "b = a")
	must(t, Copy(t.Context(), plant(t, "a | new"), dst, noOwners))
	if b, _ := os.ReadFile(filepath.Join(dst, "b")); string(b) != "old" {
		t.Errorf("b holds %q", b)
	}
}

// TestCopyStaysInside merges into a tree whose links lead outside.
func TestCopyStaysInside(t *testing.T) {
	outside := plant(t, "victim | untouched", "dir/victim | untouched")
	unchanged(t, outside)
	dst := plant(t, "dir -> "+outside+"/dir", "up -> ../../../../../../"+outside+"/dir", "victim -> "+outside+"/victim")
	o := noOwners
	o.FollowDirLinks = true
	for _, name := range []string{"dir/victim | x", "up/victim | x", "victim | x"} {
		if err := Copy(t.Context(), plant(t, name), dst, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCopyExcludes(t *testing.T) {
	src := plant(t, "a/b/c", "a/d", "e")
	dst := filepath.Join(t.TempDir(), "x")
	o := noOwners
	o.Exclude = func(p string) bool { return p == "a/b" || p == "e" }
	must(t, Copy(t.Context(), src, dst, o))
	if diff := cmp.Diff([]string{"a/", "a/d"}, names(t, dst)); diff != "" {
		t.Error(diff)
	}
}

func TestCopyIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Copy(ctx, plant(t, "a/b"), t.TempDir(), noOwners); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestHostileTree(t *testing.T) {
	src := plant(t, strings.Repeat("n", 255)+" | x", "new\nline | x", "-rf | x", "\xff\xfe | x", "loop -> loop")
	for i := range 1000 {
		must(t, os.WriteFile(filepath.Join(src, fmt.Sprintf("f%04d", i)), nil, 0o600))
	}
	must(t, os.MkdirAll(filepath.Join(src, strings.Repeat("deep/", 300)), 0o755))
	dst := filepath.Join(t.TempDir(), "x")
	must(t, Copy(t.Context(), src, dst, noOwners))
	diff, err := Compare(t.Context(), src, dst, CompareOptions{})
	must(t, err)
	if len(diff) > 0 {
		t.Error(diff)
	}
	must(t, RemoveAll(t.Context(), dst))
	if _, err := os.Lstat(dst); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
	must(t, os.MkdirAll(filepath.Join(src, strings.Repeat("deep/", 600)), 0o755))
	for name, err := range map[string]error{
		"copy": Copy(t.Context(), src, dst, noOwners),
		"walk": Walk(t.Context(), src, func(*Entry) error { return nil }),
	} {
		if !errors.Is(err, errTooDeep) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestInstall(t *testing.T) {
	root := plant(t, "usr/lib/y", "usr/bin/", "lib -> /usr/lib", "bin -> usr/bin", "opt -> ../../usr")
	file := filepath.Join(plant(t, "tool | run", "link -> tool"), "link")
	must(t, os.Chmod(file, 0o751))
	setTime(t, filepath.Join(filepath.Dir(file), "tool"), 1e9, 0)
	for _, tr := range []Tree{
		{Source: plant(t, "lib/x | x", "etc/new")},
		{Source: plant(t, "z"), Target: "/lib/mod/deep"},
		{Source: file, Target: "/usr/local/bin/kubectl"},
		{Source: file, Target: "/opt/via/"},
		{Source: filepath.Join(filepath.Dir(file), "tool")},
		{Source: file, Target: "/../../../escape"},
	} {
		must(t, Install(t.Context(), root, tr))
	}
	want := []string{"bin -> usr/bin", "escape", "etc/", "etc/new", "lib -> /usr/lib", "opt -> ../../usr", "tool", "usr/", "usr/bin/", "usr/lib/", "usr/lib/mod/", "usr/lib/mod/deep/", "usr/lib/mod/deep/z", "usr/lib/x", "usr/lib/y", "usr/local/", "usr/local/bin/", "usr/local/bin/kubectl", "usr/via"}
	if diff := cmp.Diff(want, names(t, root)); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(filepath.Join(root, "usr/local/bin/kubectl"))
	must(t, err)
	if info.Mode() != 0o751 || info.ModTime().Unix() == 1e9 {
		t.Errorf("kubectl has mode %s and time %s", info.Mode(), info.ModTime())
	}
	if info, _ := os.Stat(filepath.Join(root, "usr/lib/mod")); info.Mode().Perm() != 0o755 {
		t.Errorf("a missing parent has mode %s", info.Mode())
	}
	for _, tr := range []Tree{{Source: "/nonexistent"}, {Source: file, Target: "/"}, {Source: file, Target: "/usr/lib"}} {
		if err := Install(t.Context(), root, tr); err == nil {
			t.Errorf("%+v is no error", tr)
		}
	}
}
