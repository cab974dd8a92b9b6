package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/host"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/version"
)

// The versions of systemd whose systemd-vmspawn first had an option, as its manual page has them, or what its option does.
const (
	vmspawnOldest         = "256" // all others
	vmspawnTPMState       = "258"
	vmspawnEphemeral      = "260"
	vmspawnDiskType       = "261"
	vmspawnVariables      = "261"
	vmspawnVariablesState = "261"
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
	if m.version, err = m.probes.vmspawn(m.tools, m.emulator); err != nil {
		return fmt.Errorf("asking systemd-vmspawn for its version: %w", err)
	}
	if err := m.refuseForOldVmspawn(); err != nil {
		return err
	}
	m.planFixedCID()
	if m.startsKernel() {
		return m.planKernel()
	}
	if m.img.FirmwareVariables != "" {
		return m.planFirmware(m.img.Firmware != config.FirmwareUEFI)
	}
	return nil
}

// probeVmspawn returns the version of systemd that a systemd-vmspawn comes from, such as "257.9".
func probeVmspawn(t tools, program string) (string, error) {
	var out bytes.Buffer
	cmd := t.narrow([]string{program, "--version"})
	cmd.Stdout = &out
	if err := cmd.Run(context.Background()); err != nil {
		return "", err
	}
	v := host.ParseSystemdVersion(out.String())
	if v == "" {
		return "", fmt.Errorf("%s --version says %.40q", program, out.String())
	}
	return v, nil
}

// knows reports whether systemd-vmspawn is of a version of systemd, or a newer one.
func (m *Machine) knows(since string) bool { return version.Compare(m.version, since) >= 0 }

// refuseForOldVmspawn names what only a newer systemd-vmspawn has options for.
func (m *Machine) refuseForOldVmspawn() error {
	since := map[string]string{"VirtualMachineMonitor=vmspawn": vmspawnOldest}
	if m.img.Ephemeral {
		since["Ephemeral=yes"] = vmspawnEphemeral
	}
	if m.img.Format == config.FormatDisk && m.img.DiskType != config.DiskVirtioBlk {
		since["DiskType="+string(m.img.DiskType)] = vmspawnDiskType
	}
	if m.img.FirmwareVariables != "" {
		since["FirmwareVariables="] = vmspawnVariables
	}
	var problems []error
	for _, setting := range slices.Sorted(maps.Keys(since)) {
		if !m.knows(since[setting]) {
			problems = append(problems, &hintError{fmt.Errorf("%s needs the systemd-vmspawn of systemd %s, and this one is of %s", setting, since[setting], m.version),
				"set VirtualMachineMonitor=qemu, or name a tree with a newer systemd with ToolsTree="})
		}
	}
	return errors.Join(problems...)
}

// hasFixedCID reports whether the settings say which connection identifier the guest has.
func hasFixedCID(img *config.Image) bool {
	return img.VSockCID >= firstCID && img.VSock != config.Disabled
}

// planFixedCID has mkosi ssh find a guest whose connection identifier is set and that will have it: what
// systemd-vmspawn chooses by itself, it does not tell.
func (m *Machine) planFixedCID() {
	if !hasFixedCID(m.img) {
		return
	}
	if device, err := m.probes.vsock(); err == nil {
		device.Close() // nothing was done with it
		m.cid = uint32(m.img.VSockCID)
	}
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
		m.emulator, "--cpus", fmt.Sprint(cpus), "--ram", ram, "--console", string(m.img.Console), "--register", yesNo(m.register), "--machine", m.Name(),
	}
	m.addVmspawnDevices(&a)
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

// addVmspawnDevices adds what the machine is made of, where that is not what systemd-vmspawn makes by itself: its options
// are not all as old as it is. Nothing that is in a TPM or in the variables of the firmware is kept after the run.
func (m *Machine) addVmspawnDevices(a *arguments) {
	for _, f := range []struct {
		option string
		value  config.Feature
	}{{"--kvm", m.img.KVM}, {"--vsock", m.img.VSock}, {"--tpm", m.img.TPM}} {
		if f.value != config.Auto {
			a.add(f.option, yesNo(f.value == config.Enabled))
		}
	}
	if m.knows(vmspawnTPMState) {
		a.add("--tpm-state=off")
	}
	if m.img.VSockCID >= 0 {
		a.add("--vsock-cid", fmt.Sprint(m.img.VSockCID))
	}
	if m.img.Format == config.FormatDisk && m.img.DiskType != config.DiskVirtioBlk {
		a.add("--image-disk-type", string(m.img.DiskType))
	}
	if m.startsKernel() {
		return
	}
	a.add("--secure-boot", yesNo(m.img.Firmware != config.FirmwareUEFI))
	if m.knows(vmspawnVariablesState) {
		a.add("--efi-nvram-state=off")
	}
}

// runVmspawn runs systemd-vmspawn until it ends, and returns the guest's exit status, which is its own, as is its failure.
func (r *running) runVmspawn() (status int, err error) {
	cmd := r.m.tools.wide(r.m.vmspawnArguments(&r.resources))
	cmd.DropCapabilities = nil // it makes namespaces and mounts for its helpers
	cmd.ExtraFiles = r.files
	cmd.Stdin, cmd.Stdout = r.m.opts.Console.Input, r.m.opts.Console.Output
	// Of a status that is not 0 it says whether it is the guest's, or why there is no guest.
	w := r.m.opts.UI.Writer(r.m.img.Image)
	defer w.Close()
	cmd.Stderr = w
	r.log(cmd)
	err = cmd.Run(r.ctx)
	var exit *sandbox.ExitError
	if r.ctx.Err() == nil && errors.As(err, &exit) && exit.Signal == 0 {
		return exit.Code, nil
	}
	return 0, err
}
