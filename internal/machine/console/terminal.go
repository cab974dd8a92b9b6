package console

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// IsTerminal reports whether a stream is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok || f == nil {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Raw lets a terminal pass on every key as it is typed, Ctrl-C too, and show what is written to it as it is, until restore
// is called, which may be done more than once.
func Raw(f *os.File) (restore func(), err error) {
	saved, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("reading the settings of the terminal: %w", err)
	}
	raw := *saved
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, &raw); err != nil {
		return nil, fmt.Errorf("changing the settings of the terminal: %w", err)
	}
	return sync.OnceFunc(func() {
		// A terminal that is gone needs nothing back.
		_ = unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, saved)
	}), nil
}

// Size is the size of a terminal in characters, and zero where it is unknown.
func Size(f *os.File) (columns, rows int) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(size.Col), int(size.Row)
}

// OnResize calls changed after each change of a terminal's size, until stop is called.
func OnResize(changed func()) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGWINCH)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range signals {
			changed()
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-ended
	}
}

// Keys reads a terminal until it is closed. Unlike a read of the terminal itself, which nobody can end, it takes nothing
// that is typed after that.
type Keys struct {
	terminal *os.File
	wake     [2]int // closing the second makes the first readable
	once     sync.Once
	reading  sync.RWMutex // held while somebody reads
}

// NewKeys returns a reader of a terminal. Close it.
func NewKeys(terminal *os.File) (*Keys, error) {
	k := &Keys{terminal: terminal}
	if err := unix.Pipe2(k.wake[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	return k, nil
}

// Read waits for keys. It is at its end when the reader was closed or the terminal is gone.
func (k *Keys) Read(buf []byte) (int, error) {
	k.reading.RLock()
	defer k.reading.RUnlock()
	if k.wake[0] < 0 {
		return 0, io.EOF
	}
	for {
		fds := []unix.PollFd{{Fd: int32(k.terminal.Fd()), Events: unix.POLLIN}, {Fd: int32(k.wake[0]), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, -1)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil || fds[1].Revents != 0:
			return 0, io.EOF
		case fds[0].Revents == 0:
			continue
		}
		n, err := unix.Read(int(k.terminal.Fd()), buf)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
		case err != nil || n <= 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Close ends reading, also a Read that waits for keys.
func (k *Keys) Close() error {
	k.once.Do(func() {
		unix.Close(k.wake[1])
		k.reading.Lock()
		defer k.reading.Unlock()
		unix.Close(k.wake[0])
		k.wake[0] = -1
	})
	return nil
}
