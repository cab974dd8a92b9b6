package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The first process of a session: it makes the mounts private, starts the
// program again as its child, passes signals on, and reaps orphans, so that the
// program itself never meets processes it did not start.

// firstParams are what this process has to know.
type firstParams struct {
	control int  // signals to forward are read from this descriptor
	report  int  // messages are written to this one
	wait    bool // the user namespace has no IDs yet
}

// firstEnv holds the parameters. The program does not get to see it.
const firstEnv = "MKOSI_SESSION_FIRST"

func (p firstParams) env() string {
	return fmt.Sprintf("%s=%d,%d,%t", firstEnv, p.control, p.report, p.wait)
}

func takeFirstParams() (firstParams, error) {
	var p firstParams
	f := strings.Split(os.Getenv(firstEnv), ",")
	os.Unsetenv(firstEnv)
	if len(f) != 3 {
		return p, errors.New("not started by EnterSession")
	}
	var errs [3]error
	p.control, errs[0] = strconv.Atoi(f[0])
	p.report, errs[1] = strconv.Atoi(f[1])
	p.wait, errs[2] = strconv.ParseBool(f[2])
	return p, errors.Join(errs[:]...)
}

// sessionMain is the life of that process.
func sessionMain() {
	runtime.LockOSThread()
	p, err := takeFirstParams()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		os.Exit(exitInternal)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	status, err := runFirst(p, signals)
	if err != nil {
		sendFailed(p.report, err)
		unix.Exit(exitInternal)
	}
	unix.Exit(exitCode(status))
}

func runFirst(p firstParams, signals <-chan os.Signal) (syscall.WaitStatus, error) {
	if err := dieWithParent(p.report); err != nil {
		return 0, err
	}
	if p.wait {
		return 0, awaitIDs(p)
	}
	unix.CloseOnExec(p.control)
	unix.CloseOnExec(p.report)
	// Mounts and unmounts outside go on to be seen in here, never the other
	// way round.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return 0, fmt.Errorf("%s: %w", privateMounts, err)
	}
	err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return 0, fmt.Errorf("mounting the process file system: %w", err)
	}
	// The session's kind is in the environment already, and out of ours.
	program := os.Args[1:]
	if len(program) == 0 {
		return 0, errors.New("no program")
	}
	pid, err := syscall.ForkExec(self, program, &syscall.ProcAttr{
		Env:   append(os.Environ(), current.env()),
		Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		return 0, fmt.Errorf("starting the program again: %w", err)
	}
	if err := sendStarted(p.report); err != nil {
		return 0, err
	}
	unix.Close(p.report)
	go forwardOnce(p.control, signals, func(s syscall.Signal) { syscall.Kill(pid, s) })
	return reap(pid)
}

// awaitIDs waits until the outer process has given the user namespace its IDs
// and starts this process again: only by executing a program does the user that
// has become root get root's capabilities.
func awaitIDs(p firstParams) error {
	var buf [1]byte
	if n, err := unix.Read(p.control, buf[:]); err != nil || n == 0 {
		return errors.New("the user namespace got no IDs")
	}
	p.wait = false
	err := syscall.Exec(self, os.Args, append(os.Environ(), current.env(), p.env()))
	return fmt.Errorf("starting the session's first process again: %w", err)
}

// Times within which a signal to this process and one to the outer process are
// taken for the same signal to their whole group, which the program has got by
// itself.
const (
	groupSignalWait = 100 * time.Millisecond
	groupSignalSpan = time.Second
)

// forwardOnce passes on the signals whose numbers it reads from the descriptor
// control, but for those that come on the channel direct at the same time:
// these were sent to the whole process group (by the terminal, or by kill with
// a negative number), of which the program is a member.
func forwardOnce(control int, direct <-chan os.Signal, forward func(syscall.Signal)) {
	outer := make(chan syscall.Signal)
	go func() {
		defer close(outer)
		var buf [1]byte
		for {
			n, err := unix.Read(control, buf[:])
			if err == unix.EINTR {
				continue
			}
			if err != nil || n == 0 {
				return
			}
			outer <- syscall.Signal(buf[0])
		}
	}()
	due := make(chan syscall.Signal)
	last := map[os.Signal]time.Time{}
	for {
		select {
		case s := <-direct:
			last[s] = time.Now()
		case s, ok := <-outer:
			if !ok {
				outer = nil
				continue
			}
			time.AfterFunc(groupSignalWait, func() { due <- s })
		case s := <-due:
			if time.Since(last[s]) > groupSignalSpan {
				forward(s)
			}
		}
	}
}
