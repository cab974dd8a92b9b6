package pkgmgr

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/sandbox"
)

func TestMain(m *testing.M) {
	if sandbox.Reexecuted() {
		sandbox.Main()
	}
	os.Exit(m.Run())
}

// hostSecret is a file outside of any tree.
func hostSecret(t *testing.T) string {
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte("of the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// inSandbox runs a shell script on a tree as maintainer scripts are run, and
// returns what it prints.
func inSandbox(t *testing.T, root, script string) string {
	t.Helper()
	a := newTestApt(t, nil)
	a.Run = nil
	if err := a.Prepare(); err != nil {
		t.Fatal(err)
	}
	unlock, err := a.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	var out bytes.Buffer
	if err := a.run(t.Context(), &sandbox.Cmd{Args: []string{"sh", "-c", script}, Ops: a.ops(root, true), Stdout: &out, Stderr: &out}); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	return out.String()
}

func TestMachineIDStaysInside(t *testing.T) {
	for _, target := range []string{hostSecret(t), filepath.Dir(hostSecret(t))} {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(root, machineID)); err != nil {
			t.Fatal(err)
		}
		out := inSandbox(t, root, "cat /buildroot/etc/machine-id; ls /buildroot/etc/machine-id/; true")
		if strings.Contains(out, "of the host") || strings.Contains(out, "secret\n") {
			t.Errorf("machine-id -> %s shows the host: %s", target, out)
		}
	}
}

func TestMachineIDIsReadOnly(t *testing.T) {
	root := t.TempDir()
	if err := newTestApt(t, nil).prepareRoot(root); err != nil {
		t.Fatal(err)
	}
	out := inSandbox(t, root, "cat /buildroot/etc/machine-id; (echo x >/buildroot/etc/machine-id) || echo refused")
	if !strings.HasPrefix(out, "uninitialized\n") || !strings.HasSuffix(out, "refused\n") {
		t.Error(out)
	}
}

func TestCapabilities(t *testing.T) {
	root := t.TempDir()
	out := inSandbox(t, root, "sed -n 's/^Cap\\(Eff\\|Bnd\\):\\s*//p' /proc/self/status")
	sets := strings.Fields(out)
	if len(sets) != 2 {
		t.Fatalf("capabilities %q", out)
	}
	for _, set := range sets {
		mask, err := strconv.ParseUint(set, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range sandbox.HostCapabilities() {
			if mask&(1<<c) != 0 {
				t.Errorf("scripts have capability %d: %s", c, set)
			}
		}
		for _, c := range []int{unix.CAP_SYS_CHROOT, unix.CAP_CHOWN, unix.CAP_SETFCAP} {
			if mask&(1<<c) == 0 {
				t.Errorf("scripts lack capability %d: %s", c, set)
			}
		}
	}
}

// promptly fails when f takes longer than a file that is not waited for.
func promptly(t *testing.T, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("waits for a pipe")
		return nil
	}
}

func TestPipesInTree(t *testing.T) {
	a := newTestApt(t, nil)
	epoch := int64(0)
	a.SourceDateEpoch = &epoch
	for name, f := range map[string]func(root string) error{
		statusFile:               a.prepareRoot,
		"var/lib/dpkg/available": a.prepareRoot,
		alternativesLog:          a.Settle,
		autoFile:                 func(root string) error { return writeAuto(root, nil, "amd64") },
	} {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mkfifo(filepath.Join(root, name), 0o666); err != nil {
			t.Fatal(err)
		}
		err := promptly(t, func() error { return f(root) })
		if err == nil || !strings.Contains(err.Error(), name+" of the image is not a regular file") {
			t.Errorf("%s is a pipe: %v", name, err)
		}
	}
}

func TestStatusStaysInside(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "var/lib/dpkg"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(hostSecret(t), filepath.Join(root, statusFile)); err != nil {
		t.Fatal(err)
	}
	if begun, err := hasPackages(root); err == nil {
		t.Errorf("a link to the host's file was read: %v", begun)
	}
	if err := newTestApt(t, nil).prepareRoot(root); err == nil {
		t.Error("a link to the host's file was opened for writing")
	}
}

func TestProxyIsSecret(t *testing.T) {
	var args, env []string
	var shown bytes.Buffer
	a := newTestApt(t, func(c *sandbox.Cmd) error {
		args, env = c.Args, c.Env
		text := "W: Failed to fetch http://m.example/InRelease  Could not reach http://user:secret@p.example:1"
		// A password may come in two parts.
		for _, part := range []string{text[:75], text[75:]} {
			if _, err := c.Stderr.Write([]byte(part)); err != nil {
				return err
			}
		}
		return &sandbox.ExitError{Args: c.Args, Code: 100, Tail: text}
	})
	a.Output = &shown
	a.Proxy = "http://user:secret@p.example:1/"
	err := a.Sync(t.Context())
	var e *sandbox.ExitError
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"command line": strings.Join(args, " "), "environment": strings.Join(env, " "),
		"output": shown.String(), "error": err.Error(), "cause": e.Error(),
	} {
		if strings.Contains(text, "secret") {
			t.Errorf("the password is in the %s: %s", what, text)
		}
	}
	if !strings.Contains(err.Error(), "Could not reach http://***@p.example:1") {
		t.Errorf("error %v", err)
	}
}

