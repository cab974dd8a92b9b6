package machine

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/mkosi-go/mkosi/internal/config"
)

const (
	// firstCID is the first connection identifier that is a guest's (vsock(7)); the last one means any.
	firstCID = 3
	lastCID  = 1<<32 - 2
	// attempts is how many connection identifiers are tried before all seem to be taken.
	attempts = 64
)

// planVSock claims a connection identifier for the guest.
func (m *Machine) planVSock() error {
	if m.img.VSock == config.Disabled {
		return nil
	}
	device, err := m.probes.vsock()
	if err != nil {
		if m.img.VSock == config.Enabled {
			return &hintError{fmt.Errorf("VSock=yes, but this host gives no VSOCK device: %w", err), "load the kernel module vhost_vsock and see who may use the device, or set VSock=auto"}
		}
		m.opts.UI.Debugf(m.img.Image, "the machine gets no VSOCK device: %v", err)
		return nil
	}
	for range attempts {
		m.cid, err = m.proposeCID()
		if err == nil {
			err = m.probes.claim(device, m.cid)
		}
		if !isBusy(err) || m.img.VSockCID != config.VSockCIDAuto {
			break
		}
	}
	if err != nil {
		m.cid = 0
		return errors.Join(fmt.Errorf("giving the machine a VSOCK device: %w", err), device.Close())
	}
	m.vsock = device
	return nil
}

// proposeCID returns a connection identifier for a machine: the one that was set, the one that comes from the path of the
// image, or a random one.
func (m *Machine) proposeCID() (uint32, error) {
	const count = lastCID - firstCID + 1
	switch m.img.VSockCID {
	case config.VSockCIDHash:
		path, err := filepath.Abs(m.image)
		sum := sha256.Sum256([]byte(path))
		return uint32(firstCID + binary.LittleEndian.Uint64(sum[:])%count), err
	case config.VSockCIDAuto:
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return 0, err
		}
		return uint32(firstCID + binary.LittleEndian.Uint64(b[:])%count), nil
	}
	return uint32(m.img.VSockCID), nil
}
