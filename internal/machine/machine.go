// Package machine runs an image as a virtual machine: it decides what the machine is made of, starts the programs that
// are needed beside QEMU, and waits for the guest to end.
//
// A machine is planned first. [New] looks at the image's settings, at its output and at this host, and refuses what cannot
// be done; nothing has been started or written by then. Whoever wants to talk to the guest then adds what that takes
// ([Machine.AddCredential], [Machine.AddPort], [Machine.AddForward]), and [Machine.Run] does the rest.
//
// Programs are the host's, those of ExtraSearchPaths=, or those of the tools tree, and run in a sandbox: when this process
// ends, however it does, all of them do.
package machine

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/host"
	"github.com/mkosi-go/mkosi/internal/machine/notify"
	"github.com/mkosi-go/mkosi/internal/machine/qmp"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// Options say how a machine is run, beside the settings of its image.
type Options struct {
	// Dir is the directory of the configuration, which outputs are in unless OutputDirectory= is set.
	Dir string
	// Host describes this machine.
	Host host.Facts
	// Args are more arguments, which come last: for QEMU, or for systemd-vmspawn with VirtualMachineMonitor=vmspawn.
	Args []string
	// Console is where the guest's console is.
	Console Console
	// UI is told what is worth telling, and everything that is started when it is debugging.
	UI *ui.Printer
	// Started, unless it is nil, is called once the machine runs. An error ends the machine and is what Run returns.
	Started func() error
}

// Console is where the console of a guest is. The zero value is none at all, as Console=headless has it. It means nothing
// to Console=gui.
type Console struct {
	// Input is what is typed. A terminal that Output is too becomes QEMU's own, through a terminal in between: all keys go to
	// the guest, but for QEMU's own that begin with Ctrl-A. Of any other reader a last Read may outlive the machine.
	Input io.Reader
	// Output gets what the guest prints; nil for a machine without console.
	Output io.Writer
	// Terminal describes the terminal behind Output, so that the guest can use it well.
	Terminal Terminal
}

// Terminal is what a guest is told about the terminal of its console. Zero values are not told.
type Terminal struct {
	Name          string // as in $TERM
	Columns, Rows int
}

// Port is a port of the guest's virtual serial bus, /dev/virtio-ports/NAME in it. It is there whatever the guest does.
type Port struct {
	Name string
	// Serve is called once, in a goroutine of its own, with this side's end, which is closed when it returns. There is nothing
	// more to read once the machine has ended; Run waits for Serve after that.
	Serve func(conn net.Conn)
}

// Machine is a machine that can be run, once.
type Machine struct {
	img    *config.Image
	opts   Options
	probes probes

	image string // path of the output
	tools tools
	board board
	boot  boot
	kvm   bool

	emulator string // path of QEMU or systemd-vmspawn, as the sandbox sees it
	version  string // of systemd-vmspawn
	swtpm    tpm    // without programs for a machine without TPM
	virtiofs string // path of virtiofsd, or ""
	journal  string // path of systemd-journal-remote, or ""

	cid   uint32   // for VSOCK; 0 without, or with one that nobody here knows
	vsock *os.File // the device, while cid is claimed

	registry string // socket of systemd-machined
	register bool

	credentials map[string]string
	offers      []offer // those of them that it can do without
	shares      []share
	ports       []Port
	forwards    []forward
	receiver    *notify.Receiver
	listener    notify.Listener // for the receiver, with VSOCK

	mu      sync.Mutex
	monitor *qmp.Client // of the machine, once it runs
}

// New plans a machine for an image that has been built. What [Check] refuses, or else what is missing here, all of it, is
// joined in the error.
func New(img *config.Image, opts Options) (*Machine, error) { return plan(img, opts, hostProbes) }

// plan is New on a host that answers probes in a certain way.
func plan(img *config.Image, opts Options, p probes) (*Machine, error) {
	m := &Machine{img: img, opts: opts, probes: p, image: img.OutputPath(opts.Dir)}
	if err := Check(img); err != nil {
		return nil, err
	}
	var err error
	if m.board, err = boardOf(img.Architecture); err != nil {
		return nil, err
	}
	if m.tools, err = newTools(img, opts.Host); err != nil {
		return nil, err
	}
	if m.credentials, err = m.ownCredentials(); err != nil {
		return nil, err
	}
	steps := []func() error{m.planEmulator, m.planBoot, m.planTPM, m.planShares, m.planJournal, m.planRegistration, m.checkDisk}
	if m.vmspawn() {
		steps = []func() error{m.planVmspawn, m.planShares, m.planRegistration, m.checkDisk}
	}
	var problems []error
	for _, step := range steps {
		problems = append(problems, step())
	}
	if err := errors.Join(problems...); err != nil || m.vmspawn() {
		return m.unless(err)
	}
	// Last, since it takes something that has to be given back.
	return m.unless(m.planVSock())
}

// unless returns the machine, or an error alone.
func (m *Machine) unless(err error) (*Machine, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}

// vmspawn reports whether systemd-vmspawn runs the machine.
func (m *Machine) vmspawn() bool { return m.img.VirtualMachineMonitor == config.MonitorVmspawn }

// planEmulator finds QEMU and whether it can use KVM.
func (m *Machine) planEmulator() error {
	native := m.opts.Host.Architecture
	names := []string{emulator(m.img.Architecture)}
	if native == string(m.img.Architecture) {
		names = append(names, "qemu-kvm", "qemu") // as some distributions call that of their own architecture
	}
	var err error
	if m.emulator, err = m.tools.find(names...); err != nil {
		return m.missing(softwareQEMU, err)
	}
	if m.img.KVM == config.Disabled {
		return nil
	}
	err = m.probes.kvm()
	if native != string(m.img.Architecture) && (native != string(config.ArchX86_64) || m.img.Architecture != config.ArchX86) {
		err = fmt.Errorf("the machine is %s, and this host is %s", m.img.Architecture, native)
	}
	if err != nil && m.img.KVM == config.Enabled {
		return &hintError{fmt.Errorf("KVM=yes, but KVM does not work: %w", err), "set KVM=auto to emulate the processor where KVM does not work"}
	}
	if m.kvm = err == nil; !m.kvm {
		m.opts.UI.Infof(m.img.Image, "KVM does not work here, so the processor is emulated, which is slow (%v)", err)
	}
	return nil
}

// Name is the name of the machine that runs an image: Machine=, or the image's.
func Name(img *config.Image) string { return cmp.Or(img.Machine, img.Image) }

// Name is the machine's name, see the function [Name].
func (m *Machine) Name() string { return Name(m.img) }

// CID is the number under which the guest is reached, and comes from, over VSOCK. It is 0 if the machine has no VSOCK
// device, because this host has none to give or VSock=no.
func (m *Machine) CID() uint32 { return m.cid }

// AddCredential gives the guest a system credential (systemd.io/CREDENTIALS), in place of one of the same name.
func (m *Machine) AddCredential(name, value string) {
	m.credentials[name] = value
}

// AddPort gives the guest a port of its virtual serial bus.
func (m *Machine) AddPort(p Port) { m.ports = append(m.ports, p) }

// hintError is an error with what to do about it.
type hintError struct {
	error
	hint string
}

func (e *hintError) Hint() string  { return e.hint }
func (e *hintError) Unwrap() error { return e.error }
