//go:build integration

package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a program that runs on a terminal of its own.
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File

	mu     sync.Mutex
	output bytes.Buffer
	seen   int // how much of the output was waited for
}

// onTerminal starts a command as the leader of a session with a terminal of its own, as a login would.
func onTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 77}); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, cmd: cmd, master: master}
	t.Cleanup(func() { cmd.Process.Kill() })
	go term.read()
	return term
}

func (t *terminal) read() {
	buf := make([]byte, 4096)
	for {
		n, err := t.master.Read(buf)
		t.mu.Lock()
		t.output.Write(buf[:n])
		t.mu.Unlock()
		if err != nil {
			return // the last program has closed the terminal
		}
	}
}

// terminalLimit is how long anything may take that comes at once on a machine with nothing else to do.
const terminalLimit = time.Minute

// enter types a line.
func (t *terminal) enter(line string) {
	t.t.Helper()
	if _, err := t.master.WriteString(line + "\n"); err != nil {
		t.t.Fatal(err)
	}
}

// pressUntil types a control character until a text comes: it means something only to a program that is in the foreground
// by then, and nobody can see when that is.
func (t *terminal) pressUntil(key, text string) {
	t.t.Helper()
	t.poll(text, 500*time.Millisecond, func() {
		if _, err := t.master.WriteString(key); err != nil {
			t.t.Fatal(err)
		}
	})
}

// await waits until a text has come since what was last waited for.
func (t *terminal) await(text string) {
	t.t.Helper()
	t.poll(text, terminalLimit, func() {})
}

// poll waits until a text has come, and does something again and again until then.
func (t *terminal) poll(text string, every time.Duration, do func()) {
	t.t.Helper()
	next := time.Now()
	for deadline := time.Now().Add(terminalLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if t.came(text) {
			return
		}
		if !time.Now().Before(next) {
			do()
			next = time.Now().Add(every)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.t.Fatalf("%q did not come; the terminal shows:\n%s", text, t.output.String())
}

// came reports whether a text has come, and looks behind it the next time.
func (t *terminal) came(text string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := strings.Index(t.output.String()[t.seen:], text)
	if i >= 0 {
		t.seen += i + len(text)
	}
	return i >= 0
}

// code waits for the program's end and returns its exit code.
func (t *terminal) code() int {
	t.t.Helper()
	done := make(chan struct{})
	go func() { t.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(terminalLimit):
		t.mu.Lock()
		defer t.mu.Unlock()
		t.t.Fatalf("it did not end; the terminal shows:\n%s", t.output.String())
	}
	return t.cmd.ProcessState.ExitCode()
}
