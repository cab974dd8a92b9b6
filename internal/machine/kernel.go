package machine

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/efi/pe"
)

// isUnified reports whether a kernel is a unified kernel image, by the section that has the kernel proper in it.
func isUnified(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return false, err
	}
	if !fi.Mode().IsRegular() {
		return false, fmt.Errorf("%s is no regular file", path)
	}
	program, err := pe.Parse(f, fi.Size())
	if errors.Is(err, pe.ErrFormat) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	_, ok := program.Section(".linux")
	return ok, nil
}

// kernelArguments are the words that a kernel that QEMU starts gets, and otherwise those that boot loader and stub add to
// the kernel command line of the image.
func (m *Machine) kernelArguments() ([]string, error) {
	var words []string
	if m.boot.kernel != "" && !m.boot.unified {
		words = append(words, m.img.KernelCommandLine...)
	}
	root, err := m.rootArguments()
	if err != nil {
		return nil, err
	}
	words = append(words, root...)
	return append(words, m.runtimeArguments()...), nil
}

// runtimeArguments are the words that any guest gets.
func (m *Machine) runtimeArguments() []string {
	words := baseArguments()
	console := m.hasConsole() && m.img.Console != config.ConsoleGUI
	if console {
		words = append(words, m.opts.Console.Terminal.arguments("hvc0")...)
	}
	words = append(words, networkArguments()...)
	if !m.kvm {
		words = append(words, patienceArguments()...)
	}
	if console {
		words = append(words, m.opts.Console.Terminal.arguments("console")...)
		words = append(words, "console=hvc0")
		if name := m.opts.Console.Terminal.Name; name != "" {
			words = append(words, "TERM="+name)
		}
	}
	return append(words, m.img.KernelCommandLineExtra...)
}

// baseArguments are the first words that any guest gets.
func baseArguments() []string {
	return []string{
		"systemd.wants=network.target",
		// Who can start the machine may as well have a rescue shell in it.
		"SYSTEMD_SULOGIN_FORCE=1",
		"rw",
		// That driver claims the VSOCK transport of another hypervisor.
		"module_blacklist=vmw_vmci",
	}
}

// networkArguments have whatever network card there is configured in the initrd, if the network is wanted there at all,
// and leave the console to the guest's service manager.
func networkArguments() []string {
	return []string{"ip=enc0:any", "ip=enp0s1:any", "ip=enp0s2:any", "ip=host0:any", "ip=none", "loglevel=4"}
}

// patienceArguments have systemd wait longer than the minute and a half in which a processor that is emulated on a busy
// host may not even have looked for devices.
func patienceArguments() []string {
	return []string{"systemd.default_timeout_start_sec=600", "systemd.default_device_timeout_sec=600"}
}

// arguments tell systemd of a terminal of the guest.
func (t Terminal) arguments(tty string) []string {
	var words []string
	if t.Columns > 0 && t.Rows > 0 {
		words = append(words, fmt.Sprintf("systemd.tty.columns.%s=%d", tty, t.Columns), fmt.Sprintf("systemd.tty.rows.%s=%d", tty, t.Rows))
	}
	if t.Name != "" {
		words = append(words, fmt.Sprintf("systemd.tty.term.%s=%s", tty, t.Name))
	}
	return words
}

// rootArguments say where the root file system is, for a kernel that does not find it out by itself.
func (m *Machine) rootArguments() ([]string, error) {
	switch {
	case m.img.Format == config.FormatDirectory:
		return []string{"root=" + rootTag, "rootfstype=virtiofs"}, nil
	case m.img.Format != config.FormatDisk || m.boot.kernel == "" || m.boot.unified:
		return nil, nil
	}
	for _, word := range m.img.KernelCommandLine {
		name, _, _ := strings.Cut(word, "=")
		if name == "root" || name == "mount.usr" || name == "roothash" || name == "usrhash" {
			return nil, nil
		}
	}
	f, err := os.Open(m.image)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	found, err := gpt.Read(f, fi.Size(), 0)
	if err != nil {
		return nil, fmt.Errorf("looking for the root file system in %s: %w", m.image, err)
	}
	return rootOf(found.Table, m.img.Architecture), nil
}

// rootOf names the root file system of a disk: by the hash that the identifiers of a file system and of its hashes are
// the halves of, as the Discoverable Partitions Specification has it, or else by its partition.
func rootOf(t *gpt.Table, a config.Architecture) []string {
	for _, role := range []struct{ name, hash, plain string }{{"root", "roothash", "root"}, {"usr", "usrhash", "mount.usr"}} {
		tree, ok := partitionOf(t, role.name, a)
		if !ok {
			continue
		}
		if hashes, ok := partitionOf(t, role.name+"-verity", a); ok {
			return []string{role.hash + "=" + hex.EncodeToString(append(tree[:], hashes[:]...))}
		}
		return []string{role.plain + "=PARTUUID=" + tree.String()}
	}
	return nil
}

// partitionOf returns the identifier of the first partition of a type.
func partitionOf(t *gpt.Table, name string, a config.Architecture) (uuid.UUID, bool) {
	want, err := repart.ParsePartitionType(name, string(a))
	if err != nil {
		return uuid.Nil, false // the architecture has none
	}
	for _, p := range t.Partitions {
		if p.Type == want.UUID {
			return p.UUID, true
		}
	}
	return uuid.Nil, false
}
