//go:build integration

package test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// helloService builds examples/hello-service once, as root, and returns the directory of its configuration.
var helloService = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(sharedDir, "hello-service")
	if err := copyExample("hello-service", dir); err != nil {
		return "", err
	}
	if out, err := mkosi(dir, helloArgs...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the example: %w\n%s", err, out)
	}
	return dir, nil
})

// helloArgs make the builds of the example comparable.
var helloArgs = []string{"--force", "--seed", testSeed, "--source-date-epoch", testEpoch}

// helloDir is the directory of the example, built.
func helloDir(t *testing.T) string {
	t.Helper()
	dir, err := helloService()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// helloImage is the example's image among outputs.
func helloImage(outputs string) string { return filepath.Join(outputs, "hello.raw") }

// helloTree is what is in the image.
func helloTree(t *testing.T, outputs string) string {
	t.Helper()
	image := helloImage(outputs)
	return mountPartition(t, image, partitions(t, image)[0].Start*sector)
}

// The image has the service, enabled, and nothing of what compiled it.
func TestHelloService(t *testing.T) {
	root := helloTree(t, filepath.Join(helloDir(t), "mkosi.output"))
	info, err := os.Lstat(filepath.Join(root, "usr/bin/hello-service"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o755 {
		t.Errorf("the service's mode is %v", info.Mode())
	}
	for name, want := range map[string]string{
		"usr/lib/systemd/system/hello.service":                     "",
		"etc/systemd/system/multi-user.target.wants/hello.service": "/usr/lib/systemd/system/hello.service",
	} {
		target, err := os.Readlink(filepath.Join(root, name))
		if want != "" && (err != nil || target != want) {
			t.Errorf("%s points to %q, want %q: %v", name, target, want, err)
		}
		if _, err := os.Lstat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
	compiler := regexp.MustCompile(`/bin/(.*-)?(gcc|cc|cpp|as|ld|make)(-[0-9]+)?$|/(cc1|stdio\.h|libc\.a|crt1\.o)$`)
	err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if compiler.MatchString(path) {
			t.Errorf("a part of the compiler is in the image: %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(filepath.Join(root, "var/lib/dpkg/status"))
	if err != nil {
		t.Fatal(err)
	}
	if found := regexp.MustCompile(`(?m)^Package: (gcc|make|libc6-dev|binutils)$`).FindAllString(string(status), -1); len(found) > 0 {
		t.Errorf("the package manager has %q", found)
	}
	if !strings.Contains(string(status), "\nPackage: systemd\n") {
		t.Error("the package manager does not have systemd")
	}
}

// helloCopy is a copy of the example, with the packages and the metadata that root's build has, that belongs to a user; what
// is in it, the user may read.
func helloCopy(t *testing.T, user int) (home, dir, packages string) {
	t.Helper()
	built := helloDir(t)
	home, err := os.MkdirTemp(sharedDir, "user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, packages = filepath.Join(home, "hello-service"), filepath.Join(home, "packages")
	if err := copyExample("hello-service", dir); err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(dir, "mkosi.cache")
	if err := os.Mkdir(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	must(t, exec.Command("sh", "-euc", `cp -r "$1"/mkosi.cache/*.metadata.cache "$2"; cp -r "$3" "$4"`,
		"sh", built, cache, filepath.Join(sharedDir, "packages"), packages))
	err = filepath.WalkDir(home, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, user, user)
	})
	if err != nil {
		t.Fatal(err)
	}
	return home, dir, packages
}

// helloArgsOfUsers are those of builds that have root's packages and metadata.
func helloArgsOfUsers(packages string) []string {
	return slices.Concat(helloArgs, []string{"--cache-only", "metadata", "--package-cache-directory", packages})
}

// A user without subordinate IDs builds the same files.
func TestHelloServiceAsUser(t *testing.T) {
	home, dir, packages := helloCopy(t, ordinaryUser)
	nothingLeft := leavesNothing(t)
	cmd := mkosi(dir, helloArgsOfUsers(packages)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + home}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinaryUser, Gid: ordinaryUser}}
	must(t, cmd)
	nothingLeft()
	theirs, ours := helloTree(t, filepath.Join(helloDir(t), "mkosi.output")), helloTree(t, filepath.Join(dir, "mkosi.output"))
	diffs, err := tree.Compare(t.Context(), theirs, ours, tree.CompareOptions{IgnoreOwners: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range diffs {
		if d.Path == "var/log/journal" && d.What == "xattr" {
			continue // its access list names a group, and here is but one user
		}
		t.Errorf("%s: %s: %s as root, %s as a user", d.Path, d.What, d.A, d.B)
	}
}

// A user with subordinate IDs builds the same image, to the byte.
func TestHelloServiceAsUserWithSubordinateIDs(t *testing.T) {
	const nobody = 65534 // newuidmap wants a user that has a name
	home, dir, packages := helloCopy(t, nobody)
	ids := filepath.Join(home, "subids")
	writeFile(t, ids, fmt.Appendf(nil, "%d:500000:65536\n", nobody), 0o644)
	nothingLeft := leavesNothing(t)
	const script = `for f in /etc/subuid /etc/subgid; do mount --bind "$0" $f; done
exec setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$HOME" "$@"`
	args := append([]string{"--mount", "sh", "-euc", script, ids, binary, "-C", dir}, helloArgsOfUsers(packages)...)
	cmd := exec.Command("unshare", args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + home}
	must(t, cmd)
	nothingLeft()
	must(t, exec.Command("cmp", helloImage(filepath.Join(helloDir(t), "mkosi.output")), helloImage(filepath.Join(dir, "mkosi.output"))))
}

// After a change of a source file only that is compiled: with no network at all, from the cached image and build overlay.
func TestHelloServiceRebuild(t *testing.T) {
	dir, out := helloDir(t), t.TempDir()
	source := filepath.Join(dir, "src/greeting.c")
	before, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, source, bytes.ReplaceAll(before, []byte("hello,"), []byte("good day,")), 0o644)
	t.Cleanup(func() { writeFile(t, source, before, 0o644) })
	cmd := mkosi(dir, append(slices.Clone(helloArgs), "--output-directory", out)...)
	r := run(t, exec.Command("unshare", append([]string{"--net"}, cmd.Args...)...))
	log := r.stdout + r.stderr
	if r.code != 0 {
		t.Fatalf("exit code %d\n%s", r.code, log)
	}
	if !strings.Contains(log, "-c -o greeting.o") || strings.Contains(log, "-c -o main.o") || strings.Contains(log, "installing") {
		t.Errorf("more or less than greeting.c was compiled:\n%s", log)
	}
	if !bytes.Contains(readFile(t, filepath.Join(helloTree(t, out), "usr/bin/hello-service")), []byte("good day,")) {
		t.Error("the image has the service as it was")
	}
}
