package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
	"github.com/mkosi-go/mkosi/internal/tree"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

// storeDir is a directory for a store in memory: on a disk every commit would wait for what others write there.
func storeDir(t testing.TB) string { return fuzztest.MemoryDir(t) }

// packages are the inputs of a step that installs packages.
func packages(words ...string) (in Inputs) {
	in.AddList("Packages=", words)
	return in
}

// add makes an entry with one file in it and returns its path.
func add(t testing.TB, s *Store, name string, in Inputs, content string) string {
	t.Helper()
	p, e, err := s.Begin(t.Context(), name, in)
	must(t, err)
	if e != nil {
		t.Fatal("there is an entry already")
	}
	defer p.Close()
	write(t, p.Path("tree/etc/file"), content)
	write(t, p.Scratch("work/file"), "thrown away")
	e, err = p.Commit(t.Context())
	must(t, err)
	must(t, e.Close())
	return e.Path(".")
}

// found reports whether Lookup finds an entry.
func found(t testing.TB, s *Store, name string, in Inputs) bool {
	t.Helper()
	e, miss, err := s.Lookup(t.Context(), name, in)
	must(t, err)
	if (e == nil) == (miss == nil) {
		t.Fatalf("entry %v, miss %v", e, miss)
	}
	if e == nil {
		return false
	}
	must(t, e.Close())
	return true
}

// files lists what is in a directory, without the ends of paths that are digests.
func files(t testing.TB, dir string) []string {
	t.Helper()
	list := []string{}
	must(t, tree.Walk(t.Context(), dir, func(e *tree.Entry) error {
		list = append(list, e.Path)
		return nil
	}))
	return list[1:]
}

func TestStore(t *testing.T) {
	s := &Store{Dir: filepath.Join(storeDir(t), "mkosi.cache")}
	e, miss, err := s.Lookup(t.Context(), "debian", packages("vim"))
	must(t, err)
	if e != nil || miss.Reason != "nothing is cached yet" {
		t.Fatalf("an empty store: %v, %v", e, miss)
	}
	if _, err := os.Stat(s.Dir); err == nil {
		t.Error("a look made the cache directory")
	}
	add(t, s, "debian", packages("vim"), "one")

	e, _, err = s.Lookup(t.Context(), "debian", packages("vim"))
	must(t, err)
	defer e.Close()
	if b, err := os.ReadFile(e.Path("tree/etc/file")); err != nil || string(b) != "one" {
		t.Errorf("read %q, %v", b, err)
	}
	fi, err := os.Stat(e.Path("."))
	must(t, err)
	if fi.Mode().Perm() != 0o700 {
		t.Errorf("an image that others may read has mode %v", fi.Mode())
	}
	key := e.Key[:keyLength]
	want := []string{
		"debian.cache", "debian.cache/" + key, "debian.cache/" + key + "/entry.json", "debian.cache/" + key + "/inputs.json",
		"debian.cache/" + key + "/tree", "debian.cache/" + key + "/tree/etc", "debian.cache/" + key + "/tree/etc/file",
	}
	if diff := cmp.Diff(want, files(t, s.Dir)); diff != "" {
		t.Error(diff)
	}
}

func TestMiss(t *testing.T) {
	s := &Store{Dir: storeDir(t)}
	add(t, s, "debian", packages("vim"), "")
	for _, c := range []struct {
		in   Inputs
		want string
	}{
		{packages("vim"), ""},
		{packages("vim", "nano"), "Packages= gained nano"},
		{packages(), "Packages= lost vim"},
	} {
		miss, err := s.Find(t.Context(), "debian", c.in)
		must(t, err)
		if got := reason(miss); got != c.want {
			t.Errorf("found %q, want %q", got, c.want)
		}
	}
	miss, err := s.Find(t.Context(), "fedora", packages("vim"))
	must(t, err)
	if got := reason(miss); got != "nothing is cached yet" {
		t.Errorf("another name: %q", got)
	}
}

func reason(m *Miss) string {
	if m == nil {
		return ""
	}
	return m.Reason
}

// TestOneOfAName tells that without a limit a new entry replaces those of its name, but none that is in use.
func TestOneOfAName(t *testing.T) {
	s := &Store{Dir: storeDir(t)}
	add(t, s, "debian", packages("one"), "")
	add(t, s, "fedora", packages("one"), "")
	inUse, _, err := s.Lookup(t.Context(), "debian", packages("one"))
	must(t, err)
	add(t, s, "debian", packages("two"), "")
	for name, want := range map[string]bool{"one": true, "two": true, "three": false} {
		if got := found(t, s, "debian", packages(name)); got != want {
			t.Errorf("%s: found %v while the first is in use", name, got)
		}
	}
	must(t, inUse.Close())
	add(t, s, "debian", packages("three"), "")
	for name, want := range map[string]bool{"one": false, "two": false, "three": true} {
		if got := found(t, s, "debian", packages(name)); got != want {
			t.Errorf("%s: found %v after it was replaced", name, got)
		}
	}
	if !found(t, s, "fedora", packages("one")) {
		t.Error("an entry of another name was removed")
	}
}

