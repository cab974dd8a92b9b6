package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func fingerprint(t testing.TB, f *Fingerprinter, path string, o Options) *Fingerprint {
	t.Helper()
	fp, err := f.Path(t.Context(), path, o)
	must(t, err)
	return fp
}

// skeleton makes a directory with one of each kind of file.
func skeleton(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "etc/foo"), "foo")
	write(t, filepath.Join(dir, "etc/bar"), "bar")
	must(t, os.Symlink("foo", filepath.Join(dir, "etc/link")))
	must(t, os.Link(filepath.Join(dir, "etc/foo"), filepath.Join(dir, "etc/hard")))
	must(t, unix.Mkfifo(filepath.Join(dir, "etc/pipe"), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	return dir
}

// TestFingerprint tells what changes a fingerprint, and which file is named for it.
func TestFingerprint(t *testing.T) {
	replace := func(dir, name, content string) error {
		p := filepath.Join(dir, name)
		return errors.Join(os.Remove(p), os.WriteFile(p, []byte(content), 0o644))
	}
	for name, c := range map[string]struct {
		change func(dir string) error
		want   string // "" for no change
	}{
		"nothing": {func(string) error { return nil }, ""},
		"time": {func(dir string) error {
			at := time.Unix(1, 2)
			return errors.Join(os.Chtimes(filepath.Join(dir, "etc/bar"), at, at), os.Chtimes(dir, at, at))
		}, ""},
		"inode":     {func(dir string) error { return replace(dir, "etc/bar", "bar") }, ""},
		"content":   {func(dir string) error { return replace(dir, "etc/bar", "baz") }, "etc/bar differs"},
		"mode":      {func(dir string) error { return os.Chmod(filepath.Join(dir, "etc/bar"), 0o755) }, "etc/bar differs"},
		"own mode":  {func(dir string) error { return os.Chmod(dir, 0o700) }, ". differs"},
		"hard link": {func(dir string) error { return replace(dir, "etc/hard", "foo") }, "etc/hard differs"},
		"new":       {func(dir string) error { return os.WriteFile(filepath.Join(dir, "empty/new"), nil, 0o644) }, "empty/new is new"},
		"gone":      {func(dir string) error { return os.Remove(filepath.Join(dir, "etc/bar")) }, "etc/bar is gone"},
		"renamed": {func(dir string) error {
			return os.Rename(filepath.Join(dir, "etc/bar"), filepath.Join(dir, "etc/baz"))
		}, "etc/baz is new"},
		"target": {func(dir string) error {
			p := filepath.Join(dir, "etc/link")
			return errors.Join(os.Remove(p), os.Symlink("bar", p))
		}, "etc/link differs"},
		"type": {func(dir string) error {
			p := filepath.Join(dir, "etc/pipe")
			return errors.Join(os.Remove(p), os.Mkdir(p, 0o700))
		}, "etc/pipe differs"},
	} {
		dir := skeleton(t)
		var before, after Inputs
		before.AddFiles("tree", fingerprint(t, &Fingerprinter{}, dir, Options{}))
		must(t, c.change(dir))
		after.AddFiles("tree", fingerprint(t, &Fingerprinter{}, dir, Options{}))
		want := c.want
		if want != "" {
			want = "tree changed: " + want
		}
		if got := FirstDifference(before, after); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestFingerprintElsewhere tells that a copy has the same fingerprint, by whatever path it is reached, and a file of the
// same content another than a directory.
func TestFingerprintElsewhere(t *testing.T) {
	f := &Fingerprinter{}
	a, b := skeleton(t), skeleton(t)
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(b, link))
	if fingerprint(t, f, a, Options{}).Digest != fingerprint(t, f, link, Options{}).Digest {
		t.Error("two trees that are alike differ")
	}
	one := fingerprint(t, f, filepath.Join(a, "etc/foo"), Options{})
	if one.Digest != fingerprint(t, f, filepath.Join(b, "etc/link"), Options{}).Digest {
		t.Error("two files that are alike differ")
	}
	if one.Digest == fingerprint(t, f, filepath.Join(a, "etc/bar"), Options{}).Digest {
		t.Error("two files that differ are alike")
	}
	if _, err := f.Path(t.Context(), filepath.Join(a, "absent"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Path(ctx, a, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestFingerprintXattrs tells that extended attributes count where that is asked for.
func TestFingerprintXattrs(t *testing.T) {
	dir := skeleton(t)
	file := filepath.Join(dir, "etc/bar")
	all, some := fingerprint(t, &Fingerprinter{}, dir, Options{Xattrs: true}), fingerprint(t, &Fingerprinter{}, dir, Options{})
	must(t, unix.Setxattr(file, "user.test", []byte("value"), 0))
	if fingerprint(t, &Fingerprinter{}, dir, Options{Xattrs: true}).Digest == all.Digest {
		t.Error("an attribute makes no difference")
	}
	if fingerprint(t, &Fingerprinter{}, dir, Options{}).Digest != some.Digest {
		t.Error("an attribute that does not count makes a difference")
	}
	owned := fingerprint(t, &Fingerprinter{}, dir, Options{Owners: true})
	if owned.Digest == some.Digest {
		t.Error("owners make no difference")
	}
}

// age makes everything in dir, which was just made, look to the memo as if it had been there for long.
func age(m *Memo) { m.settle = -time.Minute }

// TestMemo tells that files are read once, that changes are seen, and that the memo survives being saved.
func TestMemo(t *testing.T) {
	dir := skeleton(t)
	path := filepath.Join(t.TempDir(), ".digests")
	f := &Fingerprinter{Memo: OpenMemo(path)}
	plain := fingerprint(t, &Fingerprinter{}, dir, Options{}).Digest
	if fingerprint(t, f, dir, Options{}).Digest != plain {
		t.Error("the memo makes a difference")
	}
	if n := len(f.Memo.known); n != 0 {
		t.Errorf("%d files are remembered that were just changed", n)
	}
	age(f.Memo)
	fingerprint(t, f, dir, Options{})
	must(t, f.Memo.Save(t.Context()))

	f.Memo = OpenMemo(path)
	if n := len(f.Memo.known); n != 2 {
		t.Fatalf("%d files are remembered", n)
	}
	for id, r := range f.Memo.known { // so that it shows whether they are used
		r.Sum[0]++
		f.Memo.known[id] = r
	}
	if fingerprint(t, f, dir, Options{}).Digest == plain {
		t.Error("the files were read again")
	}
	for _, name := range []string{"etc/foo", "etc/bar"} {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		// The same content, size and time: only the change time tells.
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(name[4:]), 0o644))
		must(t, os.Chtimes(filepath.Join(dir, name), info.ModTime(), info.ModTime()))
	}
	if fingerprint(t, f, dir, Options{}).Digest != plain {
		t.Error("a change was not seen")
	}
}

// TestDamagedMemo tells that no file in the memo's place is taken for it, and that it is replaced.
func TestDamagedMemo(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, ".digests")
	good := &Memo{path: path, known: map[fileID]remembered{{Ino: 1}: {Day: today()}}, changed: true}
	must(t, good.Save(t.Context()))
	data, err := os.ReadFile(path)
	must(t, err)
	if len(OpenMemo(path).known) != 1 {
		t.Fatal("a good memo is not read")
	}
	elsewhere := filepath.Join(dir, "elsewhere")
	must(t, os.WriteFile(elsewhere, data, 0o600))
	for name, put := range map[string]func() error{
		"cut":       func() error { return os.WriteFile(path, data[:len(data)-1], 0o600) },
		"changed":   func() error { return os.WriteFile(path, append([]byte("X"), data[1:]...), 0o600) },
		"flipped":   func() error { data[40] ^= 1; defer func() { data[40] ^= 1 }(); return os.WriteFile(path, data, 0o600) },
		"empty":     func() error { return os.WriteFile(path, nil, 0o600) },
		"link":      func() error { return os.Symlink(elsewhere, path) },
		"pipe":      func() error { return unix.Mkfifo(path, 0o600) },
		"directory": func() error { return os.Mkdir(path, 0o700) },
	} {
		must(t, os.Remove(path))
		must(t, put())
		m := OpenMemo(path)
		if len(m.known) != 0 {
			t.Errorf("%s: it was read", name)
		}
		m.known, m.changed = good.known, true
		err := m.Save(t.Context())
		if (err != nil) != (name == "directory") {
			t.Errorf("%s: saving: %v", name, err)
		}
		if name != "directory" && len(OpenMemo(path).known) != 1 {
			t.Errorf("%s: it was not replaced", name)
		}
	}
	if b, err := os.ReadFile(elsewhere); err != nil || string(b) != string(data) {
		t.Errorf("a file elsewhere was changed: %v", err)
	}
}

// TestForgetting tells that what nobody asked for in a month is not kept.
func TestForgetting(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".digests")
	m := &Memo{path: path, changed: true, known: map[fileID]remembered{
		{Ino: 1}: {Day: today() - memoDays - 1}, {Ino: 2}: {Day: today() - memoDays + 1},
	}}
	must(t, m.Save(t.Context()))
	if known := OpenMemo(path).known; len(known) != 1 || known[fileID{Ino: 2}].Day == 0 {
		t.Errorf("remembered %v", known)
	}
}

func FuzzMemo(f *testing.F) {
	f.Add([]byte(memoMagic))
	f.Add(append([]byte(memoMagic), make([]byte, recordSize+32)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if known, err := parseMemo(data); err == nil && len(known) > len(data)/recordSize {
			t.Errorf("%d records in %d bytes", len(known), len(data))
		}
	})
}

// BenchmarkFingerprint reads a tree of 500 MB in 10,000 files.
func BenchmarkFingerprint(b *testing.B) {
	dir := b.TempDir()
	content := make([]byte, 50<<10)
	for i := range 10_000 {
		copy(content, fmt.Sprint(i))
		path := filepath.Join(dir, fmt.Sprint(i/100), fmt.Sprint(i))
		must(b, os.MkdirAll(filepath.Dir(path), 0o755))
		must(b, os.WriteFile(path, content, 0o644))
	}
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			fingerprint(b, &Fingerprinter{}, dir, Options{Owners: true, Xattrs: true})
		}
	})
	memo := OpenMemo(filepath.Join(b.TempDir(), ".digests"))
	age(memo)
	fingerprint(b, &Fingerprinter{Memo: memo}, dir, Options{})
	must(b, memo.Save(b.Context()))
	b.Run("remembered", func(b *testing.B) {
		for b.Loop() {
			fingerprint(b, &Fingerprinter{Memo: OpenMemo(memo.path)}, dir, Options{Owners: true, Xattrs: true})
		}
	})
}
