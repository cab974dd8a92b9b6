package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The first process of a sandbox: it assembles the root directory, starts the
// command as its child, reaps what the command leaves behind, and ends with it,
// upon which the kernel kills everything in its process namespace.

// Descriptors that the parent hands to the first process of a sandbox; those
// of the command follow.
const (
	specFD = 3 + iota
	reportFD
	firstExtraFD
)

// firstExtra is the command's own first descriptor after the standard streams.
const firstExtra = 3

// cmdMain is the life of that process.
func cmdMain() {
	// System call filters, capabilities and the command's parent are matters
	// of a thread, so all happens on one.
	runtime.LockOSThread()
	if err := dieWithParent(reportFD); err != nil {
		unix.Exit(exitInternal)
	}
	unix.CloseOnExec(reportFD)
	// A terminal's signals reach the command by themselves; SIGTERM comes
	// from our parent and is meant for all but us. None may end this process.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2)
	status, err := runSpec(signals)
	if err != nil {
		sendFailed(reportFD, err)
		unix.Exit(exitInternal)
	}
	sendExited(reportFD, status)
	unix.Exit(0)
}

func runSpec(signals <-chan os.Signal) (syscall.WaitStatus, error) {
	s, err := readSpec(specFD)
	if err != nil {
		return 0, err
	}
	unix.CloseOnExec(specFD)
	if err := closeOthers(firstExtraFD + s.extraFiles); err != nil {
		return 0, err
	}
	if err := prepare(s); err != nil {
		return 0, err
	}
	// From here on the command's own limits hold for this thread. Being no
	// longer dumpable keeps a command with fewer capabilities from tracing
	// the other threads.
	if err := filterCalls(s.flags&flagSuppressChown != 0, s.flags&flagSuppressSync != 0); err != nil {
		return 0, err
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return 0, err
	}
	return start(s, signals)
}

// start starts the command and waits for its end.
func start(s *spec, signals <-chan os.Signal) (syscall.WaitStatus, error) {
	files := []uintptr{0, 1, 2}
	for i := range s.extraFiles {
		unix.CloseOnExec(firstExtraFD + i)
		files = append(files, uintptr(firstExtraFD+i))
	}
	startCommand := startDirect
	if s.flags&flagConfine != 0 {
		startCommand = startConfined
	}
	if err := sendStarted(reportFD); err != nil {
		return 0, err
	}
	pid, err := startCommand(s, files)
	if err != nil {
		return 0, err
	}
	for fd := range uintptr(s.extraFiles) {
		unix.Close(int(firstExtraFD + fd))
	}
	unix.Close(specFD)
	go func() {
		for s := range signals {
			if s == unix.SIGTERM {
				unix.Kill(-1, unix.SIGTERM) // everybody in this namespace, without ourselves
			}
		}
	}()
	return reap(pid)
}

// startDirect starts the command in this process's own namespaces and returns its
// process ID.
func startDirect(s *spec, files []uintptr) (int, error) {
	if err := settle(s); err != nil {
		return 0, err
	}
	program, err := lookPath(s.args[0], s.env)
	if err != nil {
		return 0, err
	}
	if err := dropCapabilities(s.capabilities); err != nil {
		return 0, err
	}
	pid, err := syscall.ForkExec(program, s.args, &syscall.ProcAttr{Env: s.env, Files: files, Sys: s.processAttributes()})
	return pid, startingError(program, err)
}

// processAttributes are how the command is started: with a terminal of its own it
// leads the session of that terminal.
func (s *spec) processAttributes() *syscall.SysProcAttr {
	own := s.flags&flagTerminal != 0
	return &syscall.SysProcAttr{Setsid: own || s.flags&flagDetached != 0, Setctty: own}
}

// startingError says what could not be started.
func startingError(program string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("starting %s: %w", program, err)
}

// reap waits for the child pid and, meanwhile, for the orphans that the kernel
// gives to the first process of a process namespace.
func reap(pid int) (syscall.WaitStatus, error) {
	for {
		var status syscall.WaitStatus
		p, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, fmt.Errorf("waiting for the command: %w", err)
		case p == pid && (status.Exited() || status.Signaled()):
			return status, nil
		}
	}
}

// prepare makes this process's view of the system the one of the spec.
func prepare(s *spec) error {
	unix.Umask(0)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("%s: %w", privateMounts, err)
	}
	if err := leaveKeyrings(); err != nil {
		return err
	}
	a, err := newAssembly()
	if err != nil {
		return err
	}
	err = applyAll(a, s.ops)
	for _, m := range a.created {
		err = errors.Join(err, sendCreated(reportFD, m))
	}
	if err != nil {
		return err
	}
	if err := a.enter(); err != nil {
		return err
	}
	unix.Umask(0o022)
	if s.dir != "" {
		if err := unix.Chdir(s.dir); err != nil {
			return fmt.Errorf("entering the directory %s in the sandbox: %w", s.dir, err)
		}
	}
	return nil
}

// leaveKeyrings gives the calling thread and what it starts an empty session
// keyring, since whoever has the caller's may read its keys; see
// session-keyring(7). Where the kernel has no keyrings, or a container's rules
// keep everybody from them, there is nothing to leave.
func leaveKeyrings() error {
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
	if err != nil && err != unix.ENOSYS && err != unix.EPERM && err != unix.EACCES {
		return fmt.Errorf("leaving the session keyring: %w", err)
	}
	return nil
}

// settle sets up the command's namespaces other than that of the mounts.
func settle(s *spec) error {
	if err := unix.Sethostname([]byte(cmp.Or(s.hostname, "localhost"))); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	if s.flags&flagNetwork == 0 {
		if err := loopbackUp(); err != nil {
			return fmt.Errorf("bringing up the loopback device: %w", err)
		}
	}
	return nil
}

func applyAll(a *assembly, ops []Op) error {
	for _, op := range ops {
		if err := a.apply(op); err != nil {
			return err
		}
	}
	return nil
}

// dieWithParent has the kernel kill this process when the thread that started
// it ends. The kernel forgets such a wish when a process gains capabilities, so
// it is made here and not by the parent, and the other end of the pipe tells
// whether the parent had gone before.
func dieWithParent(pipe int) error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	fds := []unix.PollFd{{Fd: int32(pipe)}}
	if _, err := unix.Poll(fds, 0); err != nil && err != unix.EINTR {
		return err
	}
	if fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
		return errors.New("the parent is gone")
	}
	return nil
}

// readSpec reads the instructions from a descriptor, which it leaves open.
func readSpec(fd int) (*spec, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("reading the sandbox's instructions: %w", err)
	}
	data := make([]byte, st.Size)
	for done := 0; done < len(data); {
		n, err := unix.Pread(fd, data[done:], int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return nil, fmt.Errorf("reading the sandbox's instructions: %w", cmp.Or(err, io.ErrUnexpectedEOF))
		}
		done += n
	}
	s, err := decodeSpec(data)
	if err == nil && len(s.args) == 0 {
		err = errors.New("no command")
	}
	return s, err
}

// closeOthers closes what this process inherited beyond the first n
// descriptors. Descriptors of the Go runtime are closed on exec, so what lacks
// that mark is inherited.
func closeOthers(n int) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < n {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
	return nil
}

// loopbackUp brings up the only device of a new network namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// defaultPath is searched for programs if the environment has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// lookPath finds the program name as execvp(3) would.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := defaultPath
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, "PATH="); ok {
			path = value
		}
	}
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("finding %s in the sandbox's PATH (%s): %w", name, path, unix.ENOENT)
}
