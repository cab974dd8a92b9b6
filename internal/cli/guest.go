package cli

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/keys"
	"github.com/mkosi-go/mkosi/internal/machine"
	"github.com/mkosi-go/mkosi/internal/machine/remote"
	"github.com/mkosi-go/mkosi/internal/machine/running"
)

// offer lets mkosi ssh find a machine and the owner of SshCertificate= log in to its guest. It is for the time before the
// machine runs; done is to be called when it has ended.
func (a *app) offer(img *config.Image, m *machine.Machine) (done func() error, err error) {
	ports, err := offerSSH(img, m)
	if err != nil {
		return nil, err
	}
	return a.enterMachine(img, running.Machine{Name: m.Name(), Image: img.OutputPath(a.cfg.Dir), CID: m.CID(), SSHPorts: ports})
}

// enterMachine puts a machine into the list of those that run, until done is called. Without such a list, as for a user
// who is not logged in, and with a name that is taken, only mkosi ssh does not work; done is there nevertheless.
func (a *app) enterMachine(img *config.Image, m running.Machine) (done func() error, err error) {
	dir, err := running.Dir(a.host.UID, a.host.Environment)
	var entry *running.Entry
	if err == nil {
		entry, err = running.Enter(dir, m)
	}
	var taken *running.AlreadyRunningError
	switch {
	case err == nil:
		return entry.Close, nil
	case errors.As(err, &taken):
		a.ui.Warnf(img.Image, "%v: mkosi ssh finds that one, unless this one gets another name with --machine=NAME", taken)
	case img.Ssh == config.SshRuntime:
		return nil, fmt.Errorf("the image has Ssh=runtime, and mkosi ssh would not find the machine: %w", err)
	default:
		a.ui.Warnf(img.Image, "mkosi ssh will not find the machine: %v", err)
	}
	return func() error { return nil }, nil
}

// offerSSH lets the owner of SshCertificate= log in to a guest, and returns the ports of this host that lead to its sshd
// where VSOCK does not.
func offerSSH(img *config.Image, m *machine.Machine) ([]uint16, error) {
	if img.SshCertificate == "" {
		if img.Ssh == config.SshRuntime {
			return nil, &config.Error{Setting: "Ssh", Msg: "Ssh=runtime needs a certificate that mkosi ssh can log in with, and SshCertificate= is not set",
				Hint: "mkosi genkey makes a key and a certificate"}
		}
		return nil, nil
	}
	cert, err := keys.LoadCertificate(img.SshCertificate)
	if err != nil {
		return nil, fmt.Errorf("reading SshCertificate=: %w", err)
	}
	network := m.CID() == 0 && img.RuntimeNetwork == config.NetworkUser
	credentials, err := remote.GuestCredentials(cert.PublicKey, network)
	if err != nil {
		return nil, err
	}
	for name, value := range credentials {
		// What the user passes has the last word.
		if !slices.ContainsFunc(img.Credentials, func(c config.Credential) bool { return c.Name == name }) {
			m.AddCredential(name, value)
		}
	}
	if !network {
		return nil, nil
	}
	var ports []uint16
	for _, guest := range []uint16{remote.ListenPort, remote.SSHPort} {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		if err := m.AddForward(machine.Forward{Host: port, Guest: guest}); err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// freePort returns a port of the loopback device that nobody uses. QEMU takes it soon after.
func freePort() (uint16, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("looking for a port that leads to the guest: %w", err)
	}
	return uint16(l.Addr().(*net.TCPAddr).Port), l.Close()
}
