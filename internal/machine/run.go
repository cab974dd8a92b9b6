package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/machine/qmp"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/shellwords"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// running is a run of a machine.
type running struct {
	resources
	m   *Machine
	ctx context.Context // done when the run ends, for whatever reason
	end context.CancelCauseFunc

	dir     string     // private, for this run
	files   []*os.File // of QEMU, from descriptor 3
	ends    []func() error
	helpers sync.WaitGroup
	streams sync.WaitGroup // what copies and serves until QEMU has ended
}

// runDir is where the private directories of runs are. It is no setting: the names of sockets have to be short.
const runDir = "/var/tmp"

// Run starts what the machine needs and the machine, waits until it has ended, and returns the guest's exit status: what
// the guest said with EXIT_STATUS= if somebody listens to it ([Machine.Notify]), else 0. When ctx is done, the machine is
// ended at once, and the error wraps the context's cause. It is an error that QEMU fails, with the last lines of what it
// said.
func (m *Machine) Run(ctx context.Context) (status int, err error) {
	r := &running{m: m}
	r.ctx, r.end = context.WithCancelCause(ctx)
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.prepare(); err != nil {
		return 0, err
	}
	if m.vmspawn() {
		status, err = r.runVmspawn()
		return status, r.reason(ctx, err)
	}
	if err := r.runQEMU(); err != nil {
		return 0, r.reason(ctx, err)
	}
	r.end(nil)
	r.helpers.Wait() // who receives notifications may still have one to read
	return m.status(), nil
}

