//go:build integration

package test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The exit codes that `mkosi --help` documents.
const (
	exitFailed = 1
	exitUsage  = 2
)

// newProject writes a configuration into a fresh directory.
func newProject(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "p")
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// previous puts something in the place of an image's output and returns a function that checks that it is still there,
// and that nothing else came.
func previous(t *testing.T, dir, name string) func() {
	t.Helper()
	out := filepath.Join(dir, "mkosi.output")
	if err := os.MkdirAll(filepath.Join(out, name), 0o755); err != nil {
		t.Fatal(err)
	}
	marker := filepath.Join(out, name, "marker")
	if err := os.WriteFile(marker, []byte("previous"), 0o644); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if b, err := os.ReadFile(marker); err != nil || string(b) != "previous" {
			t.Errorf("the previous output was touched: %q, %v", b, err)
		}
		if diff := cmp.Diff([]string{name}, names(t, out)); diff != "" {
			t.Errorf("the output directory: %s", diff)
		}
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// mounts are the mounts that this process sees.
func mounts(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(b), "\n")
}

// descendants lists the processes that were started by the tests and those that they started, as none of them can get
// away from the tests; see isolate. Those that have ended are none.
func descendants(t *testing.T) []string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	children, words := map[string][]string{}, map[string]string{}
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// The name, in parentheses, may have anything in it.
		pid, rest := filepath.Base(filepath.Dir(name)), string(b[bytes.LastIndexByte(b, ')')+1:])
		fields := strings.Fields(rest)
		children[fields[1]] = append(children[fields[1]], pid)
		if state := fields[0]; state != "Z" {
			cmdline, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
			words[pid] = fmt.Sprintf("%s %s", pid, bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '}))
		}
	}
	var list []string
	for parents := []string{strconv.Itoa(os.Getpid())}; len(parents) > 0; parents = parents[1:] {
		for _, pid := range children[parents[0]] {
			parents = append(parents, pid)
			if words[pid] != "" {
				list = append(list, words[pid])
			}
		}
	}
	return list
}

// leavesNothing returns a function that checks that no mount and no process came up since. The test must not run beside
// others.
func leavesNothing(t *testing.T) func() {
	t.Helper()
	before, running := mounts(t), descendants(t)
	return func() {
		t.Helper()
		var left []string
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			left = slices.DeleteFunc(descendants(t), func(p string) bool { return slices.Contains(running, p) })
			if len(left) == 0 || time.Now().After(deadline) {
				break
			}
		}
		if len(left) > 0 {
			t.Errorf("processes are left: %v", left)
		}
		if diff := cmp.Diff(before, mounts(t)); diff != "" {
			t.Errorf("mounts are left: %s", diff)
		}
	}
}

// oneMessage checks the exit code, and that standard error has one error, which says what it should.
func oneMessage(t *testing.T, r result, code int, wants ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	if n := strings.Count("\n"+r.stderr, "\nerror:"); n != 1 {
		t.Errorf("%d errors, want one", n)
	}
	for _, want := range wants {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("nothing says %q", want)
		}
	}
	if t.Failed() {
		t.Logf("standard error:\n%s", r.stderr)
	}
}

const debianDirectory = "[Distribution]\nDistribution=debian\nRelease=trixie\n[Output]\nFormat=directory\nOutputDirectory=mkosi.output\n"

func TestBadConfiguration(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		wants []string
	}{
		"unknown section": {
			map[string]string{"mkosi.conf": "[Outptu]\nFormat=directory\n"},
			[]string{"mkosi.conf:1", "Outptu", "Output"},
		},
		"misspelt setting": {
			map[string]string{"mkosi.conf": "[Content]\n\nPakcages=systemd\n"},
			[]string{"mkosi.conf:3", "Pakcages", "Packages"},
		},
		"wrong kind": {
			map[string]string{"mkosi.conf": "[Content]\nWithDocs=perhaps\n"},
			[]string{"mkosi.conf:2", "WithDocs", "perhaps"},
		},
		"missing base tree": {
			map[string]string{"mkosi.conf": debianDirectory + "[Content]\nBaseTrees=%O/nowhere\n"},
			[]string{"nowhere", "does not exist"},
		},
		"overlay of nothing": {
			map[string]string{"mkosi.conf": debianDirectory + "Overlay=yes\n"},
			[]string{"Overlay=yes needs BaseTrees="},
		},
		"not supported yet": {
			map[string]string{"mkosi.conf": debianDirectory + "ManifestFormat=json\n"},
			[]string{"ManifestFormat= is not supported yet", "mkosi.conf:7"},
		},
		"dependency cycle": {
			map[string]string{
				"mkosi.conf":                debianDirectory,
				"mkosi.images/a/mkosi.conf": "[Config]\nDependencies=b\n",
				"mkosi.images/b/mkosi.conf": "[Config]\nDependencies=a\n",
			},
			[]string{"cycle", "a", "b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			nothingLeft := leavesNothing(t)
			dir := newProject(t, tt.files)
			untouched := previous(t, dir, "image")
			oneMessage(t, run(t, mkosi(dir, "--force")), exitUsage, tt.wants...)
			untouched()
			nothingLeft()
		})
	}
}

func TestMissingPackage(t *testing.T) {
	nothingLeft := leavesNothing(t)
	dir := newProject(t, map[string]string{"mkosi.conf": debianDirectory + "[Content]\nPackages=systemd\n         no-such-package-at-all\n"})
	untouched := previous(t, dir, "image")
	oneMessage(t, run(t, mkosi(dir, "--force")), exitFailed, "no-such-package-at-all")
	untouched()
	nothingLeft()
}

