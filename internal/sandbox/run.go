package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// defaultGrace is how long a cancelled command may take to end: of the two seconds in which a build ends after a signal,
// what is left is for cleaning up.
const defaultGrace = time.Second

// Run assembles the sandbox, runs the command in it and waits for it. When Run
// returns, no process of the sandbox is left: children that the command left
// behind are killed.
//
// When ctx is done, everything in the sandbox gets SIGTERM, and after Grace what
// is left is killed; the error then wraps the context's cause. A command that
// ran and failed gives an *[ExitError]. An operation that failed gives an error
// that names it and wraps the system's error number.
func (c *Cmd) Run(ctx context.Context) error {
	if len(c.Args) == 0 {
		return errors.New("running a sandbox: no command")
	}
	if ctx.Err() != nil {
		return fmt.Errorf("running %s: %w", c.Args[0], context.Cause(ctx))
	}
	out := newStreams(c.Stdout, c.Stderr)
	r, err := c.runFirst(ctx, out)
	err = errors.Join(err, c.cleanUp(r.created))
	switch {
	case ctx.Err() != nil && (err != nil || !r.exited || r.status != 0):
		return fmt.Errorf("running %s: %w", c.Args[0], context.Cause(ctx))
	case r.failure != nil:
		return fmt.Errorf("running %s in a sandbox: %w", c.Args[0], r.failure)
	case !r.exited:
		return fmt.Errorf("running %s in a sandbox: %w", c.Args[0], cmp.Or(err, errors.New("its first process was killed")))
	case r.status != 0:
		e := &ExitError{Args: c.Args, Code: -1, Tail: out.tail.String()}
		if r.status.Signaled() {
			e.Signal = r.status.Signal()
		} else {
			e.Code = r.status.ExitStatus()
		}
		return e
	case err != nil:
		return fmt.Errorf("running %s: %w", c.Args[0], err)
	}
	return nil
}

// cleanUp removes what the sandbox left behind in the caller's directories.
func (c *Cmd) cleanUp(created []hostMount) error {
	removeCreated(created)
	var errs []error
	for _, op := range c.Ops {
		if work := op.overlay.Work; work != "" {
			if err := cleanWork(work); !missing(err) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// runFirst starts the first process of the sandbox, waits for it, and returns
// what it reported.
func (c *Cmd) runFirst(ctx context.Context, out *streams) (r report, err error) {
	term, err := newTerminal(c.Stdin, c.Stdout)
	if err != nil {
		return report{}, err
	}
	if term != nil {
		defer func() { err = errors.Join(err, term.close()) }()
	}
	spec, err := c.specFile(term != nil)
	if err != nil {
		return report{}, err
	}
	defer spec.Close()
	reports, reporter, err := os.Pipe()
	if err != nil {
		return report{}, err
	}
	defer reports.Close()
	userNamespace := !mayMount()
	first := &exec.Cmd{
		Path:        self,
		Args:        []string{cmdRole},
		Env:         []string{},
		Stdin:       c.Stdin,
		Stdout:      out.stdout,
		Stderr:      out.stderr,
		ExtraFiles:  append([]*os.File{spec, reporter}, c.ExtraFiles...),
		SysProcAttr: c.namespaces(userNamespace),
	}
	if term != nil {
		term.attach(first)
	}
	// The kernel kills the first process when the thread that started it ends,
	// so that thread has to wait here.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := first.Start(); err != nil {
		reporter.Close()
		return report{}, startError(err, userNamespace)
	}
	reporter.Close()
	if term != nil {
		term.connect()
	}
	done := make(chan report, 1)
	go func() { done <- readReport(reports) }()
	stop := context.AfterFunc(ctx, func() { c.stop(first.Process) })
	err = c.wait(first)
	stop()
	r = <-done
	if r.failure != nil && userNamespace {
		r.failure = explainPowerless(r.failure)
	}
	return r, err
}

// stop ends a sandbox: first its processes may clean up, then they are killed.
func (c *Cmd) stop(first *os.Process) {
	grace := c.Grace
	if grace == 0 {
		grace = defaultGrace
	}
	first.Signal(unix.SIGTERM)
	time.Sleep(grace)
	// Of a process that has been waited for, Kill only says that it is gone.
	first.Kill()
}

// privateNamespaces are what every command has for itself beside its mounts and
// processes.
const privateNamespaces = unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// namespaces is how the first process is cloned.
func (c *Cmd) namespaces(userNamespace bool) *unix.SysProcAttr {
	attr := &unix.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  unix.SIGKILL,
	}
	// A confined command gets these with its own user namespace, to be master
	// of them there.
	if !c.Confine {
		attr.Cloneflags |= privateNamespaces
		if !c.Network {
			attr.Cloneflags |= unix.CLONE_NEWNET
		}
	}
	if userNamespace {
		singleUser(attr)
	}
	return attr
}

// specFile is an anonymous file with the first process's instructions.
func (c *Cmd) specFile(terminal bool) (*os.File, error) {
	s := spec{
		args: c.Args, env: c.Env, dir: c.Dir, hostname: c.Hostname, ops: c.Ops,
		capabilities: c.DropCapabilities, extraFiles: len(c.ExtraFiles),
	}
	for flag, on := range map[specFlags]bool{
		flagNetwork:       c.Network,
		flagSuppressChown: c.SuppressChown,
		flagSuppressSync:  c.SuppressSync,
		flagConfine:       c.Confine,
		flagTerminal:      terminal,
		flagDetached:      c.Detached,
	} {
		if on {
			s.flags |= flag
		}
	}
	fd, err := unix.MemfdCreate("mkosi-sandbox", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("creating the sandbox's instructions: %w", err)
	}
	f := os.NewFile(uintptr(fd), "mkosi-sandbox")
	if _, err := f.Write(s.encode()); err != nil {
		f.Close()
		return nil, fmt.Errorf("writing the sandbox's instructions: %w", err)
	}
	return f, nil
}

// streams are where a command's output goes, with a copy of its end where that is
// possible.
type streams struct {
	stdout, stderr io.Writer
	tail           tail
}

func newStreams(stdout, stderr io.Writer) *streams {
	o := &streams{stdout: stdout, stderr: stderr}
	same := sameWriter(stdout, stderr)
	o.stderr = o.tee(stderr)
	if same {
		o.stdout = o.stderr
	} else if stdout == nil {
		o.stdout = &o.tail
	}
	return o
}

// sameWriter reports whether a and b are equal; writers of some types cannot be
// compared.
func sameWriter(a, b io.Writer) bool {
	defer func() { recover() }()
	return a == b
}

// tee is a writer to w and the tail. Files are left alone: a terminal should
// remain one.
func (o *streams) tee(w io.Writer) io.Writer {
	switch w.(type) {
	case nil:
		return &o.tail
	case *os.File:
		return w
	}
	return &teeWriter{w, &o.tail}
}

type teeWriter struct {
	w    io.Writer
	tail *tail
}

func (t *teeWriter) Write(p []byte) (int, error) {
	t.tail.Write(p)
	return t.w.Write(p)
}
