package machine

import (
	"context"
	"errors"
	"slices"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/machine/qmp"
)

// setMonitor makes a connection with QEMU the machine's, which runs.
func (m *Machine) setMonitor(c *qmp.Client) {
	m.monitor = c
	close(m.runs)
}

// KeepsChanges reports whether what the guest writes to a disk is there after the machine has ended, so that the guest
// should be given the time to write all of it.
func (m *Machine) KeepsChanges() bool {
	if slices.ContainsFunc(m.img.Drives, func(d config.Drive) bool { return slices.Contains(d.Flags, persistent) }) {
		return true
	}
	return !m.img.Ephemeral && (m.isDisk() || m.img.Format == config.FormatDirectory)
}

// PowerDown asks the guest to go down, as the power button of a computer does. Whether it does is its own decision. Of a
// machine that is being started it waits until that runs. It fails when ctx is done before that, and if the machine does
// not run any more; one of systemd-vmspawn it cannot ask.
func (m *Machine) PowerDown(ctx context.Context) error {
	select {
	case <-m.runs:
		return m.monitor.Execute("system_powerdown")
	case <-ctx.Done():
		return errors.New("the machine does not run yet")
	}
}
