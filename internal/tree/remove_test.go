package tree

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRemoveAll(t *testing.T) {
	outside := plant(t, "victim | untouched")
	unchanged(t, outside)
	root := plant(t, "a/b/c", "a/out -> "+outside, "ro/f", "sealed/f", "other")
	must(t, os.Symlink(outside, filepath.Join(root, "top")))
	must(t, os.Chmod(filepath.Join(root, "ro"), 0o500))
	must(t, os.Chmod(filepath.Join(root, "sealed"), 0))
	for _, name := range []string{"a", "ro", "sealed", "top", "absent", "absent/too"} {
		must(t, RemoveAll(t.Context(), filepath.Join(root, name)))
	}
	if diff := cmp.Diff([]string{"other"}, names(t, root)); diff != "" {
		t.Error(diff)
	}
}

func TestGlob(t *testing.T) {
	root := plant(t, "g/f", "g/a/f", "g/a/.h", "j/x/k", "j/.y/k", "m/ax", "m/.x", "m/b",
		"n/y", "n/1/2/y", "n/real/y", "n/lnk -> real", "abs -> /g", "out -> ../../../../g", "ac", "ab", "q/[", "set/]", "set/-", "set/é", "file", "dangling -> x")
	for pattern, want := range map[string][]string{
		"/file":      {"file"},
		"file":       {"file"},
		"/file/":     {},
		"/g/":        {"g"},
		"/g/**":      {"g", "g/a", "g/a/.h", "g/a/f", "g/f"},
		"/g/**/":     {"g", "g/a"},
		"/j/*/k":     {"j/.y/k", "j/x/k"},
		"/m/?x":      {"m/.x", "m/ax"},
		"/n/**/y":    {"n/1/2/y", "n/real/y", "n/y"},
		"/n/lnk/y":   {"n/lnk/y"},
		"/abs/a/f":   {"abs/a/f"},
		"/out/f":     {"out/f"},
		"/a[!b]":     {"ac"},
		"/a[b-d]":    {"ab", "ac"},
		"/q/[":       {"q/["},
		"/set/[]]":   {"set/]"},
		"/set/[a-]":  {"set/-"},
		"/set/?":     {"set/-", "set/]", "set/é"},
		"/m/*":       {"m/.x", "m/ax", "m/b"},
		"/br{a,b}":   {},
		"/dangling":  {"dangling"},
		"/absent/**": {},
		"/file/x":    {},
		"//./file":   {"file"},
		"/":          {},
		"/**/.h":     {"g/a/.h"},
	} {
		got, err := Glob(t.Context(), root, pattern)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", pattern, diff)
		}
	}
	if _, err := Glob(t.Context(), root, "/g/../../x"); err == nil {
		t.Error("dots are taken")
	}
}

func TestRemove(t *testing.T) {
	outside := plant(t, "victim | untouched", "dir/victim")
	unchanged(t, outside)
	root := plant(t, "usr/share/doc/a/b", "usr/share/man/x", "lib -> /usr/lib", "usr/lib/m/f", "usr/lib/keep",
		"out -> "+outside, "up -> ../../../../.."+outside)
	must(t, Remove(t.Context(), root, "/usr/share/**", "/lib/m", "/out/victim", "/up/victim", "/out/dir/*", "/absent", "/**/b"))
	want := []string{"lib -> /usr/lib", "out -> " + outside, "up -> ../../../../.." + outside, "usr/", "usr/lib/", "usr/lib/keep"}
	if diff := cmp.Diff(want, names(t, root)); diff != "" {
		t.Error(diff)
	}
}

func TestRemoveEmptyDirs(t *testing.T) {
	outside := plant(t, "dir/")
	unchanged(t, outside)
	root := plant(t, "a/b/c/", "a/d/", "kept/f", "kept/empty/", "links/l -> "+outside, "top/")
	must(t, RemoveEmptyDirs(t.Context(), root))
	if diff := cmp.Diff([]string{"kept/", "kept/f", "links/", "links/l -> " + outside}, names(t, root)); diff != "" {
		t.Error(diff)
	}
}

func TestClampTimes(t *testing.T) {
	outside := plant(t, "victim")
	unchanged(t, outside)
	root := plant(t, "late", "early", "d/late", "l -> "+outside+"/victim")
	setTime(t, filepath.Join(root, "early"), 1000, 5)
	epoch := time.Unix(1e9, 0)
	setTime(t, filepath.Join(root, "late"), 1e9, 1)
	must(t, ClampTimes(t.Context(), root, epoch))
	must(t, Walk(t.Context(), root, func(e *Entry) error {
		want := epoch.UnixNano()
		if e.Path == "early" {
			want = 1000*1e9 + 5
		}
		if e.Stat.Mtim.Nano() != want {
			t.Errorf("%s has the time %v", e.Path, e.Stat.Mtim)
		}
		return nil
	}))
}

func TestWalk(t *testing.T) {
	root := plant(t, "b/f", "b.x", "a | text", "b/h = a", "skip/f", "z -> b")
	var got []string
	must(t, Walk(t.Context(), root, func(e *Entry) error {
		got = append(got, e.Path+" "+e.First+" "+e.Target)
		if e.Path == "skip" {
			return fs.SkipDir
		}
		return nil
	}))
	if diff := cmp.Diff([]string{".  ", "a  ", "b  ", "b/f  ", "b/h a ", "b.x  ", "skip  ", "z  b"}, got); diff != "" {
		t.Error(diff)
	}
	n := 0
	must(t, Walk(t.Context(), root, func(*Entry) error { n++; return fs.SkipAll }))
	if n != 1 {
		t.Errorf("%d entries after SkipAll", n)
	}
}

func TestSizeCountsHardLinksOnce(t *testing.T) {
	root := plant(t)
	must(t, os.WriteFile(filepath.Join(root, "a"), make([]byte, 1<<20), 0o600))
	one, err := Size(t.Context(), root)
	must(t, err)
	must(t, os.Link(filepath.Join(root, "a"), filepath.Join(root, "b")))
	two, err := Size(t.Context(), root)
	must(t, err)
	if one != two || one < 1<<20 {
		t.Errorf("sizes are %d and %d", one, two)
	}
}
