//go:build integration

package test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/distro"
	"github.com/mkosi-go/mkosi/internal/pkgmgr"
	"github.com/mkosi-go/mkosi/internal/pkgmgr/debtest"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// debCache is where these tests keep packages between runs, so that only the
// first one downloads them.
func debCache(t testing.TB) string {
	dir := os.Getenv("MKOSI_TEST_CACHE")
	if dir == "" {
		dir = "/var/tmp/mkosi-test-cache"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// newApt returns a driver for Debian trixie with the machine's own mirror and
// up-to-date metadata.
func newApt(t testing.TB) *pkgmgr.Apt {
	out := &bytes.Buffer{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("output of the tools:\n%s", out.Bytes())
		}
	})
	a, err := openApt(debCache(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a.Output, a.Log = out, t.Logf
	if !a.Synced() {
		if err := a.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// openApt prepares a driver with its cache and its /etc in two directories.
func openApt(cache, etc string) (*pkgmgr.Apt, error) {
	d, err := distro.Lookup("debian")
	if err != nil {
		return nil, err
	}
	host, err := distro.HostSources("/")
	if err != nil {
		return nil, err
	}
	sources, err := d.Sources(&distro.Request{Release: "trixie", Architecture: "x86-64", Host: host})
	if err != nil {
		return nil, err
	}
	a := &pkgmgr.Apt{
		Etc:          etc,
		Distribution: d,
		Release:      "trixie",
		Architecture: "x86-64",
		Sources:      sources,
		MetadataDir:  filepath.Join(cache, "metadata"),
		PackageDir:   filepath.Join(cache, "packages"),
		Docs:         true,
		IgnoreOwners: os.Getuid() != 0,
	}
	return a, a.Prepare()
}

// installDeb installs packages into a new tree and returns it.
func installDeb(t testing.TB, a *pkgmgr.Apt, packages ...string) string {
	root, err := os.MkdirTemp(debCache(t), "root-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if os.Getenv("MKOSI_TEST_KEEP") == "" {
			os.RemoveAll(root)
		}
	})
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := a.Bootstrap(context.Background(), root, packages); err != nil {
		t.Fatal(err)
	}
	t.Logf("installed in %v", time.Since(start))
	return root
}

// node is what is compared of a file.
type node struct {
	mode    uint32
	uid     uint32
	gid     uint32
	rdev    uint64
	content string   // digest, or target of a link
	mtime   int64    // of regular files that came out of a package
	xattrs  string   // names and values, sorted
	links   []string // all names of the file, sorted
}

// allowed are the files in which two installations of the same packages may
// differ, with the reason. A function tells what of the content must still be
// the same.
var allowed = map[string]struct {
	reason string
	same   func([]byte) []byte
}{
	"var/lib/dpkg/status-old":             {"dpkg's copy from before its last change, which depends on how often it ran", nothing},
	"var/lib/dpkg/diversions-old":         {"likewise", nothing},
	"var/cache/debconf/config.dat-old":    {"debconf's copy from before its last change", nothing},
	"var/cache/debconf/templates.dat-old": {"likewise", nothing},
	"var/cache/ldconfig/aux-cache":        {"holds inode numbers", nothing},
	"var/log/alternatives.log":            {"holds the time of day, and packages are configured in another order", sortedLines},
	"var/lib/apt/extended_states":         {"apt writes the packages in the order of its hash table", sortedParagraphs},
	"var/lib/dbus/machine-id":             {"a random identity", nothing},
	"etc/ssh/ssh_host_rsa_key":            {"a random key", nothing},
	"etc/ssh/ssh_host_rsa_key.pub":        {"a random key", nothing},
	"etc/ssh/ssh_host_ecdsa_key":          {"a random key", nothing},
	"etc/ssh/ssh_host_ecdsa_key.pub":      {"a random key", nothing},
	"etc/ssh/ssh_host_ed25519_key":        {"a random key", nothing},
	"etc/ssh/ssh_host_ed25519_key.pub":    {"a random key", nothing},
}

func nothing([]byte) []byte { return nil }

var logTime = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)

func sortedLines(b []byte) []byte {
	l := strings.SplitAfter(logTime.ReplaceAllString(string(b), "TIME"), "\n")
	slices.Sort(l)
	return []byte(strings.Join(l, ""))
}

func sortedParagraphs(b []byte) []byte {
	p := strings.Split(strings.TrimSpace(string(b)), "\n\n")
	slices.Sort(p)
	return []byte(strings.Join(p, "\n\n"))
}

// readTree describes everything below root. Times after since are those of
// the installation and left out.
func readTree(t *testing.T, root string, since time.Time) map[string]node {
	nodes := map[string]node{}
	names := map[uint64][]string{}
	inodes := map[string]uint64{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		var st syscall.Stat_t
		if err := syscall.Lstat(p, &st); err != nil {
			return err
		}
		n := node{mode: st.Mode, uid: st.Uid, gid: st.Gid, rdev: st.Rdev, xattrs: xattrs(t, p)}
		switch st.Mode & syscall.S_IFMT {
		case syscall.S_IFREG:
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if a, ok := allowed[rel]; ok {
				b = a.same(b)
			}
			n.content = fmt.Sprintf("%x", sha256.Sum256(b))
			if st.Mtim.Sec < since.Unix() {
				n.mtime = st.Mtim.Nano()
			}
			names[st.Ino] = append(names[st.Ino], rel)
			inodes[rel] = st.Ino
		case syscall.S_IFLNK:
			if n.content, err = os.Readlink(p); err != nil {
				return err
			}
		}
		nodes[rel] = n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for rel, ino := range inodes {
		if n := nodes[rel]; len(names[ino]) > 1 {
			n.links = names[ino]
			nodes[rel] = n
		}
	}
	return nodes
}

func xattrs(t *testing.T, p string) string {
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(p, buf)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, name := range strings.Split(string(buf[:n]), "\x00") {
		if name == "" {
			continue
		}
		v := make([]byte, 4096)
		m, err := unix.Lgetxattr(p, name, v)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s=%x", name, v[:m]))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// compareTrees reports every difference that is not allowed.
func compareTrees(t *testing.T, a, b string, since time.Time) {
	t.Helper()
	x, y := readTree(t, a, since), readTree(t, b, since)
	if len(x) < 3000 {
		t.Errorf("only %d files in %s", len(x), a)
	}
	for p, n := range x {
		if m, ok := y[p]; !ok {
			t.Errorf("%s: only in the first tree", p)
		} else if fmt.Sprint(n) != fmt.Sprint(m) {
			t.Errorf("%s differs:\n %+v\n %+v", p, n, m)
		}
	}
	for p := range y {
		if _, ok := x[p]; !ok {
			t.Errorf("%s: only in the second tree", p)
		}
	}
}

// TestDebFastPath installs the same packages by apt and dpkg and by the fast
// path and compares the trees.
func TestDebFastPath(t *testing.T) {
	for _, test := range []struct {
		name     string
		noDocs   bool
		packages []string
	}{
		{"tutorial", false, []string{"systemd", "udev"}},
		{"essential", false, nil},
		{"larger", false, []string{"systemd", "udev", "openssh-server", "dbus", "python3-minimal", "ca-certificates", "locales"}},
		{"no documentation", true, []string{"man-db", "info", "perl"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			start := time.Now()
			a := newApt(t)
			a.Docs = !test.noDocs
			fast := installDeb(t, a, test.packages...)
			a.NoFastPath = true
			slow := installDeb(t, a, test.packages...)
			compareTrees(t, slow, fast, start)
		})
	}
}

// userRoot names the tree for a process of this binary that installs packages
// as an ordinary user.
const userRoot = "MKOSI_TEST_USER_ROOT"

func init() {
	root := os.Getenv(userRoot)
	if root == "" || sandbox.Reexecuted() {
		return
	}
	a, err := openApt(filepath.Dir(root), filepath.Join(filepath.Dir(root), "etc"))
	if err == nil {
		a.Output = os.Stderr
		err = a.Bootstrap(context.Background(), root, []string{"systemd", "udev"})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// TestDebUser installs packages as a user without a range of user IDs and
// compares the tree with root's, but for owners.
func TestDebUser(t *testing.T) {
	const nobody = 65534
	start := time.Now()
	want := installDeb(t, newApt(t), "systemd", "udev")
	dir, err := os.MkdirTemp(debCache(t), "user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, sub := range []string{"metadata", "packages"} {
		if err := os.CopyFS(filepath.Join(dir, sub), os.DirFS(filepath.Join(debCache(t), sub))); err != nil {
			t.Fatal(err)
		}
	}
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "test")
	if data, err := os.ReadFile("/proc/self/exe"); err != nil {
		t.Fatal(err)
	} else if err := os.WriteFile(binary, data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(p, nobody, nobody))
	}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary)
	cmd.Env = []string{userRoot + "=" + root, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, "HOME=" + dir}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := readTree(t, root, start)
	for p, n := range readTree(t, want, start) {
		m, ok := got[p]
		n.uid, n.gid, m.uid, m.gid = 0, 0, 0, 0
		if p == "var/log/journal" {
			// An access control list for the group adm, which is no group of
			// a namespace with a single user.
			n.xattrs, m.xattrs = "", ""
		}
		if !ok {
			t.Errorf("%s: missing", p)
		} else if fmt.Sprint(n) != fmt.Sprint(m) {
			t.Errorf("%s differs:\n %+v\n %+v", p, n, m)
		}
		delete(got, p)
	}
	for p := range got {
		t.Errorf("%s: only in the user's tree", p)
	}
}

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
	if d := time.Since(start); d > 90*time.Second {
		t.Errorf("a mirror that does not answer took %v", d)
	}
}

// TestDebRepeatable installs the same packages twice for the same
// SourceDateEpoch= and compares the trees, without exceptions.
func TestDebRepeatable(t *testing.T) {
	start := time.Now()
	epoch := int64(1750000000)
	a := newApt(t)
	a.SourceDateEpoch = &epoch
	first := installDeb(t, a, "systemd", "udev", "dbus", "python3-minimal")
	time.Sleep(1100 * time.Millisecond) // so that no time of day is the same
	second := installDeb(t, a, "systemd", "udev", "dbus", "python3-minimal")
	old := allowed
	allowed = nil
	defer func() { allowed = old }()
	compareTrees(t, first, second, start)
}
