//go:build integration

package test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// guestConf describes an image that boots fast where the processor is emulated: it lies in memory as a whole, needs neither
// firmware nor an initrd, and its kernel is small. What it has is Debian's, and nothing is made for tests.
const guestConf = `[Distribution]
Distribution=debian
Release=trixie
[Output]
Format=cpio
Output=guest
CompressOutput=zstd
SplitArtifacts=kernel
[Content]
Bootable=no
Packages=systemd,systemd-sysv,udev,linux-image-cloud-amd64,openssh-server
Locale=C.UTF-8
Timezone=UTC
RootPassword=
Hostname=guest
CleanPackageMetadata=yes
WithDocs=no
KernelModules=re:virtio,re:failover,re:vsock
[Runtime]
Machine=mkosi-test-guest
RAM=1G
CPUs=2
Console=read-only
`

// guestDir is a directory with the image, built, and a key.
func guestDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "mkosi.conf"), []byte(guestConf), 0o644)
	writeFile(t, filepath.Join(dir, "mkosi.extra/etc/systemd/network/80-dhcp.network"), []byte("[Match]\nType=ether\n[Network]\nDHCP=yes\n"), 0o644)
	must(t, mkosi(dir, "genkey"))
	must(t, mkosi(dir, "build"))
	return dir
}

// One image for all that is done with a running guest.
func TestGuest(t *testing.T) {
	dir := guestDir(t)
	t.Run("tests", func(t *testing.T) { testGuestTests(t, dir) })
	t.Run("login", func(t *testing.T) { testGuestLogin(t, dir) })
}

// testGuestTests runs tests in a guest that has nothing for them. Their results and logs must be what they should be.
func testGuestTests(t *testing.T, dir string) {
	for name, text := range map[string]string{
		"10-root":           "#!/bin/sh\necho to stdout; echo to stderr >&2\n[ \"$(id -u) $(cat data)\" = '0 word' ]\n",
		"20-fails":          "#!/bin/sh\nexit 4\n",
		"30-unit.service":   "[Service]\nType=oneshot\nExecStart=/bin/echo from the unit\n",
		"40-fails.service":  "[Service]\nUser=nobody\nExecStart=/bin/sh -c 'exit 5'\n",
		"50-not.service":    "[Unit]\nConditionPathExists=/nowhere\n[Service]\nExecStart=/bin/true\n",
		"60-remain.service": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
		"70-broken.service": "[Service]\nType=oneshot\n",
	} {
		mode := os.FileMode(0o755)
		if strings.HasSuffix(name, ".service") {
			mode = 0o644
		}
		writeFile(t, filepath.Join(dir, "mkosi.test", name), []byte(text), mode)
	}
	writeFile(t, filepath.Join(dir, "mkosi.test/data"), []byte("word\n"), 0o644)
	r := run(t, mkosi(dir, "--tools-tree", machineRoot(), "--json", "test"))
	if r.code != 1 || !strings.Contains(r.stderr, "4 of 7 tests failed: 20-fails, 40-fails.service, 50-not.service, 70-broken.service") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	for _, want := range []string{"to stdout", "to stderr", "from the unit"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("%q is not in the output:\n%s", want, r.stderr)
		}
	}
	var got struct {
		Passed bool
		State  string
		Tests  []struct {
			Name   string
			Passed bool
			Status int
		}
		ConsoleLog, Journal string
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatalf("%v\n%s", err, r.stdout)
	}
	var results []string
	for _, test := range got.Tests {
		result := "passed"
		if !test.Passed {
			result = "failed"
		}
		results = append(results, test.Name+" "+result)
	}
	want := []string{"10-root passed", "20-fails failed", "30-unit.service passed", "40-fails.service failed", "50-not.service failed",
		"60-remain.service passed", "70-broken.service failed"}
	if diff := cmp.Diff(want, results); diff != "" || got.Passed || got.State != "running" {
		t.Errorf("passed %v, state %q\n%s", got.Passed, got.State, diff)
	}
	for path, text := range map[string]string{got.ConsoleLog: "guest login: ", got.Journal: "from the unit"} {
		if data, err := os.ReadFile(path); err != nil || !strings.Contains(string(data), text) {
			t.Errorf("%s: %v, or it lacks %q", path, err, text)
		}
	}
}

// testGuestLogin logs in to a guest over SSH. Its exit status must become that of mkosi vm.
func testGuestLogin(t *testing.T, dir string) {
	runtime := t.TempDir()
	env := append(os.Environ(), "XDG_RUNTIME_DIR="+runtime)
	vm := mkosi(dir, "--tools-tree", machineRoot(), "vm")
	vm.Env = env
	stdout, err := vm.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	vm.Stderr = os.Stderr
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// It is gone already unless the test has failed.
		_ = vm.Process.Signal(syscall.SIGTERM)
		_, _ = vm.Process.Wait()
	})
	awaitLogin(t, stdout)
	ssh := func(args ...string) result {
		cmd := mkosi(dir, append([]string{"ssh", "--"}, args...)...)
		cmd.Env = env
		return run(t, cmd)
	}
	if r := ssh("echo out; echo err >&2; hostname; exit 7"); r.code != 7 || r.stdout != "out\nguest\n" || r.stderr != "err\n" {
		t.Errorf("got %+v", r)
	}
	ssh("systemctl", "exit", "9") // the guest may be gone before the status of that has come
	if err := vm.Wait(); vm.ProcessState.ExitCode() != 9 {
		t.Errorf("mkosi vm: %v", err)
	}
	if r := ssh("true"); r.code != 1 || !strings.Contains(r.stderr, "no machine named mkosi-test-guest is running") {
		t.Errorf("got %+v", r)
	}
}

// awaitLogin reads a console until the login prompt has come, and goes on to read it.
func awaitLogin(t *testing.T, console io.Reader) {
	t.Helper()
	came := make(chan bool, 1)
	var seen strings.Builder
	go func() {
		bytes := bufio.NewReader(console)
		for !strings.HasSuffix(seen.String(), "guest login: ") {
			b, err := bytes.ReadByte()
			if err != nil {
				came <- false
				return
			}
			seen.WriteByte(b)
		}
		came <- true
		_, _ = io.Copy(io.Discard, bytes)
	}()
	select {
	case ok := <-came:
		if !ok {
			t.Fatalf("the machine ended before it had booted:\n%s", seen.String())
		}
	case <-time.After(10 * time.Minute):
		t.Fatal("no login prompt within ten minutes")
	}
}
