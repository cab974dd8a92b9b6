package program

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// installed is a copy of the program under its own name that everybody can run.
func installed(t *testing.T) string {
	t.Helper()
	binary, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	open(t, dir)
	name := filepath.Join(dir, Name)
	if err := os.WriteFile(name, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// terminalOf starts cmd as the leader of a session on a new terminal, and returns the other end of that.
func terminalOf(t *testing.T, cmd *exec.Cmd) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	raw, err := master.SyscallConn() // Fd would make the file a blocking one, without deadlines
	if err != nil {
		t.Fatal(err)
	}
	var n int
	var unlockErr, nameErr error
	if err := raw.Control(func(fd uintptr) {
		unlockErr = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		n, nameErr = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
	}); err != nil || unlockErr != nil || nameErr != nil {
		t.Fatal(err, unlockErr, nameErr)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return master
}

// expect reads from a terminal until text comes, and returns all that came.
func expect(t *testing.T, terminal *os.File, text string) string {
	t.Helper()
	terminal.SetReadDeadline(time.Now().Add(10 * time.Second))
	var got strings.Builder
	for buf := make([]byte, 256); !strings.Contains(got.String(), text); {
		n, err := terminal.Read(buf)
		if err != nil {
			t.Fatalf("%q does not come, but %q: %v", text, got.String(), err)
		}
		got.Write(buf[:n])
	}
	return got.String()
}

// TestRunInterrupted types Ctrl-C: the command gets one signal, and decides what it means.
func TestRunInterrupted(t *testing.T) {
	for _, user := range users() {
		cmd := program(t, user, append(host, "sh", "-c", "trap 'echo caught' INT; trap 'exit 9' USR1; echo ready; while :; do read line; done")...)
		terminal := terminalOf(t, cmd)
		expect(t, terminal, "ready")
		terminal.WriteString("\x03")
		expect(t, terminal, "caught")
		time.Sleep(200 * time.Millisecond)
		cmd.Process.Signal(unix.SIGUSR1)
		rest := make([]byte, 256)
		n, _ := terminal.Read(rest)
		cmd.Wait()
		if strings.Contains(string(rest[:max(n, 0)]), "caught") {
			t.Errorf("%s: Ctrl-C came twice", user)
		}
		if got := cmd.ProcessState.ExitCode(); got != 9 {
			t.Errorf("%s: %v", user, cmd.ProcessState)
		}
	}
}

// TestRunSuspended types Ctrl-Z in a shell with job control, and has the command go on.
func TestRunSuspended(t *testing.T) {
	binary := installed(t)
	for _, user := range users() {
		// The command starts nothing: a shell that is about to start something cannot be stopped.
		script := binary + ` --bind / / sh -c 'echo ready; read line; exit 3'
			echo stopped with $?; fg >/dev/null; echo ended with $?`
		cmd := exec.Command("bash", "-mc", script)
		cmd.SysProcAttr = program(t, user).SysProcAttr
		terminal := terminalOf(t, cmd)
		expect(t, terminal, "ready")
		terminal.WriteString("\x1a")
		expect(t, terminal, "stopped with 148")
		terminal.WriteString("\n")
		expect(t, terminal, "ended with 3")
		cmd.Wait()
	}
}
