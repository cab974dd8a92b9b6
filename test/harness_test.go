//go:build integration

// Package test holds the integration tests: they build real images and have other programs judge them. test/run runs
// them and sets up what they need; nothing here is ever skipped.
package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/distro"
)

// project is the top of the checkout.
var project = func() string {
	dir, err := filepath.Abs("..")
	if err != nil {
		panic(err)
	}
	return dir
}()

// binary is the program under test, which test/run builds.
var binary = filepath.Join(project, "bin/mkosi")

// sharedDir holds what tests share: package caches and the tutorial, built once.
var sharedDir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if err := isolate(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		dir, err := os.MkdirTemp("/var/tmp", "mkosi-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o755); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		sharedDir = dir
		return m.Run()
	}())
}

// isolate lets the tests see which mounts and processes the programs that they run leave behind, whatever else happens on
// this machine: it gives them a mount namespace of their own, and makes every process whose parent ended their child.
func isolate() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming the parent of orphans: %w", err)
	}
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	if parents, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid())); err != nil || parents != own {
		return err
	}
	// A namespace is a thread's, and all threads of what it executes have it.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("making a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("detaching the mounts from the machine's: %w", err)
	}
	return os.NewSyscallError("execve", unix.Exec("/proc/self/exe", os.Args, os.Environ()))
}

// result is how a program ended.
type result struct {
	code   int
	stdout string
	stderr string
}

// run runs a command to its end.
func run(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("%s: %v", strings.Join(cmd.Args, " "), err)
	}
	r := result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		r.code = 128 + int(ws.Signal())
	}
	return r
}

