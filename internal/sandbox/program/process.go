package program

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// self is this binary, even when its file has been replaced since.
const self = "/proc/self/exe"

// start runs this program again in a role, with the same command line, and with
// gate, if there is one, for it to wait for. The calling thread has to stay: the
// process dies with it.
func start(role string, argv []string, o *Options, attr *syscall.SysProcAttr, gate *os.File) (*os.Process, error) {
	files := []*os.File{os.Stdin, os.Stdout, os.Stderr}
	if o.packFiles {
		inherited, err := inheritedFiles()
		if err != nil {
			return nil, err
		}
		for _, fd := range inherited {
			unix.CloseOnExec(fd) // what is passed on has a new number
			files = append(files, os.NewFile(uintptr(fd), "inherited"))
		}
	}
	n := note{parent: os.Getpid(), gate: -1, files: len(files) - 3, dir: o.cwd}
	if gate != nil {
		if n.gate = int(gate.Fd()); o.packFiles {
			n.gate = len(files)
			files = append(files, gate)
		} else if _, err := unix.FcntlInt(gate.Fd(), unix.F_SETFD, 0); err != nil {
			return nil, err
		}
	}
	return os.StartProcess(self, append([]string{role, n.String()}, Arguments(argv)...), &os.ProcAttr{Files: files, Sys: attr})
}

// note is what a process is told by its parent, this program, in a word of its
// command line.
type note struct {
	parent int    // the parent's number
	gate   int    // descriptor to wait for; negative: none
	files  int    // number of packed files
	dir    string // current directory, which may be out of reach by now
}

func (n note) String() string { return fmt.Sprintf("%d,%d,%d,%s", n.parent, n.gate, n.files, n.dir) }

func parseNote(argv []string) (note, error) {
	bad := errors.New("not started by " + Name)
	if len(argv) < 2 {
		return note{}, bad
	}
	f := strings.SplitN(argv[1], ",", 4)
	if len(f) != 4 {
		return note{}, bad
	}
	n := note{dir: f[3]}
	for i, number := range []*int{&n.parent, &n.gate, &n.files} {
		var err error
		if *number, err = strconv.Atoi(f[i]); err != nil {
			return note{}, bad
		}
	}
	return n, nil
}

// Directory is the directory for [Parse] in a process with this command line,
// its current one as a rule.
func Directory(argv []string) (string, error) {
	if again(argv[0]) {
		n, err := parseNote(argv)
		return n.dir, err
	}
	// Not os.Getwd, which believes $PWD: that may lead through links that the
	// sandbox lacks.
	dir, err := syscall.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the current directory: %w", err)
	}
	return dir, nil
}

// startGated is start for a process that waits until open is called. If this
// process ends before, so does that one.
func startGated(role string, argv []string, o *Options, attr *syscall.SysProcAttr) (child *os.Process, open func(), err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	child, err = start(role, argv, o, attr, r)
	if err != nil {
		w.Close()
		return nil, nil, err
	}
	return child, func() { w.Write([]byte{0}); w.Close() }, nil
}

// awaitParent waits for the gate, if there is one, and has this process die
// with its parent.
func awaitParent(argv []string) error {
	n, err := parseNote(argv)
	if err != nil {
		return err
	}
	if n.gate >= 0 {
		f := os.NewFile(uintptr(n.gate), "gate")
		_, err := f.Read(make([]byte, 1))
		f.Close()
		if err != nil {
			return errors.New("the parent has given up")
		}
	}
	if err := dieWithParent(); err != nil {
		return err
	}
	if os.Getppid() != n.parent {
		return errors.New("the parent is gone")
	}
	return nil
}

// dieWithParent has the kernel kill this process when its parent ends.
func dieWithParent() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("tying this process to its parent: %w", err)
	}
	return nil
}

// inheritedFiles are the descriptors beside the standard streams that this
// process was started with, in order. Those of the Go runtime are closed on
// exec, so what lacks that mark was inherited.
func inheritedFiles() ([]int, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, fmt.Errorf("listing open files: %w", err)
	}
	var inherited []int
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < 3 {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			inherited = append(inherited, fd)
		}
	}
	slices.Sort(inherited)
	return inherited, nil
}

// packed reports whether descriptors are numbered from 3 on.
func packed(files []int) bool {
	for i, fd := range files {
		if fd != 3+i {
			return false
		}
	}
	return true
}

// forwarded are the signals that are meant for the command.
var forwarded = []os.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2}

// supervise waits for the process and passes signals on to it. It stops while
// the process is stopped, and ends in the same way: by the same signal, or by
// returning its exit code.
func supervise(child *os.Process) (int, error) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, forwarded...)
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	go func() {
		for s := range signals {
			if (s == unix.SIGINT || s == unix.SIGQUIT) && inForeground() {
				continue // of the terminal, which sends it to the command as well
			}
			child.Signal(s)
		}
	}()
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(child.Pid, &status, unix.WUNTRACED, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, fmt.Errorf("waiting for the command: %w", err)
		case status.Stopped():
			stopToo(child, continued)
		case status.Signaled():
			dieOf(status.Signal())
			return 128 + int(status.Signal()), nil
		default:
			return status.ExitStatus(), nil
		}
	}
}

// inForeground reports whether this process is in the process group that gets
// the terminal's signals.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// How often, and after what time each, it is asked whether a process that
// stopped is going on again.
const (
	settleChecks = 10
	settleTime   = 2 * time.Millisecond
)

// stopToo stops this process as the child has been, and has the child go on
// when this one does. If the terminal stopped both, both are going on, or about
// to: the child says so, or a signal on continued tells that this process is.
func stopToo(child *os.Process, continued <-chan os.Signal) {
	select {
	case <-continued: // an earlier one
	default:
	}
	for range settleChecks {
		// Not one long pause: this process may be stopped in the middle of it,
		// and going on before the child is.
		time.Sleep(settleTime)
		// Continued, or at its end already, which is supervise's to collect.
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, child.Pid, &info, unix.WCONTINUED|unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err == nil && info.Signo != 0 {
			return
		}
		select {
		case <-continued:
			return
		default:
		}
	}
	unix.Kill(unix.Getpid(), unix.SIGSTOP)
	child.Signal(unix.SIGCONT)
}

// dieOf ends this process by a signal, so that whoever waits for it sees what
// happened to the command. It returns if the signal does not end processes.
func dieOf(s syscall.Signal) {
	// The command's memory may be worth a dump, this process's is not.
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	// All zero, struct sigaction asks for the default action on every
	// architecture; the Go runtime has its own ideas of some signals.
	var action [16]uint64
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	unix.Kill(unix.Getpid(), s)
	time.Sleep(settleChecks * settleTime)
}
