package machine

import (
	"errors"

	"github.com/mkosi-go/mkosi/internal/machine/qmp"
)

// setMonitor makes a connection with QEMU the machine's.
func (m *Machine) setMonitor(c *qmp.Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.monitor = c
}

// PowerDown asks the guest to go down, as the power button of a computer does. Whether it does is its own decision. It
// fails if the machine does not run, or does not any more.
func (m *Machine) PowerDown() error {
	m.mu.Lock()
	c := m.monitor
	m.mu.Unlock()
	if c == nil {
		return errors.New("the machine does not run yet")
	}
	return c.Execute("system_powerdown")
}