// prepare makes everything that QEMU needs, in an order in which the cheap and the refusals come first.
func (r *running) prepare() error {
	for _, f := range r.m.forwards {
		r.onEnd(f.held.Close)
	}
	if r.m.vmspawn() && len(r.m.ports) > 0 {
		return fmt.Errorf("systemd-vmspawn cannot give the machine the port %s of its virtual serial bus", r.m.ports[0].Name)
	}
	if err := r.lockImage(); err != nil {
		return err
	}
	staging, err := tree.Stage(r.ctx, runDir)
	if err != nil {
		return err
	}
	r.onEnd(staging.Close)
	r.dir = staging.Dir()
	if m := r.m; m.listener != nil {
		r.onEnd(func() error {
			m.listener.Close() // which the receiver has done if the machine ran
			return nil
		})
	}
	r.ioUring = r.m.probes.ioUring()
	if r.m.vsock != nil {
		r.resources.vsock = r.pass(r.m.vsock)
	}
	for _, step := range []func() error{
		r.prepareCommandLine, r.prepareVariables, r.passCredentials, r.openPorts, r.prepareDrives,
		func() error { return r.prepareDisk(r.ctx) },
		func() error { return r.startTPM(r.ctx) },
		func() error { return r.startShares(r.ctx) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// onEnd has something done at the end of the run, the last first.
func (r *running) onEnd(f func() error) { r.ends = append(r.ends, f) }

// close ends what still runs and removes what the run made.
func (r *running) close() error {
	r.end(nil)
	r.helpers.Wait()
	var errs []error
	for _, f := range slices.Backward(r.ends) {
		errs = append(errs, f())
	}
	for _, f := range r.files {
		f.Close() // a second time is no matter
	}
	r.streams.Wait()
	return errors.Join(errs...)
}

// reason is why QEMU failed: the context's cause if that was it, or a helper that ended early.
func (r *running) reason(ctx context.Context, err error) error {
	if cause := context.Cause(r.ctx); ctx.Err() == nil && cause != nil {
		return cause
	}
	return err
}

// pass gives QEMU a file and returns the number of its descriptor there. The file is closed when QEMU has ended.
func (r *running) pass(f *os.File) int {
	r.files = append(r.files, f)
	return 2 + len(r.files)
}

// command runs a helper that does something and ends.
func (r *running) command(ctx context.Context, c *sandbox.Cmd) error {
	r.log(c)
	return c.Run(ctx)
}

// log shows a command when debugging.
func (r *running) log(c *sandbox.Cmd) {
	r.m.opts.UI.Debugf(r.m.img.Image, "running %s", shellwords.Join(c.Args))
}

// start starts a helper that runs as long as the machine and has files, from descriptor 3; they are closed here. The
// machine ends when the helper fails.
func (r *running) start(ctx context.Context, what string, c *sandbox.Cmd, files ...*os.File) {
	c.ExtraFiles = files
	r.log(c)
	r.helpers.Go(func() {
		err := c.Run(ctx)
		for _, f := range files {
			f.Close()
		}
		if err != nil && r.ctx.Err() == nil {
			r.end(fmt.Errorf("running %s: %w", what, err))
		}
	})
}

// socketPair returns two sockets that are connected with each other.
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}

// channel is a connection with QEMU: a descriptor of QEMU's, and this side of it.
func (r *running) channel() (fd int, conn net.Conn, err error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return 0, nil, err
	}
	defer ours.Close()
	conn, err = net.FileConn(ours)
	if err != nil {
		return 0, nil, errors.Join(err, theirs.Close())
	}
	return r.pass(theirs), conn, nil
}

// openPorts serves the ports of the virtual serial bus until the machine has ended.
func (r *running) openPorts() error {
	if r.m.journal != "" {
		r.m.AddPort(Port{Name: journalPort, Serve: r.writeJournal})
	}
	for _, p := range r.m.ports {
		fd, conn, err := r.channel()
		if err != nil {
			return fmt.Errorf("making the port %s: %w", p.Name, err)
		}
		r.resources.ports = append(r.resources.ports, fd)
		r.streams.Go(func() {
			defer conn.Close()
			p.Serve(conn)
		})
		r.onEnd(func() error {
			conn.Close() // which Serve has done if the machine ran
			return nil
		})
	}
	return nil
}

// runQEMU runs QEMU until it ends.
func (r *running) runQEMU() error {
	fd, monitor, err := r.channel()
	if err != nil {
		return fmt.Errorf("making the connection to QEMU: %w", err)
	}
	r.monitor = fd
	defer monitor.Close()
	cmd := r.m.tools.wide(r.m.arguments(&r.resources))
	cmd.ExtraFiles = r.files
	if r.m.opts.UI.Debugging() {
		w := r.m.opts.UI.Writer(r.m.img.Image)
		defer w.Close()
		cmd.Stderr = w
	}
	if err := r.connect(cmd); err != nil {
		return err
	}
	r.log(cmd)
	r.receive()
	r.streams.Go(func() { r.greet(monitor) })
	err = cmd.Run(r.ctx)
	for _, f := range r.files {
		f.Close() // so that who reads the other end sees the end
	}
	monitor.Close()
	r.streams.Wait()
	if err == nil {
		err = context.Cause(r.ctx) // QEMU ends well when it is told to
	}
	if err != nil {
		return fmt.Errorf("running the machine: %w", err)
	}
	return nil
}

// greet waits until the machine runs, which it does not if QEMU ends before.
func (r *running) greet(conn net.Conn) {
	client, err := qmp.Connect(conn, r.told)
	if err != nil {
		return // QEMU says why
	}
	if !r.begin(client) {
		return
	}
	r.m.setMonitor(client)
	err = r.enrol(r.ctx)
	if err == nil && r.m.opts.Started != nil {
		err = r.m.opts.Started()
	}
	if err != nil {
		r.end(err)
	}
}

// connect connects QEMU's streams with the console. Only a terminal is QEMU's own, through another one; it would otherwise
// change how the file behaves for everybody.
func (r *running) connect(cmd *sandbox.Cmd) error {
	c := r.m.opts.Console
	if !r.m.hasConsole() {
		return nil
	}
	cmd.Stdout = c.Output
	if isTerminal(c.Input) && isTerminal(c.Output) {
		cmd.Stdin = c.Input
		return nil
	}
	if f, ok := c.Output.(*os.File); ok {
		cmd.Stdout = struct{ io.Writer }{f}
	}
	if c.Input == nil {
		return nil
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdin = read
	r.onEnd(read.Close)
	go func() {
		// Nobody waits for this: a read of the user's input may last.
		_, _ = io.Copy(write, c.Input)
		write.Close()
	}()
	return nil
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok || f == nil {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
