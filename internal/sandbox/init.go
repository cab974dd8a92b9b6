package sandbox

import (
	"cmp"
	"errors"
	"fmt"
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
	s, err := readSpec()
	if err != nil {
		return 0, err
	}
	if err := closeOthers(firstExtraFD + s.extraFiles); err != nil {
		return 0, err
	}
	if err := prepare(s); err != nil {
		return 0, err
	}
	program, err := lookPath(s.args[0], s.env)
	if err != nil {
		return 0, err
	}
	// From here on the command's own limits hold for this thread. Being no
	// longer dumpable keeps a command with fewer capabilities from tracing
	// the other threads.
	if err := suppress(s.flags&flagSuppressChown != 0, s.flags&flagSuppressSync != 0); err != nil {
		return 0, err
	}
	if err := dropCapabilities(s.capabilities); err != nil {
		return 0, err
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return 0, err
	}
	return start(s, program, signals)
}

// start starts the command and waits for its end.
func start(s *spec, program string, signals <-chan os.Signal) (syscall.WaitStatus, error) {
	files := []uintptr{0, 1, 2}
	for i := range s.extraFiles {
		unix.CloseOnExec(firstExtraFD + i)
		files = append(files, uintptr(firstExtraFD+i))
	}
	if err := sendStarted(reportFD); err != nil {
		return 0, err
	}
	pid, err := syscall.ForkExec(program, s.args, &syscall.ProcAttr{Env: s.env, Files: files})
	if err != nil {
		return 0, fmt.Errorf("starting %s: %w", program, err)
	}
	for i := range s.extraFiles {
		unix.Close(firstExtraFD + i)
	}
	go func() {
		for s := range signals {
			if s == unix.SIGTERM {
				unix.Kill(-1, unix.SIGTERM) // everybody in this namespace, without ourselves
			}
		}
	}()
	return reap(pid)
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
	if err := unix.Sethostname([]byte(cmp.Or(s.hostname, "localhost"))); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	if s.flags&flagNetwork == 0 {
		if err := loopbackUp(); err != nil {
			return fmt.Errorf("bringing up the loopback device: %w", err)
		}
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

func readSpec() (*spec, error) {
	f := os.NewFile(specFD, "spec")
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, info.Size())
	if _, err := f.ReadAt(data, 0); err != nil {
		return nil, err
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
