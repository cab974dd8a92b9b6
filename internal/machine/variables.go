package machine

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/efi/varstore"
	"github.com/mkosi-go/mkosi/internal/keys"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// The words of FirmwareVariables=; anything else is a path.
const (
	variablesCustom       = "custom"        // the image's certificate is what Secure Boot trusts
	variablesMicrosoft    = "microsoft"     // Microsoft's are
	variablesMicrosoftMOK = "microsoft-mok" // and shim also trusts the image's
	maxVariables          = 64 << 20        // bytes, of any flash memory
	variablesName         = "firmware.variables"
)

// prepareVariables makes the variable store of this run.
func (r *running) prepareVariables() error {
	m := r.m
	if m.boot.firmware == nil {
		return nil
	}
	data, err := m.variables()
	if err != nil {
		return fmt.Errorf("making the variables of the firmware: %w", err)
	}
	r.variables = filepath.Join(r.dir, variablesName)
	return os.WriteFile(r.variables, data, 0o600)
}

// variables is the content of the variable store that the machine starts with.
func (m *Machine) variables() ([]byte, error) {
	setting := m.img.FirmwareVariables
	switch setting {
	case "", variablesMicrosoft:
		return m.template()
	case variablesCustom, variablesMicrosoftMOK:
	default:
		return readLimited(setting)
	}
	if m.img.SecureBootCertificate == "" {
		return nil, &hintError{fmt.Errorf("FirmwareVariables=%s needs SecureBootCertificate=", setting), "make a key and a certificate with mkosi genkey"}
	}
	if source := m.img.SecureBootCertificateSource; source.Type != "" && source.Type != "file" {
		return nil, fmt.Errorf("FirmwareVariables=%s needs the certificate in a file, not SecureBootCertificateSource=%s", setting, source)
	}
	certificate, err := keys.LoadCertificate(m.img.SecureBootCertificate)
	if err != nil {
		return nil, err
	}
	data, err := m.template()
	if err != nil {
		return nil, err
	}
	store, err := varstore.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", m.boot.firmware.Template, err)
	}
	if setting == variablesMicrosoftMOK {
		err = store.AddMachineOwnerKey(certificate)
	} else {
		err = store.Enrol(certificate)
	}
	if err != nil {
		return nil, err
	}
	return store.Bytes()
}

// template reads the variables that come with the firmware.
func (m *Machine) template() ([]byte, error) {
	root, err := unix.Open(m.tools.root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: m.tools.root, Err: err}
	}
	defer unix.Close(root)
	return tree.ReadFileIn(root, m.boot.firmware.Template, maxVariables)
}

// readLimited reads a file that is at most as large as flash memory is.
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxVariables+1))
	if err == nil && len(data) > maxVariables {
		err = fmt.Errorf("%s has more than %d bytes", path, maxVariables)
	}
	return data, err
}
