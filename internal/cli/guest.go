package cli

import (
	"errors"
	"fmt"
	"maps"
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
	dir, err := running.Dir(a.host.UID, a.host.Environment)
	if err != nil {
		return nil, err
	}
	ports, err := offerSSH(img, m)
	if err != nil {
		return nil, err
	}
	entry, err := running.Enter(dir, running.Machine{Name: m.Name(), Image: img.OutputPath(a.cfg.Dir), CID: m.CID(), SSHPorts: ports})
	var taken *running.AlreadyRunningError
	if errors.As(err, &taken) {
		a.ui.Warnf(img.Image, "%v: mkosi ssh finds that one, unless this one gets another name with --machine=NAME", taken)
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	return entry.Close, nil
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
	network := m.CID() == 0 && m.Forwards()
	credentials, err := remote.GuestCredentials(cert.PublicKey, network)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(credentials, func(name, _ string) bool {
		// What the user passes has the last word.
		return slices.ContainsFunc(img.Credentials, func(c config.Credential) bool { return c.Name == name })
	})
	m.OfferCredentials("key that mkosi ssh logs in with", credentials)
	if !network {
		return nil, nil
	}
	var ports []uint16
	for _, guest := range []uint16{remote.ListenPort, remote.SSHPort} {
		port, err := m.AddForward(guest)
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}
