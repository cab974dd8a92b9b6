package sandbox

import (
	"cmp"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Session says in what kind of session this process runs. The zero value is a
// process outside of any.
type Session struct {
	// Active is true in the process that EnterSession started (and nowhere
	// else: programs that it runs do not inherit it).
	Active bool
	// UserNamespace is true if the session has a user namespace of its own,
	// because the caller may not mount.
	UserNamespace bool
	// SingleUser is true if only the caller's own user exists in the user
	// namespace (the session's own or that in which it was entered), as root.
	// No file can then be given to another user: commands want
	// [Cmd.SuppressChown], and owners get into images some other way.
	SingleUser bool
	// Reason tells, in a clause, why SingleUser is true; empty otherwise.
	Reason string
}

// current is set once, before main begins.
var current = takeSession()

// sessionEnv tells the process inside what session it is in. It is taken out of
// the environment at once.
const sessionEnv = "MKOSI_SESSION"

// Values of sessionEnv, joined by commas and followed by the reason.
const (
	sessionActive = "active"
	sessionUser   = "user"
	sessionSingle = "single"
)

func takeSession() Session {
	value, ok := os.LookupEnv(sessionEnv)
	if !ok {
		return Session{}
	}
	os.Unsetenv(sessionEnv)
	words, reason, _ := strings.Cut(value, ":")
	kind := strings.Split(words, ",")
	return Session{
		Active:        slices.Contains(kind, sessionActive),
		UserNamespace: slices.Contains(kind, sessionUser),
		SingleUser:    slices.Contains(kind, sessionSingle),
		Reason:        reason,
	}
}

// env is the setting of sessionEnv for s.
func (s Session) env() string {
	kind := sessionActive
	if s.UserNamespace {
		kind += "," + sessionUser
	}
	if s.SingleUser {
		kind += "," + sessionSingle
	}
	return sessionEnv + "=" + kind + ":" + s.Reason
}

// Current returns the session of this process.
func Current() Session { return current }

// EnterSession makes the rest of the program run in a session. Call it once,
// early, before threads, locks and temporary files matter.
//
// In the process that the user started, it runs the same binary with the same
// arguments, environment, standard streams and terminal inside the session,
// waits for it, and exits with its exit code (128 plus the signal's number if a
// signal killed it); it returns only if that could not be started. SIGINT,
// SIGTERM, SIGHUP and SIGQUIT sent to this process reach the process inside
// exactly once, whether they were sent to this process alone or to the whole
// group. In the process inside it returns nil at once.
//
// The session has a mount and a process namespace, and, if the caller lacks
// CAP_SYS_ADMIN, a user namespace with the caller as root: with the caller's
// range of subordinate IDs (subuid(5), newuidmap(1)) if there is one, else with
// the caller alone. If the system forbids user namespaces, the error names the
// setting to change.
func EnterSession() error {
	if current.Active {
		return nil
	}
	if mayMount() {
		if mapsOneUser() {
			return startSession(Session{SingleUser: true, Reason: "the user namespace outside has one user only"}, nil)
		}
		return startSession(Session{}, nil)
	}
	ids, err := subordinateIDs()
	if err == nil {
		err = startSession(Session{UserNamespace: true}, ids)
	}
	return startSession(Session{UserNamespace: true, SingleUser: true, Reason: err.Error()}, nil)
}

// startSession starts the first process of a session and ends with it. It
// returns if that could not be started.
func startSession(s Session, ids *idMaps) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	defer signal.Stop(signals)
	// The kernel kills the first process when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	first, err := startFirst(s, ids)
	if err != nil {
		return fmt.Errorf("entering a session: %w", err)
	}
	go first.forward(signals)
	r := readReport(first.reports)
	state, err := first.process.Wait()
	if err != nil {
		return fmt.Errorf("waiting for the session: %w", err)
	}
	status := state.Sys().(syscall.WaitStatus)
	if !r.started {
		err := cmp.Or(r.failure, fmt.Errorf("its first process ended with %v", state))
		if s.UserNamespace {
			err = explainPowerless(err)
		}
		return fmt.Errorf("entering a session: %w", err)
	}
	os.Exit(exitCode(status))
	return nil
}

// firstProcess is the first process of a session as the outer process sees it.
type firstProcess struct {
	process *os.Process
	control *os.File // we write signals to it
	reports *os.File // it writes reports, and closes its end once the program runs
}

// startFirst starts that process and gives it its IDs.
func startFirst(s Session, ids *idMaps) (*firstProcess, error) {
	var control, reports [2]int
	if err := unix.Pipe2(control[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	if err := unix.Pipe2(reports[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	first := &firstProcess{
		control: os.NewFile(uintptr(control[1]), "control"),
		reports: os.NewFile(uintptr(reports[0]), "reports"),
	}
	// The child's ends keep their numbers: descriptors that we were started
	// with are meant for the program and must not be replaced.
	for _, fd := range []int{control[0], reports[1]} {
		defer unix.Close(fd)
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return nil, err
		}
	}
	attr := &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL}
	switch {
	case ids != nil:
		attr.Cloneflags |= unix.CLONE_NEWUSER
	case s.UserNamespace:
		singleUser(attr)
	}
	s.Active = true
	params := firstParams{control: control[0], report: reports[1], wait: ids != nil}
	process, err := os.StartProcess(self, append([]string{sessionRole}, os.Args...), &os.ProcAttr{
		Env:   append(os.Environ(), s.env(), params.env()),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   attr,
	})
	if err != nil {
		return nil, startError(err, s.UserNamespace)
	}
	first.process = process
	if ids != nil {
		err := ids.write(process.Pid)
		if err == nil {
			_, err = first.control.Write([]byte{0})
		}
		if err != nil {
			process.Kill()
			process.Wait()
			return nil, err
		}
	}
	return first, nil
}

// forward tells the first process of each signal that this process gets. That
// process knows which of them the program inside has got by itself.
func (f *firstProcess) forward(signals <-chan os.Signal) {
	for s := range signals {
		if n, ok := s.(syscall.Signal); ok {
			f.control.Write([]byte{byte(n)})
		}
	}
}