func TestProxyConfig(t *testing.T) {
	a := newTestApt(t, nil)
	if text, err := a.proxyConfig(); err != nil || len(text) != 0 {
		t.Errorf("without a proxy: %q, %v", text, err)
	}
	a.Proxy, a.ProxyExclude, a.ProxyCA = "http://user:secret@p.example:1", []string{"localhost", "m.example"}, "/ca.pem"
	const want = `Acquire::http::Proxy "http://user:secret@p.example:1";
Acquire::http::Proxy::localhost "DIRECT";
Acquire::http::Proxy::m.example "DIRECT";
Acquire::https::Proxy "http://user:secret@p.example:1";
Acquire::https::Proxy::localhost "DIRECT";
Acquire::https::Proxy::m.example "DIRECT";
Acquire::https::CaInfo "/proxy.cacert";
`
	if text, err := a.proxyConfig(); err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
	for _, host := range []string{"", "a b", "a\";Dir \"/", "a;", "{"} {
		b := *a
		b.ProxyExclude = []string{host}
		if _, err := b.proxyConfig(); err == nil {
			t.Errorf("host %q accepted", host)
		}
	}
	a.Proxy = "http://user:secret@p.example\";Dir \"/"
	if _, err := a.proxyConfig(); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("proxy with a quote: %v", err)
	}
}

// TestRememberUnderOtherIndexes has another build update the indexes while
// apt solves.
func TestRememberUnderOtherIndexes(t *testing.T) {
	var a *Apt
	changes := true
	a = newTestApt(t, func(*sandbox.Cmd) error {
		if !changes {
			return nil
		}
		return os.WriteFile(filepath.Join(a.listsDir(), "x_InRelease"), []byte("new"), 0o644)
	})
	if err := a.Prepare(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(a.listsDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := a.solveCached(t.Context(), "", []string{"x"}); err != nil {
		t.Fatal(err)
	}
	if a.remembered(t.Context(), a.solutionKey([]string{"x"})) != nil {
		t.Error("the solution of the old indexes is kept for the new ones")
	}
	changes = false
	if _, err := a.solveCached(t.Context(), "", []string{"x"}); err != nil {
		t.Fatal(err)
	}
	if a.remembered(t.Context(), a.solutionKey([]string{"x"})) == nil {
		t.Error("the solution is not kept")
	}
	if left, err := filepath.Glob(filepath.Join(a.MetadataDir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("%v, %v left in the cache", left, err)
	}
}

func TestSilentMirror(t *testing.T) {
	a := newTestApt(t, nil)
	a.Run = func(ctx context.Context, c *sandbox.Cmd) error {
		for _, text := range []string{"Ign:1 http://m.example x InRelease\nErr:1 http://u:secret@m.example", " x InRelease\n  Connection failed [IP: 192.0.2.1 80]\n"} {
			if _, err := c.Stdout.Write([]byte(text)); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}
	err := promptly(t, func() error { return a.Sync(t.Context()) })
	const want = "cannot download http://***@m.example x InRelease: the mirror does not answer: Connection failed [IP: 192.0.2.1 80]"
	var told *Error
	if !errors.As(err, &told) || err.Error() != want || told.Hint() != mirrorHint {
		t.Errorf("error %v", err)
	}
}

// TestStreamsApart has standard error come in the middle of a line.
func TestStreamsApart(t *testing.T) {
	var out, shown bytes.Buffer
	a := newTestApt(t, func(c *sandbox.Cmd) error {
		for _, part := range []struct {
			to   io.Writer
			text string
		}{
			{c.Stdout, "Reading state information..."},
			{c.Stderr, "E: Unable to locate package nosuch\n"},
			{c.Stdout, "\n"},
		} {
			if _, err := part.to.Write([]byte(part.text)); err != nil {
				return err
			}
		}
		return &sandbox.ExitError{Args: c.Args, Code: 100}
	})
	a.Output = &shown
	err := a.aptGet(t.Context(), aptRun{stdout: &out})
	if err == nil || err.Error() != "package nosuch does not exist in the configured repositories" {
		t.Errorf("error %v", err)
	}
	if out.String() != "Reading state information...\n" || shown.String() != "E: Unable to locate package nosuch\nReading state information...\n" {
		t.Errorf("shown %q, %q", shown.String(), out.String())
	}
}
