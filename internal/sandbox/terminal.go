package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"

	"golang.org/x/sys/unix"
)

// terminal gives an interactive command a terminal of its own and connects it to
// the user's. So the command has job control although the processes of the
// user's terminal are not in its process namespace, and can do nothing to the
// user's terminal that outlives it.
type terminal struct {
	user    *os.File // the user's terminal
	output  *os.File // where its output goes, the same terminal
	master  *os.File
	slave   *os.File      // the command's, until it is started
	saved   *unix.Termios // of the user's terminal
	active  bool          // connect has been called
	resized chan os.Signal
	wake    [2]int        // writing to it ends the copying of input
	done    chan struct{} // closed when all output is copied
}

// newTerminal makes a terminal for a command whose standard input and output are
// one; otherwise, or where there are no pseudo terminals, it returns nil.
func newTerminal(stdin, stdout any) (*terminal, error) {
	in, ok := stdin.(*os.File)
	out, also := stdout.(*os.File)
	if !ok || !also || in == nil || out == nil || !isTerminal(in) || !isTerminal(out) {
		return nil, nil
	}
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t := &terminal{user: in, output: out, master: master, resized: make(chan os.Signal, 1), done: make(chan struct{})}
	if err := t.open(); err != nil {
		master.Close()
		return nil, fmt.Errorf("making a terminal: %w", err)
	}
	return t, nil
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// open opens the command's side, with the user's settings.
func (t *terminal) open() error {
	master := int(t.master.Fd())
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return err
	}
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return errno
	}
	t.slave = os.NewFile(slave, "terminal")
	var err error
	if t.saved, err = unix.IoctlGetTermios(int(t.user.Fd()), unix.TCGETS); err == nil {
		err = unix.IoctlSetTermios(int(slave), unix.TCSETS, t.saved)
	}
	if err == nil {
		err = unix.Pipe2(t.wake[:], unix.O_CLOEXEC)
	}
	if err != nil {
		t.slave.Close()
		return err
	}
	t.resize()
	return nil
}

// attach makes the terminal the standard streams of a process to be started, as
// far as these are the user's terminal.
func (t *terminal) attach(cmd *exec.Cmd) {
	cmd.Stdin, cmd.Stdout = t.slave, t.slave
	if f, ok := cmd.Stderr.(*os.File); ok && f != nil && isTerminal(f) {
		cmd.Stderr = t.slave
	}
}

// connect begins to copy between the terminals, once the command has its side.
func (t *terminal) connect() {
	t.active = true
	t.slave.Close()
	raw := *t.saved
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	// If that fails the terminal is gone, and reading from it will say so.
	_ = unix.IoctlSetTermios(int(t.user.Fd()), unix.TCSETS, &raw)
	signal.Notify(t.resized, unix.SIGWINCH)
	t.resize()
	go func() {
		for range t.resized {
			t.resize()
		}
	}()
	go t.copyInput()
	go func() {
		defer close(t.done)
		copyAll(t.output, t.master)
	}()
}

// close waits for the rest of the output and gives the user's terminal back as
// it was. The command has to be gone.
func (t *terminal) close() error {
	if !t.active {
		unix.Close(t.wake[0])
		unix.Close(t.wake[1])
		return errors.Join(t.slave.Close(), t.master.Close())
	}
	<-t.done
	signal.Stop(t.resized)
	close(t.resized)
	unix.Close(t.wake[1]) // which wakes copyInput
	// A terminal that has been closed needs nothing back.
	_ = unix.IoctlSetTermios(int(t.user.Fd()), unix.TCSETS, t.saved)
	return t.master.Close()
}

// resize gives the command's terminal the size of the user's.
func (t *terminal) resize() {
	if size, err := unix.IoctlGetWinsize(int(t.user.Fd()), unix.TIOCGWINSZ); err == nil {
		_ = unix.IoctlSetWinsize(int(t.master.Fd()), unix.TIOCSWINSZ, size)
	}
}

// copyInput copies what the user types, without taking anything that is typed
// after the command's end.
func (t *terminal) copyInput() {
	defer unix.Close(t.wake[0])
	user := int(t.user.Fd())
	buf := make([]byte, 4096)
	for {
		fds := []unix.PollFd{{Fd: int32(user), Events: unix.POLLIN}, {Fd: int32(t.wake[0]), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return
		}
		if fds[1].Revents != 0 {
			return
		}
		if fds[0].Revents == 0 {
			continue
		}
		n, err := unix.Read(user, buf)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if err != nil || n == 0 {
			return
		}
		if _, err := t.master.Write(buf[:n]); err != nil {
			return
		}
	}
}

// copyAll copies until the last process has closed the command's terminal, which
// is an error to the reader of the master.
func copyAll(to, from *os.File) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				// Go on reading, so that the command does not block.
				to = nil
			}
		}
		if err != nil {
			return
		}
	}
}
