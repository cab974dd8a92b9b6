package program

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// Name is what the program is called.
const Name = "mkosi-sandbox"

// The names under which this binary runs again in a user namespace. No file has
// such a name, so nobody asks for it by accident.
const (
	insideRole  = "mkosi: sandbox program"         // makes the sandbox
	packedRole  = "mkosi: sandbox program packed"  // the same, in no user namespace of its own
	commandRole = "mkosi: sandbox program command" // becomes the command in the namespace of foreign trees
)

// Invoked reports whether a process with this argv[0] is mkosi-sandbox, or was
// started by it.
func Invoked(name string) bool {
	return filepath.Base(name) == Name || again(name)
}

func again(name string) bool {
	return name == insideRole || name == packedRole || name == commandRole
}

// Arguments are the arguments for [Parse] in argv, all words of the command
// line of a process for which [Invoked] is true.
func Arguments(argv []string) []string {
	if again(argv[0]) {
		return argv[min(2, len(argv)):] // the second is for awaitParent
	}
	return argv[1:]
}

// Exit codes of env(1), nohup(1) and their like.
const (
	ExitNotRun   = 126 // the command could not be run
	ExitNotFound = 127 // there is no such command
)

// CommandError is a failure to start the command in the finished sandbox.
type CommandError struct {
	// Code is the exit code for it, [ExitNotRun] or [ExitNotFound].
	Code int
	err  error
}

func (e *CommandError) Error() string { return e.err.Error() }
func (e *CommandError) Unwrap() error { return e.err }

// Run runs the command as argv, all words of this process's command line, and
// o, parsed from them, say. It does not return if this process becomes the
// command; else it returns the command's exit code, 128 plus the signal's
// number if one killed it. log is told of each step; it may be nil.
func Run(argv []string, o *Options, log func(step string)) (code int, err error) {
	// Namespaces, capabilities and system call filters are matters of a
	// thread, and so is being the parent of a process that dies with it.
	runtime.LockOSThread()
	switch {
	case argv[0] == commandRole:
		return 0, becomeForeign(argv, o)
	case argv[0] == insideRole:
		return enterNamespace(argv, o, log)
	case argv[0] == packedRole:
		if err := awaitParent(argv); err != nil {
			return 0, err
		}
		return enter(o, false, log)
	case o.needsUserNamespace():
		return startInside(argv, o)
	}
	files, err := inheritedFiles()
	if err != nil {
		return 0, err
	}
	if o.packFiles && !packed(files) {
		// The numbers that are wanted may be in use by the Go runtime.
		return startPacked(argv, o)
	}
	return enter(o, false, log)
}

// startPacked runs this program again with its files renumbered.
func startPacked(argv []string, o *Options) (int, error) {
	child, err := start(packedRole, argv, o, &syscall.SysProcAttr{}, nil)
	if err != nil {
		return 0, err
	}
	return supervise(child)
}

// needsUserNamespace reports whether this process lacks a power or a user that
// the sandbox has to have.
func (o *Options) needsUserNamespace() bool {
	return !sandbox.CanEnter() || o.becomeRoot && os.Geteuid() != 0 || o.needsService()
}

// needsService reports whether a service has to say which users the namespace
// has. Root has the foreign ones anyway.
func (o *Options) needsService() bool {
	return o.ranges() > 0 || o.mapForeign && os.Geteuid() != 0
}

// startInside runs this program again in a user namespace.
func startInside(argv []string, o *Options) (int, error) {
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, AmbientCaps: o.capabilities()}
	if !o.needsService() {
		mapSelf(attr, o.becomeRoot)
		child, err := start(insideRole, argv, o, attr, nil)
		if err != nil {
			return 0, sandbox.ExplainForbidden(fmt.Errorf("making a user namespace: %w", err))
		}
		return supervise(child)
	}
	child, open, err := startGated(insideRole, argv, o, attr)
	if err != nil {
		return 0, sandbox.ExplainForbidden(fmt.Errorf("making a user namespace: %w", err))
	}
	if err := allocateSelf(child, o); err != nil {
		child.Kill()
		child.Wait()
		return 0, err
	}
	open()
	return supervise(child)
}

// mapSelf gives a user namespace the one user and group that it may have
// without anybody's help.
func mapSelf(attr *syscall.SysProcAttr, root bool) {
	uid, gid := os.Geteuid(), os.Getegid()
	user := syscall.SysProcIDMap{ContainerID: uid, HostID: uid, Size: 1}
	group := syscall.SysProcIDMap{ContainerID: gid, HostID: gid, Size: 1}
	if root {
		user.ContainerID, group.ContainerID = 0, 0
	}
	attr.UidMappings, attr.GidMappings = []syscall.SysProcIDMap{user}, []syscall.SysProcIDMap{group}
}

