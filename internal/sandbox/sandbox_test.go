package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Environment variables that make the test binary something else.
const (
	testHelper  = "SANDBOX_TEST_HELPER"  // run this one of helpers instead
	testSession = "SANDBOX_TEST_SESSION" // enter a session first
	testVariant = "SANDBOX_TEST_VARIANT" // already one of the variants
)

// helpers are programs for the tests to start.
var helpers = map[string]func() error{}

func TestMain(m *testing.M) {
	if Reexecuted() {
		Main()
	}
	if os.Getenv(testSession) != "" {
		exitOn(EnterSession())
	}
	if name := os.Getenv(testHelper); name != "" {
		exitOn(helpers[name]())
		os.Exit(0)
	}
	code := m.Run()
	if dir, err := helperDir(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// helperDir is a directory with a copy of this binary, called helper, that this
// user can mount. TestMain removes it.
var helperDir = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sandbox-test-")
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(self)
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "helper"), data, 0o755)
})

func exitOn(err error) {
	var exit *ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.Code)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
}

// testBinary is a command that runs this binary again with this environment
// added.
func testBinary(t testing.TB, env []string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// helper is a command that runs one of helpers.
func helper(t testing.TB, name string, env ...string) *exec.Cmd {
	return testBinary(t, append(env, testHelper+"="+name))
}

// asUser has a command of root's run as an ordinary user, with a directory for
// its files. An ordinary user's command is one already.
func asUser(t testing.TB, cmd *exec.Cmd) *exec.Cmd {
	if os.Geteuid() != 0 || inUserNamespace() {
		return cmd
	}
	dir, err := os.MkdirTemp("", "sandbox-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const nobody = 65534
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, "TMPDIR="+dir, "HOME="+dir)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// inSession runs the calling test again in a session unless it is in one, and
// reports whether the caller should go on.
func inSession(t *testing.T) bool {
	if Current().Active {
		return true
	}
	cmd := testBinary(t, []string{testSession + "=1"}, "-test.run=^"+t.Name()+"$", "-test.v")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("in a session: %v\n%s", err, out)
	}
	return false
}

// TestVariants runs the other tests once more: in a session, and, as root, also
// as an ordinary user, with and without a session.
func TestVariants(t *testing.T) {
	t.Parallel()
	if os.Getenv(testVariant) != "" {
		return
	}
	run := func(name string, env []string, prepare func(testing.TB, *exec.Cmd) *exec.Cmd) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := prepare(t, testBinary(t, append(env, testVariant+"="+name), "-test.v", "-test.skip=^TestVariants$"))
			out, err := cmd.CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("--- PASS: TestCmdExitCode")) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	same := func(_ testing.TB, cmd *exec.Cmd) *exec.Cmd { return cmd }
	run("session", []string{testSession + "=1"}, same)
	if os.Geteuid() == 0 && !inUserNamespace() {
		run("user", nil, asUser)
		run("user session", []string{testSession + "=1"}, asUser)
	}
}

// shell is a command that runs a shell script with the host's tools.
func shell(script string, ops ...Op) *Cmd {
	return &Cmd{
		Args: []string{"sh", "-c", script},
		Env:  []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin"},
		Ops:  append(HostUsr(), ops...),
	}
}

// output runs c and returns what it wrote.
func output(t testing.TB, c *Cmd) string {
	t.Helper()
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

// wantFailure runs a script that has to fail by itself.
func wantFailure(t *testing.T, script string, ops ...Op) {
	t.Helper()
	c := shell(script, ops...)
	c.Stdout = io.Discard
	var exit *ExitError
	if err := c.Run(context.Background()); !errors.As(err, &exit) || exit.Signal != 0 {
		t.Errorf("%s: got %v, want a failure", script, err)
	}
}
