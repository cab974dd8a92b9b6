// Package sandbox runs one command in a private view of the system, and gives
// the program the session that makes this possible for ordinary users.
//
// A session is the program itself, re-executed once at its start in
// namespaces of its own: mounts made there are invisible outside and cannot
// outlive it, and when its outermost process dies, however it dies, everything
// inside dies with it. A [Cmd] is one command in a root directory assembled
// from a list of operations ([Op]): what no operation names does not exist for
// the command.
//
// Both work by running this very binary again as the first process of a new
// process namespace, so every main function (and every TestMain) that leads
// here has to begin with
//
//	if sandbox.Reexecuted() {
//		sandbox.Main()
//	}
//
// Nobody else in the project makes namespaces or mounts. The kernel has to be
// Linux 5.12 or newer (openat2, mount_setattr, overlays in user namespaces).
package sandbox

import (
	"fmt"
	"os"
)

// The names under which this binary runs as the first process of a process
// namespace. No file has such a name, so nobody asks for it by accident.
const (
	cmdRole     = "mkosi: sandbox"
	sessionRole = "mkosi: session"
)

// self is this binary, even when its file has been replaced since.
const self = "/proc/self/exe"

// Reexecuted reports whether this process was started by this package, to set up
// a sandbox or session. The program then has to call [Main] before it does
// anything else.
func Reexecuted() bool {
	return len(os.Args) > 0 && (os.Args[0] == cmdRole || os.Args[0] == confinedRole || os.Args[0] == sessionRole)
}

// Main is the whole life of a process for which [Reexecuted] is true. It never
// returns.
func Main() {
	switch os.Args[0] {
	case cmdRole:
		cmdMain()
	case confinedRole:
		confinedMain()
	case sessionRole:
		sessionMain()
	}
	fmt.Fprintf(os.Stderr, "%s: not started by the sandbox\n", os.Args[0])
	os.Exit(exitInternal)
}

// exitInternal is the exit code of a first process that cannot even report
// what went wrong.
const exitInternal = 125
