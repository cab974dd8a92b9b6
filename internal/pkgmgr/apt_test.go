package pkgmgr

import (
	"archive/tar"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/distro"
	"github.com/mkosi-go/mkosi/internal/pkgmgr/debtest"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// newTestApt returns a driver whose tools do what run does.
func newTestApt(t *testing.T, run func(c *sandbox.Cmd) error) *Apt {
	d, err := distro.Lookup("debian")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return &Apt{
		Etc: filepath.Join(dir, "etc"), MetadataDir: filepath.Join(dir, "metadata"), PackageDir: filepath.Join(dir, "packages"),
		Distribution: d, Release: "trixie", Architecture: "x86-64",
		Run: func(_ context.Context, c *sandbox.Cmd) error { return run(c) },
	}
}

// failing is a tool that prints something and fails.
func failing(text string) func(c *sandbox.Cmd) error {
	return func(c *sandbox.Cmd) error {
		if _, err := c.Stderr.Write([]byte(text)); err != nil {
			return err
		}
		return &sandbox.ExitError{Args: c.Args, Code: 100, Tail: text}
	}
}

func TestExplain(t *testing.T) {
	for _, test := range []struct{ output, want, hint string }{
		{"Reading package lists...\nE: Unable to locate package sytemd\n",
			"package sytemd does not exist in the configured repositories", "check the spelling, Release= and Repositories="},
		{"E: Couldn't find any package by glob 'foo*'\n", "package foo* does not exist", "check the spelling, Release= and Repositories="},
		{"E: Package 'a' has no installation candidate\n", "package a is known but no repository offers it", "check Release= and Repositories="},
		{"E: Version '1.2' for 'a' was not found\n", "package a is not available in version 1.2", ""},
		{"W: Failed to fetch http://m.example/debian/dists/x/InRelease  Could not connect to m.example:80 (192.0.2.1), connection timed out\nE: Some index files failed to download.\n",
			"cannot download http://m.example/debian/dists/x/InRelease: Could not connect to m.example:80 (192.0.2.1), connection timed out", "check the network, or name another mirror with Mirror="},
		{"E: Failed to fetch http://m.example/pool/a_1_amd64.deb  404  Not Found [IP: 192.0.2.1 80]\n", "http://m.example/pool/a_1_amd64.deb is not on the mirror any more", "update the metadata (CacheOnly=never), or name another mirror with Mirror="},
		{"W: GPG error: http://m.example/debian trixie InRelease: The following signatures couldn't be verified because the public key is not available: NO_PUBKEY 0E98404D386FA1D9\nE: The repository 'http://m.example/debian trixie InRelease' is not signed.\n",
			"the repository http://m.example/debian is not signed by a key that is trusted (NO_PUBKEY 0E98404D386FA1D9)", untrustedHint},
		{"W: OpenPGP signature verification failed: http://m.example/debian trixie InRelease: Sub-process /usr/bin/sqv returned an error code (1), error message is: Missing key 0E98404D386FA1D9\nE: The repository 'http://m.example/debian trixie InRelease' is not signed.\n",
			"the repository http://m.example/debian is not signed by a key that is trusted (Missing key 0E98404D386FA1D9)", untrustedHint},
		{"E: The repository 'file:/r trixie Release' is not signed.\n", "the repository file:/r trixie Release is not signed", "if it is to be trusted all the same, set RepositoryKeyCheck=no or mark it as trusted in the sandbox tree"},
		{"E: The repository 'http://m.example nosuch Release' does not have a Release file.\n", "there is no repository at http://m.example for nosuch Release", "check Release= and Mirror="},
		{"E: Something new\nE: And more\n", "apt-get failed: Something new; And more", ""},
		{"dpkg: error processing package a (--configure):\n installed a package post-installation script subprocess returned error exit status 1\nE: Sub-process /usr/bin/dpkg returned an error code (1)\n",
			"dpkg cannot install a: installed a package post-installation script", ""},
	} {
		a := newTestApt(t, failing(test.output))
		err := a.Install(t.Context(), t.TempDir(), []string{"x"})
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("error %v\nwant  %s", err, test.want)
		}
		var told *Error
		if !errors.As(err, &told) || told.Hint() != test.hint {
			t.Errorf("error %v does not hint %q", err, test.hint)
		}
		var e *sandbox.ExitError
		if !errors.As(err, &e) || e.Code != 100 {
			t.Errorf("error %v does not carry the exit status", err)
		}
	}
}