// TestLeastRecentlyUsed tells that with a limit many entries of a name are kept, and which one goes.
func TestLeastRecentlyUsed(t *testing.T) {
	var removed []string
	s := &Store{Dir: storeDir(t), MaxUse: 1 << 40, Removed: func(name string, err error) {
		must(t, err)
		removed = append(removed, name)
	}}
	const content = 100_000
	for i, name := range []string{"a", "a", "b", "c"} {
		add(t, s, name, packages(name, string(rune('0'+i))), strings.Repeat("x", content))
	}
	size, err := s.Size(t.Context())
	must(t, err)
	if size < 4*content || size > 5*content {
		t.Errorf("four entries of %d bytes have %d", content, size)
	}
	if !found(t, s, "a", packages("a", "0")) { // the first is used again
		t.Fatal("not found")
	}
	inUse, _, err := s.Lookup(t.Context(), "a", packages("a", "1"))
	must(t, err)
	past := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(inUse.Path("."), past, past))

	s.MaxUse = size - content/2
	must(t, s.Trim(t.Context()))
	if diff := cmp.Diff([]string{"b"}, removed); diff != "" {
		t.Errorf("removed the wrong entries: %s", diff)
	}
	must(t, inUse.Close())
	s.MaxUse = 1
	must(t, s.Trim(t.Context()))
	if diff := cmp.Diff([]string{"b", "a", "c", "a"}, removed); diff != "" {
		t.Errorf("removed the wrong entries: %s", diff)
	}
	// One that is just made stays even if it alone is too large: it is in use.
	p, _, err := s.Begin(t.Context(), "a", packages())
	must(t, err)
	defer p.Close()
	write(t, p.Path("tree/file"), "content")
	e, err := p.Commit(t.Context())
	must(t, err)
	defer e.Close()
	if _, err := os.Stat(e.Path("tree/file")); err != nil {
		t.Error(err)
	}
}

// TestTwoAtOnce tells that of two who want the same entry one makes it, and the other waits for it.
func TestTwoAtOnce(t *testing.T) {
	dir := storeDir(t)
	first := &Store{Dir: dir}
	waited := make(chan string, 1)
	second := &Store{Dir: dir, Waiting: func(name string) { waited <- name }}
	p, _, err := first.Begin(t.Context(), "debian", packages("vim"))
	must(t, err)
	defer p.Close()

	type result struct {
		pending *Pending
		entry   *Entry
		err     error
	}
	done := make(chan result)
	go func() {
		p, e, err := second.Begin(t.Context(), "debian", packages("vim"))
		done <- result{p, e, err}
	}()
	if name := <-waited; name != "debian" {
		t.Errorf("waits for %q", name)
	}
	// Who makes something else does not wait.
	add(t, &Store{Dir: dir, Waiting: func(string) { t.Error("waits for other inputs") }}, "debian", packages("nano"), "")
	write(t, p.Path("tree/file"), "made once")
	e, err := p.Commit(t.Context())
	must(t, err)
	defer e.Close()
	must(t, p.Close())
	r := <-done
	must(t, r.err)
	if r.pending != nil || r.entry.ID != e.ID {
		t.Errorf("the second made the entry again: %+v", r)
	}
	must(t, r.entry.Close())
}

// TestWaitEnds tells that a wait can be given up, and that it ends when the other one gives up.
func TestWaitEnds(t *testing.T) {
	s := &Store{Dir: storeDir(t)}
	p, _, err := s.Begin(t.Context(), "debian", packages("vim"))
	must(t, err)
	stop := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { cancel(stop) })
	if _, _, err := s.Begin(ctx, "debian", packages("vim")); !errors.Is(err, stop) {
		t.Errorf("ended with %v", err)
	}
	time.AfterFunc(20*time.Millisecond, func() { p.Close() })
	q, e, err := s.Begin(t.Context(), "debian", packages("vim"))
	must(t, err)
	if e != nil {
		t.Error("found what was thrown away")
	}
	must(t, q.Close())
	if diff := cmp.Diff([]string{"debian.cache"}, files(t, s.Dir)); diff != "" {
		t.Error(diff)
	}
}

func TestRemove(t *testing.T) {
	s := &Store{Dir: storeDir(t)}
	write(t, filepath.Join(s.Dir, "a.cache/usr/mine"), "of somebody else")
	write(t, s.memoPath(), "memo")
	must(t, os.Mkdir(filepath.Join(s.Dir, ".mkosi-1"), 0o700)) // of a killed program
	for _, name := range []string{"a", "b", "x/%y"} {
		add(t, s, name, packages(name), "")
	}
	e, _, err := s.Lookup(t.Context(), "b", packages("b"))
	must(t, err)
	if err := s.RemoveAll(t.Context()); !errors.Is(err, ErrInUse) {
		t.Errorf("removing what is in use: %v", err)
	}
	must(t, e.Close())
	must(t, s.Remove(t.Context(), "b"))
	must(t, s.Remove(t.Context(), "b"))
	want := []string{"a.cache", "a.cache/usr", "a.cache/usr/mine"}
	if diff := cmp.Diff(want, files(t, s.Dir)); diff != "" {
		t.Error(diff)
	}
	if err := (&Store{Dir: filepath.Join(s.Dir, "absent")}).RemoveAll(t.Context()); err != nil {
		t.Error(err)
	}
}
