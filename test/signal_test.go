//go:build integration

package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// signalDeadline is how long a build may take to end.
const signalDeadline = 2 * time.Second

// stubborn is a configuration whose configure script ignores signals and leaves processes behind that do as well. Their
// command lines have the mark in them.
func stubborn(t *testing.T, mark string) string {
	t.Helper()
	dir := newProject(t, map[string]string{
		"mkosi.conf": "[Distribution]\nDistribution=debian\nRelease=trixie\n[Output]\nFormat=directory\n",
		"mkosi.configure": `#!/bin/sh
trap '' INT TERM HUP
setsid sleep ` + mark + ` &
(setsid sh -c 'trap "" INT TERM HUP; while :; do sleep ` + mark + `; done' &)
echo script is up >&2
while :; do sleep ` + mark + `; done
`})
	if err := os.Chmod(filepath.Join(dir, "mkosi.configure"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// marked returns the processes of the whole system that have the mark in their command line.
func marked(t *testing.T, mark string) (pids []string) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range lines {
		if b, err := os.ReadFile(name); err == nil && bytes.Contains(b, []byte(mark)) {
			pids = append(pids, filepath.Base(filepath.Dir(name)))
		}
	}
	return pids
}

// TestSignalsInConfigure ends a build in each way that there is, while its script refuses to.
func TestSignalsInConfigure(t *testing.T) {
	for i, test := range []struct {
		name   string
		signal syscall.Signal
		group  bool
		code   int // exit code
	}{
		{"interrupt", syscall.SIGINT, true, 128 + 2},
		{"interrupt of the process", syscall.SIGINT, false, 128 + 2},
		{"termination", syscall.SIGTERM, false, 128 + 15},
		{"closed terminal", syscall.SIGHUP, true, 128 + 1},
		{"kill", syscall.SIGKILL, false, 128 + 9},
		{"kill of the group", syscall.SIGKILL, true, 128 + 9},
	} {
		t.Run(test.name, func(t *testing.T) {
			mark := fmt.Sprintf("%d.%d", 100000+i, os.Getpid())
			cmd, output := startStubborn(t, stubborn(t, mark))
			pid := cmd.Process.Pid
			if test.group {
				pid = -pid
			}
			for deadline := time.Now().Add(20 * time.Second); len(marked(t, mark)) < 3; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("only %v run", marked(t, mark))
				}
			}
			begin := time.Now()
			if err := syscall.Kill(pid, test.signal); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			for len(marked(t, mark)) > 0 && time.Since(begin) < 10*time.Second {
				time.Sleep(10 * time.Millisecond)
			}
			if d := time.Since(begin); d > signalDeadline {
				t.Errorf("took %v, and %v are left", d, marked(t, mark))
			}
			if code := exitCodeOf(cmd); code != test.code {
				t.Errorf("exit code %d, want %d\n%s", code, test.code, output)
			}
		})
	}
}

// TestScriptKilled is about a script that is killed: the build fails, and what the script started is gone.
func TestScriptKilled(t *testing.T) {
	mark := fmt.Sprintf("200000.%d", os.Getpid())
	dir := stubborn(t, mark)
	script := "#!/bin/sh\nsetsid sleep " + mark + " &\necho script is up >&2\nkill -9 $$\n"
	if err := os.WriteFile(filepath.Join(dir, "mkosi.configure"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	r := run(t, mkosi(dir, "build"))
	if r.code != 128+9 || !strings.Contains(r.stderr, "signal 9") {
		t.Errorf("exit code %d, %s", r.code, r.stderr)
	}
	if left := marked(t, mark); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// startStubborn starts a build, in a process group of its own, and waits for its script.
func startStubborn(t *testing.T, dir string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	log := filepath.Join(dir, "log")
	f, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := mkosi(dir, "build")
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	deadline := time.Now().Add(20 * time.Second)
	for {
		b, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("script is up")) {
			return cmd, bytes.NewBuffer(b)
		}
		if time.Now().After(deadline) {
			t.Fatalf("the script does not start:\n%s", b)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// exitCodeOf is what a shell would make of a command's end.
func exitCodeOf(cmd *exec.Cmd) int {
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return cmd.ProcessState.ExitCode()
}
