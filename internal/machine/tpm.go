package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// tpm are the programs that make and emulate a TPM; without them there is none.
type tpm struct{ emulator, setup string }

// planTPM finds the programs for a TPM. A machine that QEMU starts a kernel on gets one only if it is asked for: nothing
// would measure what is started.
func (m *Machine) planTPM() error {
	if m.img.TPM == config.Disabled || m.img.TPM == config.Auto && m.boot.firmware == nil {
		return nil
	}
	if m.board.tpm == "" {
		if m.img.TPM == config.Enabled {
			return fmt.Errorf("TPM=yes, but there is no TPM for Architecture=%s", m.img.Architecture)
		}
		return nil
	}
	emulator, err := m.tools.find("swtpm")
	setup, setupErr := m.tools.find("swtpm_setup")
	if err := errors.Join(err, setupErr); err != nil {
		if m.img.TPM == config.Enabled || !errors.Is(err, exec.ErrNotFound) {
			return m.missing(softwareTPM, err)
		}
		m.opts.UI.Warnf(m.img.Image, "the machine gets no TPM, since swtpm is missing (%s)", m.hint(softwareTPM))
		return nil
	}
	m.swtpm = tpm{emulator, setup}
	return nil
}

// startTPM makes a TPM whose state is gone after this run, and starts it.
func (r *running) startTPM(ctx context.Context) error {
	m := r.m
	if m.swtpm.emulator == "" {
		return nil
	}
	state := filepath.Join(r.dir, "tpm")
	if err := os.Mkdir(state, 0o700); err != nil {
		return fmt.Errorf("making the TPM: %w", err)
	}
	view := sandbox.Bind(state, state)
	setup := m.tools.narrow([]string{m.swtpm.setup, "--tpm-state", state, "--tpm2", "--pcr-banks", "sha256", "--config", "/dev/null"}, view)
	if err := r.command(ctx, setup); err != nil {
		return fmt.Errorf("making the TPM: %w", err)
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return fmt.Errorf("starting the TPM: %w", err)
	}
	// QEMU has one end and the TPM the other: no name in the file system leads to it.
	r.tpm = r.pass(ours)
	emulator := m.tools.narrow([]string{m.swtpm.emulator, "socket", "--tpm2", "--tpmstate", "dir=" + state, "--ctrl", "type=unixio,clientfd=3"}, view)
	r.start(ctx, "the TPM", emulator, theirs)
	return nil
}
