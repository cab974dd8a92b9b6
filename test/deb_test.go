//go:build integration

package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
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
	"etc/aliases.db":                      {"a Berkeley database, which begins with a random number", nothing},
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
		{"servers", false, []string{"systemd", "udev", "apache2", "postfix", "network-manager", "cron", "rsyslog", "initramfs-tools", "vim"}},
		{"no documentation", true, []string{"man-db", "info", "perl"}},
	} {
		start := time.Now()
		a := newApt(t)
		a.Docs = !test.noDocs
		fast := installDeb(t, a, test.packages...)
		// The other way is slow and holds the lock of the caches, so that each has caches of its own.
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, err := openApt(copyDebCache(t), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			a.Docs, a.NoFastPath, a.Offline = !test.noDocs, true, true
			a.Output, a.Log = &out, t.Logf
			slow := installDeb(t, a, test.packages...)
			compareTrees(t, slow, fast, start)
			if t.Failed() {
				t.Logf("output of the tools:\n%s", out.Bytes())
			}
		})
	}
}

// copyDebCache copies what there is of packages and metadata, for as long as the test runs.
func copyDebCache(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(debCache(t), "copy-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, sub := range []string{"metadata", "packages"} {
		if err := os.CopyFS(filepath.Join(dir, sub), os.DirFS(filepath.Join(debCache(t), sub))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// userRoot names the tree for a process of this binary that installs packages
// as an ordinary user.
const userRoot = "MKOSI_TEST_USER_ROOT"

// init makes this binary a sandbox's first process, or the user of
// TestDebUser, before any test is set up.
func init() {
	if sandbox.Reexecuted() {
		sandbox.Main()
	}
	root := os.Getenv(userRoot)
	if root == "" {
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
	dir := copyDebCache(t)
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