func TestOptions(t *testing.T) {
	var args, env []string
	a := newTestApt(t, func(c *sandbox.Cmd) error {
		args, env = c.Args, c.Env
		return nil
	})
	epoch := int64(42)
	a.SourceDateEpoch = &epoch
	root := t.TempDir()
	if err := a.Install(t.Context(), root, []string{"systemd"}); err != nil {
		t.Fatal(err)
	}
	line := " " + strings.Join(args, " ") + " "
	for _, want := range []string{
		" -o APT::Architecture=amd64 ", " -o APT::Install-Recommends=false ", " -o DPkg::Options::=--path-exclude=/usr/share/doc/* ",
		" -o DPkg::Options::=--root=/buildroot ", " install systemd ",
	} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in %s", want, line)
		}
	}
	if strings.Contains(line, "Insecure") || strings.Contains(line, "Unauthenticated") {
		t.Errorf("signatures are not checked: %s", line)
	}
	if !strings.Contains(strings.Join(env, " "), "SOURCE_DATE_EPOCH=42") {
		t.Errorf("environment %s", env)
	}
	if _, err := os.Lstat(filepath.Join(root, policyFile)); err == nil {
		t.Error("policy-rc.d is left in the tree")
	}

	a.Recommends, a.Docs, a.NoKeyCheck = true, true, true
	if err := a.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	line = strings.Join(args, " ")
	for _, want := range []string{"Install-Recommends=true", "AllowInsecureRepositories=true", "AllowUnauthenticated=true", " -c /proxy.conf "} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in %s", want, line)
		}
	}
	if strings.Contains(line, "path-exclude") {
		t.Errorf("documentation is left out: %s", line)
	}
}

func TestParsePlan(t *testing.T) {
	head := "VERSION 3\nAPT::Architecture=amd64\n\n"
	for _, test := range []struct {
		name, text string
		plain      bool
		files      int
	}{
		{"install", head + "a - - none < 1 amd64 same /var/cache/apt/archives/a_1_amd64.deb\na - - none < 1 amd64 same **CONFIGURE**\n", true, 1},
		{"upgrade", head + "a 1 amd64 none < 2 amd64 none /x/a.deb\n", false, 0},
		{"remove", head + "a 1 amd64 none > - - none **REMOVE**\n", false, 0},
		{"sections", "VERSION 3\nAPT::Never-MarkAuto-Sections::=metapackages\n\n", false, 0},
	} {
		s, err := parsePlan(strings.NewReader(test.text))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		} else if s.Plain != test.plain || len(s.Packages) != test.files {
			t.Errorf("%s: %+v", test.name, s)
		}
	}
	for _, text := range []string{"", "VERSION 2\n\n", head + "short line\n"} {
		if _, err := parsePlan(strings.NewReader(text)); err == nil {
			t.Errorf("%q accepted", text)
		}
	}
}

func FuzzParsePlan(f *testing.F) {
	f.Add("VERSION 3\nA=b\n\na - - none < 1 amd64 same /x.deb\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parsePlan(strings.NewReader(text))
		if err == nil && s == nil {
			t.Fatal("neither plan nor error")
		}
	})
}

const aptOutput = `Reading package lists...
The following additional packages will be installed:
  libapparmor1 libkmod2
  mount
Suggested packages:
  nothing
/usr/bin/dpkg --root=/buildroot --status-fd 12 --no-triggers --unpack /a.deb
/usr/bin/dpkg --root=/buildroot --status-fd 12 --no-triggers --configure a:amd64 b:all
/usr/bin/dpkg --root=/buildroot --status-fd 12 --configure --pending
`

func TestOutputOfApt(t *testing.T) {
	if d := cmp.Diff(map[string]bool{"libapparmor1": true, "libkmod2": true, "mount": true}, additional(aptOutput)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"a:amd64", "b:all"}, explicit(aptOutput)); d != "" {
		t.Error(d)
	}
}