// must runs a command that has to succeed and returns its standard output.
func must(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	r := run(t, cmd)
	if r.code != 0 {
		t.Fatalf("%s: exit code %d\n%s%s", strings.Join(cmd.Args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// mkosi is the command that runs the program under test in a directory, with package caches shared by all tests.
func mkosi(dir string, args ...string) *exec.Cmd {
	all := []string{"-C", dir, "--package-cache-directory", filepath.Join(sharedDir, "packages")}
	return exec.Command(binary, append(all, args...)...)
}

// reference is the command that runs a program of the reference root; dir appears there at the same path.
func reference(dir string, args ...string) *exec.Cmd {
	return exec.Command(filepath.Join(project, "test/reference"), append([]string{dir}, args...)...)
}

// inReference runs shell commands, a line each, in a directory of the reference root, as many at a time as there are
// processors: the reference takes long to start. It copies files to /tmp whenever it does so, and a file system in memory
// makes that twice as fast. Preparation is a command that comes first.
func inReference(t *testing.T, dir, preparation string, commands []string) {
	t.Helper()
	writeFile(t, filepath.Join(dir, "commands"), []byte(strings.Join(commands, "\n")+"\n"), 0o644)
	const all = ` && mount -t tmpfs tmpfs /tmp && xargs -d '\n' -n 1 -P "$(nproc)" bash -c <commands`
	must(t, reference(dir, "bash", "-c", preparation+all))
}

// hostMirror is where this machine gets Debian from.
func hostMirror() (string, error) {
	sources, err := distro.HostSources("/")
	if err != nil {
		return "", err
	}
	for _, s := range sources {
		if len(s.URIs) > 0 && slices.Contains(s.Components, "main") && strings.HasSuffix(strings.TrimRight(s.URIs[0], "/"), "/debian") {
			return s.URIs[0], nil
		}
	}
	return "", errors.New("this machine's apt has no Debian mirror configured")
}

// copyExample copies a configuration of examples/ without what an earlier build left there.
func copyExample(name, dir string) error {
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(project, "examples", name))); err != nil {
		return err
	}
	for _, stale := range []string{"mkosi.output", "mkosi.cache", "mkosi.builddir", "mkosi.key", "mkosi.crt"} {
		if err := os.RemoveAll(filepath.Join(dir, stale)); err != nil {
			return err
		}
	}
	return nil
}

// testSeed and testEpoch make builds repeatable.
const (
	testSeed  = "6f0b6a3e-4ac0-4d0b-9d2f-3b4a35b7a9c1"
	testEpoch = "1760000000"
)

// seedImages gives every image of a configuration the same seed: Seed= belongs to one image, so the option does not do.
func seedImages(dir string) error {
	for _, image := range []string{".", "mkosi.images/base", "mkosi.images/btrfs"} {
		dropIns := filepath.Join(dir, image, "mkosi.conf.d")
		if err := os.MkdirAll(dropIns, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dropIns, "seed.conf"), []byte("[Output]\nSeed="+testSeed+"\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// tutorial builds all stages of the tutorial once and returns the directory of its configuration.
var tutorial = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(sharedDir, "tutorial")
	if err := copyExample("sysext", dir); err != nil {
		return "", err
	}
	if err := seedImages(dir); err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"genkey"},
		{"--force", "--source-date-epoch", testEpoch},
		{"--profile", "initrd", "--source-date-epoch", testEpoch},
	} {
		if out, err := mkosi(dir, args...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("mkosi %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return dir, nil
})

// debianBase builds the tree of a Debian without any packages but the essential ones once.
var debianBase = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(sharedDir, "base")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	if out, err := mkosi(dir, "--distribution=debian", "--release=trixie", "--format=directory", "--output=base", "--source-date-epoch", testEpoch).CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the base tree: %w\n%s", err, out)
	}
	return filepath.Join(dir, "base"), nil
})

// withBase puts the path of the Debian base tree in the place of @BASE@ in a configuration.
func withBase(t *testing.T, conf string) string {
	t.Helper()
	base, err := debianBase()
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(conf, "@BASE@", base)
}

// tutorialDir is the directory of the tutorial, built.
func tutorialDir(t *testing.T) string {
	t.Helper()
	dir, err := tutorial()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// comparison is the tutorial's second stage, built by us and by the reference from the same packages with the same keys.
type comparison struct{ ours, reference string }

// compared builds both sides of the comparison once. What comes from this machine's own mirror may be newer than what
// its main suite has, so both are told to use that alone.
var compared = sync.OnceValues(func() (c comparison, err error) {
	mirror, err := hostMirror()
	if err != nil {
		return c, err
	}
	c = comparison{filepath.Join(sharedDir, "compared"), filepath.Join(sharedDir, "reference")}
	args := []string{"--profile", "initrd", "--force", "--local-mirror", mirror, "--source-date-epoch", testEpoch}
	for dir, command := range map[string]func(dir string) *exec.Cmd{
		c.ours:      func(dir string) *exec.Cmd { return mkosi(dir, args...) },
		c.reference: func(dir string) *exec.Cmd { return reference(dir, append([]string{"mkosi"}, args...)...) },
	} {
		if err := prepareTutorial(dir); err != nil {
			return c, err
		}
		if out, err := command(dir).CombinedOutput(); err != nil {
			return c, fmt.Errorf("building in %s: %w\n%s", dir, err, out)
		}
	}
	return c, nil
})

// prepareTutorial copies the tutorial's configuration and the keys of the tutorial that the tests share.
func prepareTutorial(dir string) error {
	shared, err := tutorial()
	if err != nil {
		return err
	}
	if err := copyExample("sysext", dir); err != nil {
		return err
	}
	for _, key := range []string{"mkosi.key", "mkosi.crt"} {
		b, err := os.ReadFile(filepath.Join(shared, key))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, key), b, 0o600); err != nil {
			return err
		}
	}
	return seedImages(dir)
}

// comparedDirs returns the directories of the two builds.
func comparedDirs(t *testing.T) (ours, reference string) {
	t.Helper()
	c, err := compared()
	if err != nil {
		t.Fatal(err)
	}
	return c.ours, c.reference
}

// mountPartition mounts a file system that lies in an image at an offset, read-only, until the test ends.
func mountPartition(t *testing.T, image string, offset int64) string {
	t.Helper()
	dir := t.TempDir()
	must(t, exec.Command("mount", "-o", fmt.Sprintf("loop,ro,offset=%d", offset), image, dir))
	t.Cleanup(func() { must(t, exec.Command("umount", dir)) })
	return dir
}
