package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	helpers["interactive"] = helperInteractive
	helpers["type"] = helperType
}

// newPty makes a pseudo terminal and returns the user's side and the programs'.
func newPty(t *testing.T) (ptmx, tty *os.File) {
	t.Helper()
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ptmx.Close() })
	if err := unix.IoctlSetPointerInt(int(ptmx.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(ptmx.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return ptmx, tty
}

// helperInteractive runs a shell in a sandbox, and reads a line after it.
func helperInteractive() error {
	c := shell("")
	c.Args = []string{"bash", "--norc", "--noprofile", "-i"}
	c.Env = append(c.Env, "PS1=$ ", "TERM=dumb", "HOME=/tmp")
	c.Confine = os.Getenv("CONFINE") != ""
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	var exit *ExitError
	if err := c.Run(context.Background()); !errors.As(err, &exit) {
		return fmt.Errorf("the shell: %w", err)
	}
	fmt.Println("shell ended with", exit.Code)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	fmt.Printf("then came %q\n", line)
	return err
}

// TestTerminal types at a shell in a sandbox.
func TestTerminal(t *testing.T) {
	for _, confine := range []string{"", "1"} {
		for _, session := range []string{"", "1"} {
			testTerminal(t, testSession+"="+session, "CONFINE="+confine)
		}
	}
}

func testTerminal(t *testing.T, env ...string) {
	ptmx, tty := newPty(t)
	resize := func(rows uint16) {
		if err := unix.IoctlSetWinsize(int(ptmx.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: 77}); err != nil {
			t.Fatal(err)
		}
	}
	resize(33)
	cmd := helper(t, "interactive", env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	defer cmd.Process.Kill()
	screen := make(chan string, 1000)
	go func() {
		defer close(screen)
		for buf := make([]byte, 1024); ; {
			n, err := ptmx.Read(buf)
			if err != nil {
				return
			}
			screen <- string(buf[:n])
		}
	}()
	seen := ""
	expect := func(want string) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for !strings.Contains(seen, want) {
			select {
			case s, ok := <-screen:
				if seen += s; ok {
					continue
				}
			case <-deadline:
			}
			t.Fatalf("%q: got %q, want %q", env, seen, want)
		}
		_, seen, _ = strings.Cut(seen, want)
	}
	enter := func(s string) { ptmx.WriteString(s + "\n") }
	expect("$ ")
	enter("stty size")
	expect("33 77")
	enter("sleep 300 | cat & jobs; echo ba''ckground; fg") // '' tells the answer from its echo
	expect("background")
	time.Sleep(200 * time.Millisecond)
	ptmx.Write([]byte{3})
	enter("echo ali''ve $?")
	expect("alive 130")
	resize(44)
	enter("until stty size | grep 44; do :; done; echo -n end''ed; exit 3")
	expect("44 77")
	expect("shell ended with 3")
	enter("typed later")
	expect(`then came "typed later\n"`)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestTerminalInput looks whether a command can type for the user.
func TestTerminalInput(t *testing.T) {
	_, tty := newPty(t)
	defer tty.Close()
	for _, confine := range []bool{false, true} {
		c := confined(t, "SANDBOX_TEST_HELPER=type exec /helper")
		c.Confine, c.Stdin = confine, tty
		if got := output(t, c); got != unix.EPERM.Error() {
			t.Errorf("confined %t: got %s", confine, got)
		}
	}
}

// helperType puts a character into its own terminal's input. A terminal that is
// not its own would be EPERM anyhow, so it makes it its own first.
func helperType() error {
	unix.Setsid()
	if err := unix.IoctlSetInt(0, unix.TIOCSCTTY, 0); err != nil {
		return err
	}
	c := byte('x')
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, 0, unix.TIOCSTI, uintptr(unsafe.Pointer(&c)))
	fmt.Println(errno)
	return nil
}
