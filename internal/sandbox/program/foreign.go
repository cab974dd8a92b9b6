package program

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/varlink"
)

// The services of systemd that give ordinary users ranges of users, and mounts
// in which these own what belongs to the foreign range on disk. Their interfaces
// are io.systemd.NamespaceResource and io.systemd.MountFileSystem; `varlinkctl
// introspect` shows them.
const (
	resourceSocket = "/run/systemd/io.systemd.NamespaceResource"
	mountSocket    = "/run/systemd/io.systemd.MountFileSystem"
)

// rangeSize is how many users a transient range has.
const rangeSize = 1 << 16

// allocation are the parameters of AllocateUserRange.
type allocation struct {
	Name       string `json:"name"`
	MangleName bool   `json:"mangleName"`
	Size       int    `json:"size"`
	Target     *int   `json:"target,omitempty"`
	Namespace  int    `json:"userNamespaceFileDescriptor"`
	Type       string `json:"type"`
	Delegate   int    `json:"delegateContainerRanges"`
	MapForeign bool   `json:"mapForeign"`
}

// services are where the two are reached.
type services struct{ resource, mount string }

func systemServices() services { return services{resourceSocket, mountSocket} }

// allocate gives the namespace of a process the users that a says.
func (s services) allocate(child *os.Process, a allocation) error {
	name := make([]byte, 2)
	rand.Read(name)
	a.Name, a.MangleName = fmt.Sprintf("mkosi-%x", name), true
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", child.Pid))
	if err != nil {
		return fmt.Errorf("opening the user namespace: %w", err)
	}
	defer namespace.Close()
	_, err = varlink.Call(context.Background(), s.resource, "io.systemd.NamespaceResource.AllocateUserRange", a, []*os.File{namespace}, nil)
	if err != nil {
		return explainService("systemd-nsresourced", err)
	}
	return nil
}

// allocateSelf has the caller's user exist in the namespace of a process, and
// the ranges that o asks for.
func allocateSelf(child *os.Process, o *Options) error {
	a := allocation{Size: 1, Type: "self", Delegate: o.ranges(), MapForeign: o.mapForeign}
	if o.becomeRoot {
		a.Target = new(int)
	}
	return systemServices().allocate(child, a)
}

// foreignProcess is the process that is going to be the command, in a namespace
// of which root and all others are a transient range.
type foreignProcess struct {
	child    *os.Process
	open     func()
	services services
}

// startForeign starts that process, which shares the mount namespace of this
// thread.
func startForeign(o *Options) (*foreignProcess, error) {
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, AmbientCaps: o.capabilities()}
	child, open, err := startGated(commandRole, os.Args, o, attr)
	if err != nil {
		return nil, fmt.Errorf("making a user namespace for foreign trees: %w", err)
	}
	f := &foreignProcess{child, open, systemServices()}
	err = f.services.allocate(child, allocation{Size: rangeSize, Type: "managed", Target: new(int)})
	if err != nil {
		child.Kill()
		child.Wait()
		return nil, err
	}
	return f, nil
}

// mount has a service make the mount of a foreign tree. The file is left open
// for as long as this process lives.
func (f *foreignProcess) mount(s step) (sandbox.Op, error) {
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", f.child.Pid))
	if err != nil {
		return sandbox.Op{}, fmt.Errorf("opening the user namespace: %w", err)
	}
	defer namespace.Close()
	mount, err := f.services.mountDirectory(s.tree, namespace, s.readOnly)
	if err != nil {
		return sandbox.Op{}, fmt.Errorf("binding the foreign tree %s to %s: %w", s.source, s.target, err)
	}
	return sandbox.Mount(mount, s.target), nil
}

// openForeign opens the foreign trees. This has to be done in the mount
// namespace that the service is in: the kernel clones no mount of another one.
func (o *Options) openForeign() error {
	for i, s := range o.steps {
		if !s.foreign {
			continue
		}
		fd, err := unix.Open(s.source, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "opening the foreign tree", Path: s.source, Err: err}
		}
		o.steps[i].tree = os.NewFile(uintptr(fd), s.source)
	}
	return nil
}

// mountDirectory returns a detached mount of an open directory in which the
// users of a namespace own what belongs to the foreign range.
func (s services) mountDirectory(tree, namespace *os.File, readOnly bool) (*os.File, error) {
	parameters := struct {
		Directory int    `json:"directoryFileDescriptor"`
		Namespace int    `json:"userNamespaceFileDescriptor"`
		Mode      string `json:"mode"`
		ReadOnly  bool   `json:"readOnly"`
	}{0, 1, "foreign", readOnly}
	var reply struct {
		Mount *int `json:"mountFileDescriptor"`
	}
	files, err := varlink.Call(context.Background(), s.mount, "io.systemd.MountFileSystem.MountDirectory", parameters, []*os.File{tree, namespace}, &reply)
	if err != nil {
		return nil, explainService("systemd-mountfsd", err)
	}
	if reply.Mount == nil || *reply.Mount < 0 || *reply.Mount >= len(files) {
		for _, f := range files {
			f.Close()
		}
		return nil, errors.New("systemd-mountfsd replied without a mount")
	}
	for i, f := range files {
		if i != *reply.Mount {
			f.Close()
		}
	}
	return files[*reply.Mount], nil
}

// run has the process become the command and waits for that.
func (f *foreignProcess) run() (int, error) {
	f.open()
	return supervise(f.child)
}

// becomeForeign is the life of that process.
func becomeForeign(argv []string, o *Options) error {
	if err := awaitParent(argv); err != nil {
		return err
	}
	n, err := parseNote(argv)
	if err != nil {
		return err
	}
	if o.becomeRoot {
		// Of this thread alone: it is the one that becomes the command.
		for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
			if _, _, errno := unix.RawSyscall(call, 0, 0, 0); errno != 0 {
				return fmt.Errorf("becoming root: %w", errno)
			}
		}
	}
	return become(o, n.files, true)
}

// ServiceError is the failure of a service that this program depends on.
type ServiceError struct {
	err  error
	hint string
}

func (e *ServiceError) Error() string { return e.err.Error() }
func (e *ServiceError) Unwrap() error { return e.err }

// Hint says what to do.
func (e *ServiceError) Hint() string { return e.hint }

// explainService says what is needed of a service that failed.
func explainService(service string, err error) error {
	hint := "--map-foreign, --map-delegate and --bind-foreign need " + service + " of systemd 260 or newer"
	var reply *varlink.Error
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED):
		err = fmt.Errorf("%s is not running: %w", service, err)
		hint += "; start it with: systemctl start " + service + ".socket"
	case errors.As(err, &reply) && reply.Name == "io.systemd.NamespaceResource.UserNamespaceInterfaceNotSupported":
		hint = service + " needs libbpf, and a kernel with the BPF security module: \"bpf\" has to be in /sys/kernel/security/lsm, see the kernel's option lsm="
	case errors.As(err, &reply) && (reply.Name == "org.varlink.service.InvalidParameter" || reply.Name == "org.varlink.service.MethodNotFound" || reply.Name == "org.varlink.service.InterfaceNotFound"):
		hint += "; the one that runs seems to be older"
	}
	return &ServiceError{err, hint}
}
