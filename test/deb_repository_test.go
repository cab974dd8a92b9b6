//go:build integration

package test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mkosi-go/mkosi/internal/distro"
	"github.com/mkosi-go/mkosi/internal/pkgmgr"
	"github.com/mkosi-go/mkosi/internal/pkgmgr/debtest"
)

// localApt returns a driver for a repository below dir, signed by a key of
// its own unless the sources say otherwise.
func localApt(t *testing.T, name string, r distro.Request) (*pkgmgr.Apt, *debtest.Key) {
	d, err := distro.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	r.Architecture = "x86-64"
	key := debtest.NewKey(t)
	// Below /usr, which is what the sandbox shows of the machine's keyrings.
	keyrings, err := os.MkdirTemp("/usr/share/keyrings", "mkosi-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(keyrings) })
	if err := os.Chmod(keyrings, 0o755); err != nil {
		t.Fatal(err)
	}
	key.WriteKeyring(t, filepath.Join(keyrings, "test.asc"))
	sources, err := d.Sources(&r)
	if err != nil {
		t.Fatal(err)
	}
	for i := range sources {
		sources[i].SignedBy = filepath.Join(keyrings, "test.asc")
		// All suites come from the mirror under test.
		sources[i].URIs = []string{r.Mirror + map[string]string{"debian": "/debian"}[name]}
	}
	dir := t.TempDir()
	a := &pkgmgr.Apt{
		Etc:          filepath.Join(dir, "etc"),
		Distribution: d, Release: r.Release, Architecture: "x86-64",
		Sources:     sources,
		MetadataDir: filepath.Join(dir, "metadata"), PackageDir: filepath.Join(dir, "packages"),
		Log: t.Logf,
	}
	if err := a.Prepare(); err != nil {
		t.Fatal(err)
	}
	return a, key
}

// debServer serves a directory.
func debServer(t *testing.T, dir string) string {
	s := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(s.Close)
	return s.URL
}

// minimal is a system whose only package has no scripts, so that it needs
// nothing to be configured.
var minimal = &debtest.Package{
	Name: "base-files", Fields: "Essential: yes\nPriority: required\n",
	Files:   []tar.Header{debtest.Dir("/usr"), debtest.Dir("/usr/lib"), debtest.File("/usr/lib/os-release", 0o644)},
	Content: map[string]string{"/usr/lib/os-release": "ID=test\n"},
}

// TestDebLocalRepositories installs from signed repositories with the suites
// that each distribution has.
func TestDebLocalRepositories(t *testing.T) {
	extra := &debtest.Package{Name: "extra", Fields: "Depends: base-files, needed\n", Files: []tar.Header{debtest.File("/extra", 0o644)}}
	needed := &debtest.Package{Name: "needed", Architecture: "all"}
	for _, test := range []struct {
		distro, release string
		suites          []string
	}{
		{"debian", "trixie", []string{"trixie", "trixie-updates", "trixie-security"}},
		{"debian", "sid", []string{"sid"}},
		{"kali", "kali-rolling", []string{"kali-rolling"}},
		{"ubuntu", "noble", []string{"noble", "noble-updates", "noble-security"}},
	} {
		for _, fast := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s %s fast=%v", test.distro, test.release, fast), func(t *testing.T) {
				dir := t.TempDir()
				a, key := localApt(t, test.distro, distro.Request{Release: test.release, Mirror: debServer(t, dir), Components: []string{"more"}})
				repository := dir
				if test.distro == "debian" {
					repository = filepath.Join(dir, "debian")
				}
				debtest.WriteRepository(t, repository, key, test.suites, []string{"main", "more"}, minimal, extra, needed)
				a.NoFastPath = !fast
				if err := a.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
				root := t.TempDir()
				if err := a.Bootstrap(t.Context(), root, []string{"extra"}); err != nil {
					t.Fatal(err)
				}
				for name, want := range map[string]string{
					"usr/lib/os-release":          "ID=test\n",
					"extra":                       "",
					"var/lib/apt/extended_states": "Package: needed\nArchitecture: amd64\nAuto-Installed: 1\n\n",
				} {
					if b, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(b) != want {
						t.Errorf("%s: %q, %v", name, b, err)
					}
				}
				status, err := os.ReadFile(filepath.Join(root, "var/lib/dpkg/status"))
				if err != nil || strings.Count(string(status), "Status: install ok installed\n") != 3 {
					t.Errorf("status %s, %v", status, err)
				}
				if err := a.Remove(t.Context(), root, []string{"extra"}); err != nil {
					t.Fatal(err)
				}
				if _, err := os.Lstat(filepath.Join(root, "extra")); err == nil {
					t.Error("the file of a removed package is left")
				}
				if status, err = os.ReadFile(filepath.Join(root, "var/lib/dpkg/status")); err != nil || strings.Contains(string(status), "needed") {
					t.Errorf("status %s, %v", status, err)
				}
			})
		}
	}
}