// TestStale tells that what a killed apt was writing is removed when the caches are used again, and nothing else.
func TestStale(t *testing.T) {
	a := newTestApt(t, func(*sandbox.Cmd) error { return nil })
	if err := a.makeCaches(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pkgcache.bin", "pkgcache.bin.aB3xYz", "srcpkgcache.bin", "srcpkgcache.bin.000000"} {
		if err := os.WriteFile(filepath.Join(a.aptCacheDir(), name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	unlock, err := a.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	left, err := filepath.Glob(filepath.Join(a.aptCacheDir(), "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if d := cmp.Diff([]string{"archives", "pkgcache.bin", "srcpkgcache.bin"}, left); d != "" {
		t.Error(d)
	}
}

// TestRemembered checks when a solution from an earlier build is taken.
func TestRemembered(t *testing.T) {
	a := newTestApt(t, func(*sandbox.Cmd) error { return nil })
	if err := a.Prepare(); err != nil {
		t.Fatal(err)
	}
	unlock, err := a.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	file := (&debtest.Package{Name: "a"}).Write(t, a.archivesDir())
	s := &solution{Plain: true, Packages: []solved{{Name: "a", Architecture: "amd64", File: sandboxArchives + "/" + filepath.Base(file)}}}
	if err := a.eachArchive(t.Context(), s, func(p *solved, sum string) error { p.SHA256 = sum; return nil }); err != nil {
		t.Fatal(err)
	}
	key := a.solutionKey([]string{"x"})
	a.remember(t.Context(), key, s, []string{"x"})
	if d := cmp.Diff(s, a.remembered(t.Context(), a.solutionKey([]string{"x"}))); d != "" {
		t.Error(d)
	}
	if a.solutionKey([]string{"y"}) == key || a.solutionKey([]string{"x"}, nil) == key {
		t.Error("another request has the same key")
	}
	recommends := *a
	recommends.Recommends = true
	if recommends.solutionKey([]string{"x"}) == key {
		t.Error("another option has the same key")
	}
	if err := os.WriteFile(filepath.Join(a.listsDir(), "x_InRelease"), []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	if a.solutionKey([]string{"x"}) == key {
		t.Error("other metadata has the same key")
	}
	entries, err := os.ReadDir(filepath.Dir(a.solutionFile(key)))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v beside the solution", entries, err)
	}
	if err := os.WriteFile(file, []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	if a.remembered(t.Context(), key) != nil {
		t.Error("a damaged package is taken from the cache")
	}
}

func TestPrepare(t *testing.T) {
	a := newTestApt(t, func(*sandbox.Cmd) error { return nil })
	a.Sources = []distro.Source{{Types: []string{"deb"}, URIs: []string{"http://m.example"}, Suites: []string{"trixie"}, Components: []string{"main"}, Trusted: true}}
	a.RepositoryDir = filepath.Join(t.TempDir(), "repository")
	own := filepath.Join(a.Etc, "apt.conf")
	if err := os.MkdirAll(a.Etc, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := a.Prepare(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		own:                               "mine",
		filepath.Join(a.Etc, sourcesFile): "URIs: http://m.example\n",
		filepath.Join(a.Etc, localFile):   "URIs: file:/repository\nSuites: ./\nTrusted: yes\n",
	} {
		if b, err := os.ReadFile(name); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	a.Sources[0].Trusted, a.Sources[0].SignedBy = false, "/nonexistent/k.gpg"
	if err := a.Prepare(); err == nil || !strings.Contains(err.Error(), "keyring") {
		t.Errorf("missing keyring: %v", err)
	}
}

func TestAddPackages(t *testing.T) {
	a := newTestApt(t, func(*sandbox.Cmd) error { return errors.New("nothing is to be run") })
	a.RepositoryDir = t.TempDir()
	one, two := t.TempDir(), t.TempDir()
	(&debtest.Package{Name: "b", Version: "2:1.0"}).Write(t, one)
	(&debtest.Package{Name: "a"}).Write(t, two)
	if err := a.AddPackages(t.Context(), []string{one, two}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(a.RepositoryDir, "Packages"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if i, k := strings.Index(text, "Package: a\n"), strings.Index(text, "Package: b\n"); i != 0 || k < i {
		t.Errorf("index %s", text)
	}
	for _, want := range []string{"Filename: ./b_2:1.0_amd64.deb\n", "SHA256: ", "Size: "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	// Another build of the same version, as long as the first, in the same second.
	before, err := os.Stat(filepath.Join(a.RepositoryDir, "Packages"))
	if err != nil {
		t.Fatal(err)
	}
	(&debtest.Package{Name: "a", Files: []tar.Header{debtest.File("/f", 0o644)}}).Write(t, two)
	if err := a.AddPackages(t.Context(), []string{two}); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(filepath.Join(a.RepositoryDir, "Packages"))
	if err != nil || after.ModTime().Unix() == before.ModTime().Unix() {
		t.Errorf("the index has the same time again, %v", err)
	}
}

func TestClean(t *testing.T) {
	for _, test := range []struct {
		program string
		always  bool
		want    []string
	}{
		{"apt", false, []string{"apt"}},
		{"dpkg", false, []string{"dpkg"}},
		{"none", false, nil},
		{"dpkg", true, nil},
	} {
		root := t.TempDir()
		for _, dir := range []string{"usr/bin/" + test.program, "var/lib/apt/lists", "var/lib/dpkg/info"} {
			if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := newTestApt(t, nil).Clean(root, test.always); err != nil {
			t.Fatal(err)
		}
		var left []string
		entries, _ := os.ReadDir(filepath.Join(root, "var/lib"))
		for _, e := range entries {
			left = append(left, e.Name())
		}
		if d := cmp.Diff(test.want, left); d != "" {
			t.Errorf("%+v: %s", test, d)
		}
	}
}

func TestSettle(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		alternativesLog:            "update-alternatives 2026-11-21 01:12:53: run with --install /a\n",
		"var/lib/dbus/machine-id":  "0123\n",
		"var/cache/ldconfig/other": "kept",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a := newTestApt(t, nil)
	epoch := int64(0)
	a.SourceDateEpoch = &epoch
	if err := a.Settle(root); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(root, alternativesLog))
	if err != nil || string(b) != "update-alternatives 1970-01-01 00:00:00: run with --install /a\n" {
		t.Errorf("log %q, %v", b, err)
	}
	if _, err := os.Lstat(filepath.Join(root, "var/lib/dbus/machine-id")); err == nil {
		t.Error("the identity is left")
	}
}