func TestFullDisk(t *testing.T) {
	nothingLeft := leavesNothing(t)
	dir := newProject(t, map[string]string{"mkosi.conf": debianDirectory})
	out := filepath.Join(dir, "mkosi.output")
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	must(t, exec.Command("mount", "-t", "tmpfs", "-o", "size=40M", "tmpfs", out))
	unmount := sync.OnceFunc(func() { must(t, exec.Command("umount", out)) })
	t.Cleanup(unmount)
	untouched := previous(t, dir, "image")
	oneMessage(t, run(t, mkosi(dir, "--force")), exitFailed, "no space left on device", "hint:")
	untouched()
	unmount()
	nothingLeft()
}

// A mirror that refuses connections.
func TestRefusingMirror(t *testing.T) {
	nothingLeft := leavesNothing(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	buildFromDeadMirror(t, listener.Addr().String())
	nothingLeft()
}

// A mirror that takes connections and says nothing. As there is nothing to do but to wait, other tests run meanwhile.
func TestSilentMirror(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	start := time.Now()
	buildFromDeadMirror(t, listener.Addr().String())
	if took := time.Since(start); took > 2*time.Minute {
		t.Errorf("took %v to give up", took)
	}
}

// buildFromDeadMirror builds an image from a mirror at an address, which has to fail for that.
func buildFromDeadMirror(t *testing.T, addr string) {
	t.Helper()
	dir := newProject(t, map[string]string{"mkosi.conf": debianDirectory})
	untouched := previous(t, dir, "image")
	cmd := mkosi(dir, "--force", "--cache-directory", t.TempDir(), "--mirror", "http://"+addr+"/debian")
	oneMessage(t, run(t, cmd), exitFailed, addr, "hint:")
	untouched()
}

// running starts a build in a process group of its own and returns once it unpacks packages.
func running(t *testing.T, dir string) (cmd *exec.Cmd, stderr *bytes.Buffer, wait func() int) {
	t.Helper()
	cmd = mkosi(dir, "--force", "--debug")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	w := &watcher{}
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The install is under way when the tree in the staging directory has files.
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		found, err := filepath.Glob(filepath.Join(dir, "mkosi.output/.mkosi-*/*/system/usr/bin/*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(found) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the install did not begin:\n%s", w.String())
		}
	}
	return cmd, &w.Buffer, func() int {
		_ = cmd.Wait() // how it ended is in the state
		if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return 128 + int(ws.Signal())
		}
		return cmd.ProcessState.ExitCode()
	}
}

// watcher is a buffer that several goroutines may use.
type watcher struct {
	mu sync.Mutex
	bytes.Buffer
}

func (w *watcher) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Buffer.Write(b)
}

func (w *watcher) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Buffer.String()
}

func TestInterrupt(t *testing.T) {
	nothingLeft := leavesNothing(t)
	dir := newProject(t, map[string]string{"mkosi.conf": debianDirectory + "[Content]\nPackages=systemd\n"})
	untouched := previous(t, dir, "image")
	cmd, stderr, wait := running(t, dir)
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	code := wait()
	oneMessage(t, result{code: code, stderr: stderr.String()}, 128+int(syscall.SIGINT), "interrupted")
	untouched()
	nothingLeft()
}

func TestKill(t *testing.T) {
	nothingLeft := leavesNothing(t)
	dir := newProject(t, map[string]string{"mkosi.conf": debianDirectory + "[Content]\nPackages=systemd\n"})
	previous(t, dir, "image")
	cmd, _, wait := running(t, dir)
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := wait(); code != 128+int(syscall.SIGKILL) {
		t.Errorf("exit code %d", code)
	}
	nothingLeft()
	if b, err := os.ReadFile(filepath.Join(dir, "mkosi.output/image/marker")); err != nil || string(b) != "previous" {
		t.Errorf("the previous output was touched: %q, %v", b, err)
	}

	// What the killed run left is gone after the next one, which succeeds.
	must(t, mkosi(dir, "--force"))
	if diff := cmp.Diff([]string{"image"}, names(t, filepath.Join(dir, "mkosi.output"))); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(dir, "mkosi.output/image/usr/bin/bash")); err != nil {
		t.Error(err)
	}
	nothingLeft()
}

// Two builds of the same configuration at once do not disturb each other, although one image reads the other.
func TestTwoBuildsAtOnce(t *testing.T) {
	nothingLeft := leavesNothing(t)
	dir := newProject(t, map[string]string{
		"mkosi.conf": "[Distribution]\nDistribution=debian\nRelease=trixie\n" +
			"[Output]\nFormat=cpio\nOutputDirectory=mkosi.output\n[Content]\nBaseTrees=%O/base\n",
		"mkosi.images/base.conf": "[Output]\nFormat=directory\n",
	})
	var wg sync.WaitGroup
	results := make([]result, 2)
	for i := range results {
		wg.Go(func() { results[i] = run(t, mkosi(dir, "--force")) })
	}
	wg.Wait()
	for _, r := range results {
		if r.code != 0 {
			t.Errorf("exit code %d:\n%s", r.code, r.stderr)
		}
	}
	if diff := cmp.Diff([]string{"base", "image", "image.cpio.zst"}, names(t, filepath.Join(dir, "mkosi.output"))); diff != "" {
		t.Error(diff)
	}
	nothingLeft()
}
