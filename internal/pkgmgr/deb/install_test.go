package deb

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/pkgmgr/debtest"
)

// fixture installs packages into a new tree, with programs that only record
// that they were called.
type fixture struct {
	*Installer
	dir   string
	calls []string
}

func newFixture(t *testing.T, rules ...Rule) *fixture {
	f := &fixture{dir: t.TempDir()}
	in, err := NewInstaller(Options{
		Root: f.dir, Rules: rules, IgnoreOwners: true, Version: "1.2.3",
		Shell: func(_ context.Context, script string) error {
			f.calls = append(f.calls, "shell")
			for line := range strings.Lines(script) {
				if name, ok := strings.CutPrefix(line, "mv tmp.ci."); ok {
					f.calls = append(f.calls, "preinst "+strings.Fields(name)[0])
				}
			}
			return nil
		},
		Configure: func(_ context.Context, names []string, triggers bool) error {
			f.calls = append(f.calls, fmt.Sprintf("configure %v %v", names, triggers))
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	f.Installer = in
	return f
}

func (f *fixture) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// files lists the tree but for dpkg's database.
func (f *fixture) files(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(f.dir, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(f.dir, p)
		if rel == "var" {
			return fs.SkipDir
		}
		line := fmt.Sprintf("%s %s", d.Type(), rel)
		if info, err := d.Info(); err == nil && d.Type().IsRegular() {
			line = fmt.Sprintf("%s %s %d", info.Mode(), rel, info.ModTime().Unix())
		}
		if link, err := os.Readlink(p); err == nil {
			line += " -> " + link
		}
		all = append(all, line)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func group(t *testing.T, packages ...*debtest.Package) Group {
	dir := t.TempDir()
	g := Group{Last: true}
	for _, p := range packages {
		g.Archives = append(g.Archives, p.Write(t, dir))
	}
	return g
}

func TestInstall(t *testing.T) {
	for _, compression := range []string{"", ".gz", ".xz", ".zst"} {
		t.Run("data.tar"+compression, func(t *testing.T) {
			p := &debtest.Package{
				Name: "hello", Fields: "Multi-Arch: same\n", Compression: compression,
				Control: map[string]string{
					"conffiles": "/etc/hello\nremove-on-upgrade /etc/old\n",
					"triggers":  "# none\ninterest /usr/lib/hello\ninterest-noawait hello-changed\nactivate other\n",
				},
				Files: []tar.Header{
					debtest.Dir("/etc"), debtest.File("/etc/hello", 0o640),
					debtest.Dir("/usr"), debtest.File("/usr/hello", 0o4755), debtest.Link("/usr/hi", "hello"),
					{Name: "./usr/hey", Typeflag: tar.TypeLink, Linkname: "./usr/hello"},
				},
				Content: map[string]string{"/etc/hello": "conf", "/usr/hello": "world"},
			}
			f := newFixture(t)
			if err := f.Install(t.Context(), group(t, p)); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]string{
				"d--------- .", "d--------- etc", "-rw-r----- etc/hello.dpkg-new 1700000000", "d--------- usr",
				"urwxr-xr-x usr/hello 1700000000", "urwxr-xr-x usr/hey 1700000000", "L--------- usr/hi -> hello",
			}, f.files(t)); d != "" {
				t.Error(d)
			}
			if got := f.read(t, "usr/hey"); got != "world" {
				t.Errorf("content %q", got)
			}
			for name, want := range map[string]string{
				"status": "Package: hello\nStatus: install ok unpacked\nVersion: 1\nArchitecture: amd64\nMaintainer: Nobody <nobody@example.org>\n" +
					"Description: test\nMulti-Arch: same\nConffiles:\n /etc/hello newconffile\n /etc/old newconffile remove-on-upgrade\n\n",
				"info/hello:amd64.list":    "/.\n/etc\n/etc/hello\n/usr\n/usr/hello\n/usr/hi\n/usr/hey\n",
				"info/hello:amd64.md5sums": "7d793037a0760186574b0282f2f435e7  usr/hello\n7d793037a0760186574b0282f2f435e7  usr/hey\n",
				"info/format":              "1\n",
				"triggers/File":            "/usr/lib/hello hello:amd64\n",
				"triggers/hello-changed":   "hello:amd64/noawait\n",
			} {
				if d := cmp.Diff(want, f.read(t, "var/lib/dpkg/"+name)); d != "" {
					t.Errorf("%s: %s", name, d)
				}
			}
			if d := cmp.Diff([]string{"configure [] true"}, f.calls); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestWaves checks that what a preinst script pre-depends on is configured
// when it runs, and that the minimal system's scripts run after unpacking.
func TestWaves(t *testing.T) {
	script := map[string]string{"preinst": "#!/bin/sh\n"}
	f := newFixture(t)
	boot := group(t, &debtest.Package{Name: "base", Control: script}, &debtest.Package{Name: "dash", Control: script, Fields: "Pre-Depends: base\n"})
	boot.Bootstrap, boot.Last = true, false
	more := group(t,
		&debtest.Package{Name: "lib", Fields: "Provides: virtual (= 1)\n"},
		&debtest.Package{Name: "plain", Fields: "Pre-Depends: lib\n"},
		&debtest.Package{Name: "early", Control: script, Fields: "Pre-Depends: base (>= 1)\n"},
		&debtest.Package{Name: "late", Control: script, Fields: "Pre-Depends: base, other | virtual\n"},
		&debtest.Package{Name: "last"},
	)
	more.Configure = []string{"plain:amd64", "last:amd64", "early:amd64"}
	if err := f.Install(t.Context(), boot, more); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{
		"shell", "preinst base", "preinst dash", "configure [] false",
		"shell", "preinst early", "configure [plain:amd64 lib:amd64] false",
		"shell", "preinst late", "configure [last:amd64 early:amd64] false", "configure [] true",
	}, f.calls); d != "" {
		t.Error(d)
	}
}

// TestConflict checks that packages which only dpkg can sort out leave the
// tree as it was.
func TestConflict(t *testing.T) {
	for name, second := range map[string]*debtest.Package{
		"same file":           {Files: []tar.Header{debtest.Dir("/usr"), debtest.File("/usr/a", 0o644)}},
		"file over link":      {Files: []tar.Header{debtest.Dir("/usr"), debtest.File("/usr/link", 0o644)}},
		"directory over file": {Files: []tar.Header{debtest.Dir("/usr"), debtest.Dir("/usr/a")}},
		"link over directory": {Files: []tar.Header{debtest.Dir("/usr"), debtest.Link("/usr/dir", "a")}},
		"device":              {Files: []tar.Header{{Name: "./null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			first := &debtest.Package{Name: "first", Files: []tar.Header{
				debtest.Dir("/usr"), debtest.File("/usr/a", 0o644), debtest.Link("/usr/link", "a"), debtest.Dir("/usr/dir"),
			}}
			f := newFixture(t)
			if err := f.Install(t.Context(), group(t, first)); err != nil {
				t.Fatal(err)
			}
			files, status := f.files(t), f.read(t, "var/lib/dpkg/status")
			second.Name = "second"
			err := f.Install(t.Context(), group(t, &debtest.Package{Name: "third", Files: []tar.Header{debtest.File("/new", 0o644)}}, second))
			if !errors.Is(err, ErrUnsuitable) {
				t.Errorf("error %v", err)
			}
			if d := cmp.Diff(files, f.files(t)); d != "" {
				t.Error(d)
			}
			if got := f.read(t, "var/lib/dpkg/status"); got != status {
				t.Errorf("status became %q", got)
			}
		})
	}
}

// TestFewOpenFiles checks that packages with more directories than can be
// open are left to dpkg.
func TestFewOpenFiles(t *testing.T) {
	p := &debtest.Package{Name: "wide"}
	for i := range 200 {
		p.Files = append(p.Files, debtest.Dir(fmt.Sprintf("/%d", i)))
	}
	f := newFixture(t)
	g := group(t, p)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 100, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	err := f.Install(t.Context(), g)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, ErrUnsuitable) {
		t.Errorf("error %v", err)
	}
	if d := cmp.Diff([]string{"d--------- ."}, f.files(t)); d != "" {
		t.Error(d)
	}
}

// TestEscape checks that no package reaches out of the tree.
func TestEscape(t *testing.T) {
	outside := t.TempDir()
	for name, files := range map[string][]tar.Header{
		"dots":          {debtest.File("/../../x", 0o644)},
		"absolute link": {debtest.Link("/out", outside), debtest.File("/out/x", 0o644)},
		"relative link": {debtest.Link("/out", "../../../../../../../.."+outside), debtest.File("/out/x", 0o644)},
		"hard link":     {{Name: "./x", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			err := f.Install(t.Context(), group(t, &debtest.Package{Name: "evil", Files: files}))
			if err == nil {
				t.Error("installed")
			}
			if left, _ := os.ReadDir(outside); len(left) > 0 {
				t.Errorf("%s was written", left[0].Name())
			}
		})
	}
}

// TestMergedUsr checks that files below a link of the tree land where it
// leads, and that the package that owns the link can bring it again.
func TestMergedUsr(t *testing.T) {
	f := newFixture(t)
	if err := os.MkdirAll(filepath.Join(f.dir, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("usr/bin", filepath.Join(f.dir, "bin")); err != nil {
		t.Fatal(err)
	}
	err := f.Install(t.Context(), group(t,
		&debtest.Package{Name: "old", Files: []tar.Header{debtest.Dir("/bin"), debtest.File("/bin/x", 0o755)}},
		&debtest.Package{Name: "base-files", Files: []tar.Header{debtest.Link("/bin", "usr/bin")}},
	))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{
		"d--------- .", "L--------- bin -> usr/bin", "d--------- usr", "d--------- usr/bin", "-rwxr-xr-x usr/bin/x 1700000000",
	}, f.files(t)); d != "" {
		t.Error(d)
	}
	// The same place under two names is a conflict.
	err = f.Install(t.Context(), group(t, &debtest.Package{Name: "new", Files: []tar.Header{
		debtest.Dir("/usr"), debtest.Dir("/usr/bin"), debtest.File("/usr/bin/x", 0o755),
	}}))
	if !errors.Is(err, ErrUnsuitable) {
		t.Errorf("error %v", err)
	}
}

func TestDiversionAndTriggers(t *testing.T) {
	f := newFixture(t)
	if err := f.Install(t.Context(), group(t, &debtest.Package{Name: "first", Control: map[string]string{"triggers": "interest-noawait /usr/lib\n"}})); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "var/lib/dpkg/diversions"), []byte("/usr/a\n/usr/a.real\nfirst\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Install(t.Context(), group(t, &debtest.Package{
		Name: "second", Control: map[string]string{"triggers": "activate-noawait ldconfig\n"},
		Files: []tar.Header{
			debtest.Dir("/usr"), debtest.File("/usr/a", 0o644), debtest.Dir("/usr/lib"), debtest.File("/usr/lib/b", 0o644),
		},
	})); err != nil {
		t.Fatal(err)
	}
	f.read(t, "usr/a.real")
	if got := f.read(t, "var/lib/dpkg/triggers/Unincorp"); got != "/usr/lib -\nldconfig -\n" {
		t.Errorf("triggers %q", got)
	}
	if got := f.read(t, "var/lib/dpkg/info/second.list"); !strings.Contains(got, "/usr/a\n") {
		t.Errorf("list %q", got)
	}
}

// TestLateDiversion checks that a diversion which a preinst script of the
// minimal system makes applies to the files of the others.
func TestLateDiversion(t *testing.T) {
	f := newFixture(t)
	f.Shell = func(context.Context, string) error {
		return os.WriteFile(filepath.Join(f.dir, "var/lib/dpkg/diversions"),
			[]byte("/a\n/a.first\nfirst\n/b\n/b.first\nfirst\n/none/c\n/none/d\nfirst\n"), 0o644)
	}
	g := group(t,
		&debtest.Package{Name: "first", Control: map[string]string{"preinst": "#!/bin/sh\n"}, Files: []tar.Header{debtest.File("/b", 0o644)}},
		&debtest.Package{Name: "second", Files: []tar.Header{debtest.File("/a", 0o644)}},
	)
	g.Bootstrap = true
	if err := f.Install(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"d--------- .", "-rw-r--r-- a.first 1700000000", "-rw-r--r-- b 1700000000"}, f.files(t)); d != "" {
		t.Error(d)
	}
}

func TestFilter(t *testing.T) {
	rules := []Rule{{Pattern: "/usr/share/doc/*"}, {Pattern: "/usr/share/man/*"}, {Pattern: "/usr/share/doc/*/copyright", Include: true}}
	f := newFixture(t, rules...)
	if err := f.Install(t.Context(), group(t, &debtest.Package{Name: "a", Files: []tar.Header{
		debtest.Dir("/usr"), debtest.Dir("/usr/share"), debtest.Dir("/usr/share/doc"), debtest.Dir("/usr/share/doc/a"),
		debtest.File("/usr/share/doc/a/README", 0o644), debtest.File("/usr/share/doc/a/copyright", 0o644),
		debtest.Dir("/usr/share/man"), debtest.Dir("/usr/share/man/man1"), debtest.File("/usr/share/man/man1/a.1.gz", 0o644),
	}})); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{
		"d--------- .", "d--------- usr", "d--------- usr/share", "d--------- usr/share/doc", "d--------- usr/share/doc/a",
		"-rw-r--r-- usr/share/doc/a/copyright 1700000000", "d--------- usr/share/man",
	}, f.files(t)); d != "" {
		t.Error(d)
	}
}

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"/a/*", "/a/b/c", true}, {"/a/*", "/a", false}, {"/a/*/c", "/a/b/x/c", true}, {"*.gz", "/x.gz", true},
		{"/a?c", "/abc", true}, {"/a?c", "/ac", false}, {"/[a-c]x", "/bx", true}, {"/[!a-c]x", "/bx", false},
		{"/[]]x", "/]x", true}, {`/\*`, "/*", true}, {`/\*`, "/a", false}, {"/[a", "/[a", true}, {"", "", true}, {"**", "x", true},
	} {
		if got := glob(test.pattern, test.name); got != test.want {
			t.Errorf("glob(%q, %q) = %v", test.pattern, test.name, got)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	good := (&debtest.Package{Name: "a"}).Bytes(t)
	for name, data := range map[string][]byte{
		"empty":       {},
		"no archive":  []byte("#!/bin/sh\n"),
		"short":       good[:len(good)/3],
		"bad size":    bytes.Replace(good, []byte("4         `"), []byte("-4        `"), 1),
		"bad name":    (&debtest.Package{Name: "../a"}).Bytes(t),
		"version":     bytes.Replace(good, []byte("2.0\n"), []byte("3.0\n"), 1),
		"no data":     bytes.Replace(good, []byte("data.tar"), []byte("_ata.tar"), 1),
		"compression": bytes.Replace(good, []byte("data.tar   "), []byte("data.tar.7z"), 1),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x.deb")
			if err := os.WriteFile(file, data, 0o644); err != nil {
				t.Fatal(err)
			}
			a, err := Open(file)
			if err == nil {
				defer a.Close()
				err = a.Unpack(t.Context(), func(*tar.Header, io.Reader) error { return nil })
			}
			if err == nil {
				t.Error("accepted")
			}
		})
	}
}

func FuzzOpen(f *testing.F) {
	for _, c := range []string{"", ".gz", ".zst"} {
		f.Add((&debtest.Package{Name: "a", Compression: c, Files: []tar.Header{debtest.File("/x", 0o644)}}).Bytes(f))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := read(bytes.NewReader(data))
		if err != nil {
			return
		}
		if !validPackage(a.Control.Get("Package")) {
			t.Fatalf("accepted package %q", a.Control.Get("Package"))
		}
		d, err := decompress(a.ar, a.extension)
		if err != nil {
			return
		}
		defer d.Close()
		_ = walk(io.LimitReader(d, 1<<20), func(h *tar.Header, _ io.Reader) error {
			if p, err := clean(h.Name); err == nil && !filepath.IsLocal(p) {
				t.Fatalf("member %q became %q", h.Name, p)
			}
			return nil
		})
	})
}
