package machine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/host"
)

// maxCredential is how many bytes one credential may have, as systemd has it.
const maxCredential = 1 << 20

// ownCredentials are the credentials of Credentials=, and those that a guest gets anyway: what a first boot would
// otherwise ask for.
func (m *Machine) ownCredentials() (map[string]string, error) {
	own := map[string]string{}
	env := m.opts.Host.Environment
	if locale := cmp.Or(env["LC_ALL"], env["LC_CTYPE"], env["LANG"]); locale != "" {
		own["firstboot.locale"] = locale
	}
	if zone := timezone("/etc/localtime"); zone != "" {
		own["firstboot.timezone"] = zone
	}
	for _, c := range m.img.Credentials {
		value := c.Value
		if c.Path != "" {
			data, err := readCredential(c.Path)
			if err != nil {
				return nil, fmt.Errorf("reading the credential %s: %w", c.Name, err)
			}
			value = string(data)
		}
		if !validCredential(c.Name) {
			return nil, fmt.Errorf("%q cannot be the name of a credential", c.Name)
		}
		if len(value) > maxCredential {
			return nil, fmt.Errorf("the credential %s has more than %d bytes", c.Name, maxCredential)
		}
		own[c.Name] = value
	}
	return own, nil
}

// readCredential returns the content of a file, or what it prints if it is a program.
func readCredential(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode()&0o111 != 0 {
		return host.Output(context.Background(), path)
	}
	if info.Size() > maxCredential {
		return nil, fmt.Errorf("it has more than %d bytes", maxCredential)
	}
	return os.ReadFile(path)
}

// validCredential reports whether a name is one that systemd takes, which is that of a file.
func validCredential(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 255 && !strings.ContainsFunc(name, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || c == '/' || c == ':' || c == '='
	})
}

// timezone returns the time zone that the link at path leads to, such as "Europe/Berlin", or "".
func timezone(path string) string {
	target, err := os.Readlink(path)
	if err != nil {
		return ""
	}
	_, zone, _ := strings.Cut(filepath.Clean(target), "zoneinfo/")
	return zone
}

// passCredentials hands the credentials that are not on the kernel command line to QEMU, or to systemd-vmspawn, in files
// without a name, so that they are neither on a disk nor among the arguments of a process.
func (r *running) passCredentials() error {
	m := r.m
	for _, name := range slices.Sorted(maps.Keys(m.credentials)) {
		if m.onCommandLine(name) {
			continue
		}
		data := []byte(m.credentials[name])
		if m.usesSMBIOS() && !m.vmspawn() { // which makes such a string itself
			data = []byte("io.systemd.credential.binary:" + name + "=" + base64.StdEncoding.EncodeToString(data))
		}
		f, err := memoryFile(data)
		if err != nil {
			return fmt.Errorf("passing the credential %s: %w", name, err)
		}
		r.credentials = append(r.credentials, passed{name, r.pass(f)})
	}
	return nil
}

// usesSMBIOS reports whether credentials and additions to the kernel command line go into strings of SMBIOS.
func (m *Machine) usesSMBIOS() bool {
	return m.board.smbiosDirect || m.board.smbios && m.boot.firmware != nil
}

// memoryName is what the kernel shows as the name of a file in memory. That of a credential could be too long for it.
const memoryName = "mkosi-credential"

// memoryFile makes a file in memory that ends with the last descriptor of it.
func memoryFile(data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(memoryName, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), memoryName)
	if _, err := bytes.NewReader(data).WriteTo(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
