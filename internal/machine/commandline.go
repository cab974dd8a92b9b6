package machine

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/machine/qmp"
)

const (
	// firmwareConfigPrefix is how the names of files in QEMU's firmware configuration device begin that systemd takes for
	// credentials.
	firmwareConfigPrefix = "opt/io.systemd.credentials/"
	// maxFirmwareConfigName is how many bytes QEMU allows for the name of such a file.
	maxFirmwareConfigName = 55
)

// offer is a group of credentials that a guest is better off with, and can do without.
type offer struct {
	what  string
	names []string
}

// OfferCredentials gives the guest system credentials as [Machine.AddCredential] does, but leaves all of them out, with a
// warning that there is no what, where the way to the guest has no room for them.
func (m *Machine) OfferCredentials(what string, credentials map[string]string) {
	for name, value := range credentials {
		m.AddCredential(name, value)
	}
	m.offers = append(m.offers, offer{what, slices.Sorted(maps.Keys(credentials))})
}

// onCommandLine reports whether the kernel command line is the only way into the guest for a credential.
func (m *Machine) onCommandLine(name string) bool {
	return !m.vmspawn() && !m.usesSMBIOS() && (!m.board.firmwareConfig || len(firmwareConfigPrefix+name) > maxFirmwareConfigName)
}

// credentialWord is a credential as systemd finds it on the kernel command line.
func (m *Machine) credentialWord(name string) string {
	return "systemd.set_credential_binary=" + name + ":" + base64.StdEncoding.EncodeToString([]byte(m.credentials[name]))
}

// commandLine puts the kernel command line together, see [Machine.kernelArguments]. If there are credentials on it, it is
// secret. Credentials that were offered are dropped, the largest first, until it is no longer than a kernel takes: that
// would cut off its end without a word.
func (m *Machine) commandLine() (line string, secret bool, err error) {
	words, err := m.kernelArguments()
	if err != nil {
		return "", false, err
	}
	for {
		var names, all []string
		for _, name := range slices.Sorted(maps.Keys(m.credentials)) {
			if m.onCommandLine(name) {
				names, all = append(names, name), append(all, m.credentialWord(name))
			}
		}
		line = strings.Join(append(all, words...), " ")
		if len(names) == 0 || len(line) < m.board.commandLine {
			return line, len(names) > 0, nil
		}
		if !m.dropOffer() {
			return "", false, &hintError{fmt.Errorf("the credentials %s do not fit on the kernel command line: it has %d bytes, and a kernel for Architecture=%s takes %d",
				strings.Join(names, ", "), len(line), m.img.Architecture, m.board.commandLine-1), m.credentialHint()}
		}
	}
}

// dropOffer leaves out the largest group of credentials that was offered and is on the kernel command line, if there is one.
func (m *Machine) dropOffer() bool {
	largest, size := -1, 0
	for i, o := range m.offers {
		n := 0
		for _, name := range o.names {
			if _, ok := m.credentials[name]; ok && m.onCommandLine(name) {
				n += len(m.credentialWord(name))
			}
		}
		if n > size {
			largest, size = i, n
		}
	}
	if largest < 0 {
		return false
	}
	m.opts.UI.Warnf(m.img.Image, "the guest gets no %s: without firmware that stands on the kernel command line, which has no room for it", m.offers[largest].what)
	for _, name := range m.offers[largest].names {
		delete(m.credentials, name)
	}
	return true
}

// credentialHint says how a guest could get more credentials.
func (m *Machine) credentialHint() string {
	hint := "pass fewer or shorter ones"
	if m.board.firmwareConfig {
		hint = fmt.Sprintf("give them names of at most %d bytes", maxFirmwareConfigName-len(firmwareConfigPrefix))
	}
	if m.img.Architecture.EFI() != "" {
		hint += ", or set Firmware=uefi"
	}
	return hint
}

// prepareCommandLine puts the kernel command line together.
func (r *running) prepareCommandLine() (err error) {
	if r.m.vmspawn() {
		return nil // it does so itself
	}
	r.resources.commandLine, r.secretLine, err = r.m.commandLine()
	return err
}

// begin has QEMU make the machine, if it waits for its secret kernel command line, and reports whether it goes on.
func (r *running) begin(c *qmp.Client) bool {
	if !r.secretLine {
		return true
	}
	err := c.Begin(r.resources.commandLine)
	if err != nil && !errors.Is(err, io.EOF) { // if it has gone, it says why
		r.end(fmt.Errorf("handing the kernel command line over: %w", err))
	}
	return err == nil
}
