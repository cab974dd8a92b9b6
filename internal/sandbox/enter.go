package sandbox

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// View is what a thread sees after [Enter].
type View struct {
	// Ops says what assembles the root directory, in order. It is called when
	// the namespaces are there and nothing is mounted yet: what it starts
	// shares the mount namespace, and the root directory that is going to be.
	// What the operations create in the caller's directories, mount points for
	// instance, stays there.
	Ops func() ([]Op, error)
	// PrivateNetwork gives the thread a network with a loopback device and
	// nothing else, PrivateIPC an IPC namespace, if the kernel knows these.
	PrivateNetwork, PrivateIPC bool
	// Log is told of each operation before it is done. May be nil.
	Log func(Op)
}

// Enter gives the calling thread, and what it starts or becomes from then on, a
// view of its own: a mount namespace with the assembled root directory, in
// which it ends up with "/" as its working directory. It has to be locked with
// runtime.LockOSThread for good, and needs CAP_SYS_ADMIN. Unlike [Cmd.Run] it
// changes neither the process namespace nor the umask. After an error the
// thread's view is undefined.
func Enter(v View) error {
	if err := unshare(v); err != nil {
		return err
	}
	ops, err := v.Ops()
	if err != nil {
		return err
	}
	umask := unix.Umask(0)
	defer unix.Umask(umask)
	a, err := newAssembly()
	if err != nil {
		return err
	}
	a.keep = true
	for _, op := range ops {
		if v.Log != nil {
			v.Log(op)
		}
		if err := a.apply(op); err != nil {
			return err
		}
	}
	return a.enter()
}

// unshare gives the calling thread its namespaces.
func unshare(v View) error {
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", privateMounts, err)
		if inUserNamespace() {
			return explainPowerless(err)
		}
		return err
	}
	if v.PrivateNetwork {
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = loopbackUp()
		}
		// EINVAL: the kernel was built without.
		if err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("making a network namespace: %w", err)
		}
	}
	if v.PrivateIPC {
		if err := unix.Unshare(unix.CLONE_NEWIPC); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("making an IPC namespace: %w", err)
		}
	}
	return nil
}

// CanEnter reports whether this process has what [Enter] needs, CAP_SYS_ADMIN.
// One that has not can start itself in a user namespace.
func CanEnter() bool { return mayMount() }

// HasOneUser reports whether this process is in a user namespace that has only
// one user, so that no file can be given to another one.
func HasOneUser() bool { return mapsOneUser() }

// Suppress has the kernel answer the chown(2) family, or the sync(2), fsync(2)
// and msync(2) family, with success without doing anything, for the calling
// thread, which needs CAP_SYS_ADMIN, and what it starts or becomes. These cannot
// put characters into a terminal's input either.
func Suppress(chown, sync bool) error {
	if !chown && !sync {
		return nil
	}
	return filterCalls(chown, sync)
}

// DropCapabilities takes capabilities (unix.CAP_*) from the calling thread and
// what it starts or becomes, for good.
func DropCapabilities(list []int) error { return dropCapabilities(list) }

// LookPath finds a program in the PATH of env, as execvp(3) would. Its error
// wraps unix.ENOENT.
func LookPath(name string, env []string) (string, error) { return lookPath(name, env) }

// ExplainForbidden adds to an error of starting a process in a user namespace
// which setting of this system forbids it. [Enter] does so by itself.
func ExplainForbidden(err error) error { return explainForbidden(err, "/proc/sys") }