// TestDebFileMirror installs from a mirror that is a directory.
func TestDebFileMirror(t *testing.T) {
	dir := t.TempDir()
	a, key := localApt(t, "kali", distro.Request{Release: "kali-rolling", Mirror: "file://" + dir})
	extra := &debtest.Package{Name: "extra", Files: []tar.Header{debtest.File("/extra", 0o644)}}
	debtest.WriteRepository(t, dir, key, []string{"kali-rolling"}, []string{"main"}, minimal, extra)
	if err := a.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time from memory
		root := t.TempDir()
		if err := a.Bootstrap(t.Context(), root, []string{"extra"}); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(filepath.Join(root, "extra")); err != nil {
			t.Error(err)
		}
	}
}

// TestDebPackageDirectories installs a package of the user's own.
func TestDebPackageDirectories(t *testing.T) {
	dir, own := t.TempDir(), t.TempDir()
	a, key := localApt(t, "kali", distro.Request{Release: "kali-rolling", Mirror: debServer(t, dir)})
	debtest.WriteRepository(t, dir, key, []string{"kali-rolling"}, []string{"main"}, minimal)
	(&debtest.Package{Name: "own", Version: "1:2~3", Files: []tar.Header{debtest.File("/own", 0o644)}}).Write(t, own)
	a.RepositoryDir = filepath.Join(t.TempDir(), "repository")
	if err := a.Prepare(); err != nil {
		t.Fatal(err)
	}
	if err := a.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.AddPackages(t.Context(), []string{own}); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := a.Bootstrap(t.Context(), root, []string{"own"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(root, "own")); err != nil {
		t.Error(err)
	}
}

// TestDebFailures checks what a user is told when something is wrong.
func TestDebFailures(t *testing.T) {
	t.Parallel() // most of the time it waits
	dir := t.TempDir()
	server := debServer(t, dir)
	request := distro.Request{Release: "kali-rolling", Mirror: server}
	suites, components := []string{"kali-rolling"}, []string{"main"}
	good, key := localApt(t, "kali", request)
	debtest.WriteRepository(t, dir, key, suites, components, minimal)
	if err := good.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect := func(name string, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
	root := t.TempDir()
	expect("missing package", good.Bootstrap(t.Context(), root, []string{"nosuch"}), "package nosuch does not exist in the configured repositories")
	if _, err := os.Lstat(filepath.Join(root, "usr/sbin/policy-rc.d")); err == nil {
		t.Error("policy-rc.d is left behind")
	}

	other, _ := localApt(t, "kali", request) // has another key
	expect("wrong key", other.Sync(t.Context()), "not signed by a key that is trusted")
	expect("wrong key", other.Sync(t.Context()), server)
	other.NoKeyCheck = true
	if err := other.Sync(t.Context()); err != nil {
		t.Errorf("RepositoryKeyCheck=no: %v", err)
	}

	unsigned := t.TempDir()
	debtest.WriteRepository(t, unsigned, nil, suites, components, minimal)
	request.Mirror = debServer(t, unsigned)
	a, _ := localApt(t, "kali", request)
	expect("no signature", a.Sync(t.Context()), "is not signed")

	release := filepath.Join(dir, "dists/kali-rolling/InRelease")
	text, err := os.ReadFile(release)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(release, bytes.Replace(text, []byte("Origin: Test"), []byte("Origin: Evil"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	// HTTP tells times by the second, and the first copy is no older.
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(release, later, later); err != nil {
		t.Fatal(err)
	}
	expect("changed content", good.Sync(t.Context()), "not signed by a key that is trusted")

	request.Mirror = server
	request.Release = "nosuch"
	a, _ = localApt(t, "kali", request)
	expect("missing suite", a.Sync(t.Context()), "no repository at "+server+" for nosuch")

	// A port that nobody listens on, and one that answers nothing.
	closed := httptest.NewServer(nil)
	closed.Close()
	request.Mirror = closed.URL
	a, _ = localApt(t, "kali", request)
	expect("refused", a.Sync(t.Context()), "cannot download "+closed.URL)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	request.Mirror = "http://" + silent.Addr().String()
	a, _ = localApt(t, "kali", request)
	start := time.Now()
	expect("silent", a.Sync(t.Context()), "cannot download "+request.Mirror)
	if d := time.Since(start); d > time.Minute {
		t.Errorf("a mirror that does not answer took %v", d)
	}
}
