package machine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/varlink"
)

// The service of systemd-machined(8) that knows machines, as a socket below /run or the user's runtime directory.
const (
	registrySocket = "systemd/machine/io.systemd.Machine"
	registryPrefix = "io.systemd.Machine."
)

// planRegistration decides whether systemd-machined is told of the machine: that of the system for root, that of the
// user's session for everybody else.
func (m *Machine) planRegistration() error {
	if m.img.Register == config.Disabled {
		return nil
	}
	dir := "/run"
	if m.opts.Host.UID != 0 {
		dir = m.opts.Host.Environment["XDG_RUNTIME_DIR"]
	}
	m.registry = filepath.Join(dir, registrySocket)
	if m.probes.registry != "" {
		m.registry = m.probes.registry
	}
	_, err := os.Stat(m.registry)
	m.register = err == nil
	if err != nil && m.img.Register == config.Enabled {
		return &hintError{fmt.Errorf("systemd-machined, which Register=yes needs, is not there: %w", err), "start systemd-machined, or set Register=auto"}
	}
	return nil
}

// enrol tells systemd-machined of the machine, which is this process for it: it goes when the process does.
func (r *running) enrol(ctx context.Context) error {
	m := r.m
	if !m.register {
		return nil
	}
	parameters := map[string]any{"name": m.Name(), "class": "vm", "service": "mkosi"}
	if m.cid != 0 {
		parameters["vSockCid"] = m.cid
	}
	_, err := varlink.Call(ctx, m.registry, registryPrefix+"Register", parameters, nil, nil)
	switch {
	case err != nil && m.img.Register == config.Enabled:
		return fmt.Errorf("registering the machine: %w", err)
	case err != nil:
		m.opts.UI.Warnf(m.img.Image, "the machine is not registered: %v", err)
		return nil
	}
	r.onEnd(func() error {
		// The context of the run is done by now; what fails here systemd-machined finds out by itself.
		_, err := varlink.Call(context.WithoutCancel(ctx), m.registry, registryPrefix+"Unregister", map[string]any{"name": m.Name()}, nil, nil)
		if err != nil {
			m.opts.UI.Debugf(m.img.Image, "the machine is still registered: %v", err)
		}
		return nil
	})
	return nil
}
