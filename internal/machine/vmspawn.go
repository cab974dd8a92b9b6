package machine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// planVmspawn plans a machine that systemd-vmspawn(1) runs: it finds firmware, a TPM and VSOCK by itself.
func (m *Machine) planVmspawn() error {
	if err := m.refuseForVmspawn(); err != nil {
		return err
	}
	var err error
	if m.emulator, err = m.tools.find("systemd-vmspawn"); err != nil {
		return m.missing(softwareVmspawn, err)
	}
	if m.startsKernel() {
		return m.planKernel()
	}
	if m.img.FirmwareVariables != "" {
		return m.planFirmware(m.img.Firmware != config.FirmwareUEFI)
	}
	return nil
}

// startsKernel reports whether the settings ask for a kernel without firmware.
func (m *Machine) startsKernel() bool {
	return m.img.Firmware == config.FirmwareLinux || m.img.Firmware == config.FirmwareLinuxNoInitrd || m.img.Linux != ""
}

// refuseForVmspawn names what systemd-vmspawn has no arguments for.
func (m *Machine) refuseForVmspawn() error {
	var problems []error
	for setting, set := range map[string]bool{
		"QemuArgs=": len(m.img.QemuArgs) > 0, "Drives=": len(m.img.Drives) > 0, "Removable=yes": m.img.Removable, "CXL=yes": m.img.CXL,
		"VSockCID=hash": m.img.VSockCID == config.VSockCIDHash, "RuntimeSize= with Ephemeral=yes": m.img.RuntimeSize != nil && m.img.Ephemeral,
	} {
		if set {
			problems = append(problems, &config.Error{Msg: "systemd-vmspawn cannot do " + setting, Hint: "set VirtualMachineMonitor=qemu"})
		}
	}
	if m.img.Format != config.FormatDisk && m.img.Format != config.FormatDirectory {
		problems = append(problems, &config.Error{Msg: fmt.Sprintf("systemd-vmspawn cannot run Format=%s", m.img.Format), Hint: "set VirtualMachineMonitor=qemu"})
	}
	return errors.Join(problems...)
}

// vmspawnArguments are those of systemd-vmspawn.
func (m *Machine) vmspawnArguments(r *resources) []string {
	cpus := m.img.CPUs
	if cpus == 0 {
		cpus = max(m.opts.Host.CPUs, 1)
	}
	ram := fmt.Sprint(m.img.RAM)
	if m.img.MaxMem != nil {
		ram += fmt.Sprintf(":%d", *m.img.MaxMem)
	}
	a := arguments{
		m.emulator, "--cpus", fmt.Sprint(cpus), "--ram", ram, "--kvm", choice(m.img.KVM), "--vsock", choice(m.img.VSock), "--tpm", choice(m.img.TPM),
		"--tpm-state=off", "--console", string(m.img.Console), "--register", yesNo(m.register), "--machine", m.Name(),
	}
	if m.img.VSockCID >= 0 {
		a.add("--vsock-cid", fmt.Sprint(m.img.VSockCID))
	}
	if m.img.Format == config.FormatDisk {
		a.add("--image-disk-type", string(m.img.DiskType))
	}
	if !m.startsKernel() {
		feature := "secure-boot"
		if m.img.Firmware == config.FirmwareUEFI {
			feature = "~secure-boot"
		}
		a.add("--firmware-features", feature)
	}
	switch m.img.RuntimeNetwork {
	case config.NetworkUser:
		a.add("--network-user-mode")
	case config.NetworkInterface:
		a.add("--network-tap")
	}
	if r.variables != "" {
		a.add("--efi-nvram-template", r.variables)
	}
	for _, c := range r.credentials {
		a.add("--load-credential=" + c.name + ":" + c.path())
	}
	for _, s := range m.shares {
		a.add("--bind", strings.ReplaceAll(s.source, ":", `\:`)+":"+s.tag)
	}
	if m.img.Ephemeral {
		a.add("--ephemeral")
	}
	if m.boot.kernel != "" {
		a.add("--linux", m.boot.kernel)
	}
	if m.boot.initrd != "" {
		a.add("--initrd", m.boot.initrd)
	}
	if m.img.ForwardJournal != "" {
		a.add("--forward-journal", m.img.ForwardJournal)
	}
	if m.img.Format == config.FormatDirectory {
		a.add("--directory", m.image)
	} else {
		a.add("--image", m.image)
	}
	a.add(m.opts.Args...)
	if m.boot.kernel != "" && !m.boot.unified {
		a.add(m.img.KernelCommandLine...)
	}
	a.add(baseArguments()...)
	a.add(networkArguments()...)
	return append(a, m.img.KernelCommandLineExtra...)
}

// choice is a feature as systemd-vmspawn takes it, which decides by itself when it is told nothing.
func choice(f config.Feature) string {
	switch f {
	case config.Enabled:
		return "yes"
	case config.Disabled:
		return "no"
	}
	return ""
}

// runVmspawn runs systemd-vmspawn until it ends, and returns the guest's exit status, which is its own.
func (r *running) runVmspawn() (status int, err error) {
	cmd := r.m.tools.wide(r.m.vmspawnArguments(&r.resources), r.paths()...)
	cmd.DropCapabilities = nil // it makes namespaces and mounts for its helpers
	cmd.ExtraFiles = r.files
	cmd.Stdin, cmd.Stdout = r.m.opts.Console.Input, r.m.opts.Console.Output
	r.log(cmd)
	err = cmd.Run(r.ctx)
	var exit *sandbox.ExitError
	if r.ctx.Err() == nil && errors.As(err, &exit) && exit.Signal == 0 {
		return exit.Code, nil
	}
	return 0, err
}