// enterNamespace is the life of the process in the user namespace, once that
// has its users.
func enterNamespace(argv []string, o *Options, log func(string)) (int, error) {
	if err := awaitParent(argv); err != nil {
		return 0, err
	}
	return enter(o, true, log)
}

// enter makes the sandbox and becomes the command, or, for foreign trees, has a
// process in a namespace of their users become it.
func enter(o *Options, namespace bool, log func(string)) (int, error) {
	files, err := inheritedFiles()
	if err != nil {
		return 0, err
	}
	if err := o.openForeign(); err != nil {
		return 0, err
	}
	o.oneUser = sandbox.HasOneUser() // in the sandbox /proc may be missing
	var foreign *foreignProcess
	view := sandbox.View{PrivateNetwork: o.network, PrivateIPC: o.ipc}
	view.Ops = func() ([]sandbox.Op, error) {
		if o.foreign() {
			if foreign, err = startForeign(o); err != nil {
				return nil, err
			}
		}
		return o.ops(foreign)
	}
	if log != nil {
		view.Log = func(op sandbox.Op) { log(op.String()) }
	}
	if err := sandbox.Enter(view); err != nil {
		return 0, err
	}
	if foreign != nil {
		return foreign.run()
	}
	return 0, become(o, len(files), namespace)
}

// ops are all operations in order.
func (o *Options) ops(foreign *foreignProcess) ([]sandbox.Op, error) {
	var ops []sandbox.Op
	for _, s := range o.steps {
		if s.foreign {
			op, err := foreign.mount(s)
			if err != nil {
				return nil, err
			}
			ops = append(ops, op)
		}
		ops = append(ops, s.ops...)
	}
	return ops, nil
}

// become makes this process the command, which inherits so many files beside the
// standard streams.
func become(o *Options, files int, namespace bool) error {
	dir := o.dir
	if dir == "" {
		dir = "/"
	}
	if err := unix.Chdir(dir); err != nil {
		return fmt.Errorf("entering the directory %s in the sandbox: %w", dir, err)
	}
	env := o.environment(os.Environ())
	if o.packFiles {
		env = listen(env, files)
	}
	name, err := sandbox.LookPath(o.Args[0], env)
	if err != nil {
		return &CommandError{ExitNotFound, err}
	}
	// Root, where there are other users, can do as it is told.
	chown := o.chown && (os.Geteuid() != 0 || o.oneUser)
	if err := sandbox.Suppress(chown, o.sync); err != nil {
		return err
	}
	if namespace {
		if err := o.limit(); err != nil {
			return err
		}
	}
	err = syscall.Exec(name, o.Args, env)
	code := ExitNotRun
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		code = ExitNotFound
	}
	return &CommandError{code, fmt.Errorf("running %s: %w", name, err)}
}

// limit takes from this thread the capabilities that the command does not get,
// and has it die with the parent, which the kernel forgets when capabilities
// change.
func (o *Options) limit() error {
	keep := o.capabilities()
	var drop []int
	for c := range unix.CAP_LAST_CAP + 1 {
		if !slices.Contains(keep, uintptr(c)) {
			drop = append(drop, c)
		}
	}
	if err := sandbox.DropCapabilities(drop); err != nil {
		return err
	}
	return dieWithParent()
}

// capabilities are those of the command in a user namespace: what work on a
// tree takes, and mounting. A network of its own wants to be set up, too.
func (o *Options) capabilities() []uintptr {
	list := []uintptr{
		unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_FSETID,
		unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SETPCAP, unix.CAP_SYS_CHROOT, unix.CAP_SYS_PTRACE,
		unix.CAP_SYS_ADMIN, unix.CAP_SYS_RESOURCE, unix.CAP_SETFCAP,
	}
	if o.network {
		list = append(list, unix.CAP_NET_ADMIN, unix.CAP_NET_BIND_SERVICE)
	}
	return list
}

// environment is the command's environment, made of the program's. What is
// unset is unset, even if it is set as well.
func (o *Options) environment(env []string) []string {
	env = slices.Clone(env)
	remove := func(name string) {
		env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	}
	for _, v := range o.env {
		remove(v.name)
		env = append(env, v.name+"="+v.value)
	}
	for _, name := range o.unset {
		remove(name)
	}
	return env
}

// listen adds to env what sd_listen_fds(3) wants to know.
func listen(env []string, n int) []string {
	env = slices.DeleteFunc(env, func(e string) bool {
		return strings.HasPrefix(e, "LISTEN_FDS=") || strings.HasPrefix(e, "LISTEN_PID=")
	})
	if n > 0 {
		env = append(env, "LISTEN_FDS="+strconv.Itoa(n), "LISTEN_PID="+strconv.Itoa(os.Getpid()))
	}
	return env
}
