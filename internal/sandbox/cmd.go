package sandbox

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// Cmd is one command to run in a sandbox. It has private mount, process, IPC,
// host name and (unless Network is set) network namespaces, no file descriptor
// but the standard streams and ExtraFiles, the environment Env, umask 022, and
// a root directory made of Ops.
//
// It runs as root of the caller's user namespace. A caller without
// CAP_SYS_ADMIN gets a user namespace for this command, in which only its own
// user is mapped, as root.
//
// A Cmd may be run several times, also at once if its streams allow it.
type Cmd struct {
	// Args is the program and its arguments. A program without a slash is
	// looked up in the PATH of Env, inside the sandbox.
	Args []string
	// Env is the whole environment, as NAME=value. Nothing is inherited.
	Env []string
	// Dir is the working directory inside the sandbox; empty means "/".
	Dir string
	// Hostname is the host name in the sandbox; empty means "localhost".
	Hostname string
	// Ops assemble the root directory, in order.
	Ops []Op
	// Network keeps the caller's network. Without it the command has a
	// loopback device of its own and nothing else.
	Network bool
	// SuppressChown answers the chown(2) family with success without doing it.
	SuppressChown bool
	// SuppressSync answers the fsync(2), sync(2) and msync(2) family with
	// success without doing it.
	SuppressSync bool
	// Confine runs the command in a user namespace of its own, with the same IDs
	// as the caller's, that is made after the root directory. The command still
	// is root with all capabilities, but these reach only its own namespaces and
	// the files it sees: nothing that is mounted can be unmounted or made
	// writable, and what concerns the whole system (devices, modules, kernel
	// settings, the clock) fails as for any ordinary user. It can make mounts and
	// sandboxes of its own on top of what it has. It needs a [Proc] at /proc.
	Confine bool
	// Detached keeps from the command the signals of the terminal that the caller
	// runs on: that of Ctrl-C, and that of its being closed.
	Detached bool
	// DropCapabilities are capabilities (unix.CAP_*, see capabilities(7)) that
	// the command and its children can never have. CAP_SYS_PTRACE has to be
	// among them for the others to be really out of reach. A command that keeps
	// CAP_SYS_ADMIN can make its own read-only mounts writable.
	DropCapabilities []int
	// Stdin is the command's standard input; nil is /dev/null. If it and Stdout
	// are terminals, the command gets a terminal of its own, of the same size,
	// and all that is typed goes there, Ctrl-C and Ctrl-Z too. As with os/exec,
	// an *os.File is passed on as it is, any other reader is copied, and Run
	// does not return before its last Read has.
	Stdin io.Reader
	// Stdout and Stderr receive the command's output; the same writer may be
	// given twice. What goes to nil is kept only for ExitError.Tail. An
	// *os.File is passed on as it is.
	Stdout, Stderr io.Writer
	// ExtraFiles become file descriptors 3, 4, ... of the command. They stay
	// the caller's to close.
	ExtraFiles []*os.File
	// Grace is how long the command may take to end after the context's
	// cancellation, before it and all its children are killed; 0 means 1 s.
	Grace time.Duration
	// Used, unless it is nil, is told what the command used when it has ended, before Run returns.
	Used func(Usage)
}

// ExitError is the error of a command that was started and failed.
type ExitError struct {
	Args   []string       // as in Cmd
	Code   int            // exit code, 1 to 255; -1 if a signal killed the command
	Signal syscall.Signal // the signal that killed it, or 0
	Tail   string         // last lines of what it wrote to Stderr (and to Stdout, if that was nil or the same), unless that was an *os.File
}

// Error is one line without the arguments, followed by Tail if there is any.
func (e *ExitError) Error() string {
	name := "command"
	if len(e.Args) > 0 {
		name = e.Args[0]
	}
	msg := fmt.Sprintf("%s failed with exit code %d", name, e.Code)
	if e.Signal != 0 {
		msg = fmt.Sprintf("%s was killed by signal %d (%v)", name, int(e.Signal), e.Signal)
	}
	if e.Tail != "" {
		msg += ":\n" + e.Tail
	}
	return msg
}
