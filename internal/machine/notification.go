package machine

import (
	"fmt"
	"net"

	"github.com/mkosi-go/mkosi/internal/machine/notify"
)

// Notify has a receiver get what the guest says about itself, over VSOCK if the machine has that and else over the
// virtual serial bus. The exit status that the guest reports is then what Run returns. It is for the time before Run, and
// for one receiver, which hears nothing of a machine of systemd-vmspawn.
func (m *Machine) Notify(receiver *notify.Receiver) error {
	if m.vmspawn() {
		return nil // it receives them itself
	}
	m.receiver = receiver
	if m.cid == 0 {
		m.OfferCredentials("way to tell that it has booted and how it ends", notify.GuestCredentials())
		m.AddPort(Port{Name: notify.Port, Serve: func(conn net.Conn) {
			if err := receiver.ReadPort(conn); err != nil {
				m.opts.UI.Debugf(m.img.Image, "receiving notifications of the guest: %v", err)
			}
		}})
		return nil
	}
	listener, address, err := notify.ListenVSock(m.cid)
	if err != nil {
		return err
	}
	m.AddCredential("vmm.notify_socket", address)
	m.listener = listener
	return nil
}

// receive receives notifications over VSOCK until the run ends.
func (r *running) receive() {
	m := r.m
	if m.listener == nil {
		return
	}
	r.helpers.Go(func() {
		if err := m.receiver.Serve(r.ctx, m.listener); err != nil {
			r.end(fmt.Errorf("receiving notifications of the guest: %w", err))
		}
	})
}

// status is the exit status that the guest has reported, 0 if it has not.
func (m *Machine) status() int {
	if m.receiver == nil {
		return 0
	}
	if status := m.receiver.State().ExitStatus; status != nil {
		return *status
	}
	return 0
}
