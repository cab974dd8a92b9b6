package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/machine/firmware"
)

// boot is what a machine starts with: firmware, a kernel, or firmware that starts a kernel that QEMU hands it.
type boot struct {
	firmware *firmware.Descriptor // nil for QEMU's own way to start a kernel
	kernel   string               // path; "" leaves it to what is on the disk
	unified  bool                 // kernel is a unified kernel image, which has its command line and its initrd in it
	initrd   string
}

// planBoot decides what the machine starts with.
func (m *Machine) planBoot() error {
	if m.img.Firmware == config.FirmwareLinux || m.img.Firmware == config.FirmwareLinuxNoInitrd || m.img.Format == config.FormatCPIO {
		return m.planKernel()
	}
	secure := m.img.Firmware != config.FirmwareUEFI
	problem := m.planFirmware(secure)
	if problem != nil && (m.img.Firmware != config.FirmwareAuto || m.img.FirmwareVariables != "") {
		return problem
	}
	if problem == nil && m.img.Linux == "" && m.img.Format != config.FormatUKI && m.img.Format != config.FormatDirectory {
		return nil
	}
	if err := m.planKernel(); problem == nil || err == nil {
		return err
	}
	return problem // with firmware it could be started
}

// planFirmware chooses the firmware, with or without Secure Boot.
func (m *Machine) planFirmware(secure bool) error {
	if m.img.Architecture.EFI() == "" {
		return fmt.Errorf("there is no UEFI firmware for Architecture=%s: set Firmware=linux", m.img.Architecture)
	}
	list, problems, err := firmware.Find(m.tools.root, m.userFirmware())
	if err != nil {
		return err
	}
	for _, p := range problems {
		m.opts.UI.Debugf(m.img.Image, "the firmware of %s is not used: %v", p.Path, p.Err)
	}
	enrolled := m.img.FirmwareVariables == variablesMicrosoft || m.img.FirmwareVariables == variablesMicrosoftMOK
	if enrolled && !secure {
		return fmt.Errorf("FirmwareVariables=%s needs Firmware=uefi-secure-boot", m.img.FirmwareVariables)
	}
	need := firmware.Need{Architecture: m.img.Architecture.QEMU(), Machine: m.board.versions, SecureBoot: secure, Enrolled: enrolled}
	m.boot.firmware = firmware.Choose(list, need)
	if m.boot.firmware == nil {
		what := "UEFI firmware without Secure Boot"
		switch {
		case enrolled:
			what = "UEFI firmware with Microsoft's keys"
		case secure:
			what = "UEFI firmware with Secure Boot"
		}
		return m.missing(softwareFirmware, fmt.Errorf("there is no descriptor of %s for %s", what, m.img.Architecture))
	}
	m.opts.UI.Debugf(m.img.Image, "the firmware is that of %s", m.boot.firmware.Name)
	return nil
}

// userFirmware is where the user's own descriptors are, or "". With a tools tree these are not looked at: what they name
// is not in it.
func (m *Machine) userFirmware() string {
	if m.tools.root != "/" {
		return ""
	}
	if dir := m.opts.Host.Environment["XDG_CONFIG_HOME"]; filepath.IsAbs(dir) {
		return filepath.Join(dir, "qemu/firmware")
	}
	if m.opts.Host.Home != "" {
		return filepath.Join(m.opts.Host.Home, ".config/qemu/firmware")
	}
	return ""
}

// planKernel finds the kernel that QEMU starts, or hands to the firmware, and its initrd.
func (m *Machine) planKernel() error {
	kernel := m.kernelPath()
	unified, err := isUnified(kernel)
	if errors.Is(err, os.ErrNotExist) {
		return &hintError{fmt.Errorf("there is no kernel to start the machine with: %w", err), "set SplitArtifacts=kernel,initrd and build again, or name a kernel with Linux="}
	}
	if err != nil {
		return fmt.Errorf("looking at the kernel: %w", err)
	}
	if unified && m.boot.firmware == nil {
		return fmt.Errorf("%s is a unified kernel image, which only firmware can start: set Firmware=uefi", kernel)
	}
	m.boot.kernel, m.boot.unified = kernel, unified
	if unified || m.img.Firmware == config.FirmwareLinuxNoInitrd {
		return nil
	}
	if m.img.Format == config.FormatCPIO {
		m.boot.initrd = m.image
		return nil
	}
	initrd := filepath.Join(m.img.OutputDir(m.opts.Dir), m.img.SplitName("initrd"))
	if _, err := os.Stat(initrd); err == nil {
		m.boot.initrd = initrd
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// kernelPath is where the kernel should be.
func (m *Machine) kernelPath() string {
	switch {
	case m.img.Linux != "":
		path := expandBuildDirectory(m.img.Linux, m.img.BuildSubdirectory())
		if !filepath.IsAbs(path) {
			path = filepath.Join(m.opts.Dir, path)
		}
		return path
	case m.img.Format == config.FormatUKI:
		return m.image
	}
	return filepath.Join(m.img.OutputDir(m.opts.Dir), m.img.SplitName("vmlinuz"))
}

// expandBuildDirectory replaces the delayed specifiers of Linux=: &b is the build directory, && an ampersand.
func expandBuildDirectory(path, dir string) string {
	return strings.NewReplacer("&&", "&", "&b", dir).Replace(path)
}

// Check names the settings that no machine can have, whatever this host has and whether the image is there. Its errors,
// joined, are [config.Error]s.
func Check(img *config.Image) error {
	var problems []error
	refuse := func(hint, format string, args ...any) {
		problems = append(problems, &config.Error{Msg: fmt.Sprintf(format, args...), Hint: hint})
	}
	runnable := []config.Format{config.FormatDisk, config.FormatESP, config.FormatUKI, config.FormatCPIO, config.FormatDirectory}
	if !slices.Contains(runnable, img.Format) {
		refuse("set Format=disk", "a virtual machine cannot run Format=%s", img.Format)
	}
	if img.Format == config.FormatDisk && img.CompressOutput.Extension() != "" {
		refuse("set CompressOutput=no", "a virtual machine cannot run a disk that is compressed with %s", img.CompressOutput)
	}
	direct := img.Firmware == config.FirmwareLinux || img.Firmware == config.FirmwareLinuxNoInitrd
	if direct && img.Format == config.FormatESP {
		refuse("set Firmware=uefi", "Format=%s needs firmware, and Firmware=%s is none", img.Format, img.Firmware)
	}
	if img.VirtualMachineMonitor == config.MonitorVmspawn && img.Ssh == config.SshRuntime && !hasFixedCID(img) {
		refuse("set VSockCID= to a number, or VirtualMachineMonitor=qemu", "Ssh=runtime: mkosi ssh finds a machine of systemd-vmspawn only by the number of VSockCID=")
	}
	if img.BindUser {
		refuse("RuntimeTrees= shows the machine a directory", "mkosi vm does not support BindUser= yet")
	}
	if img.RuntimeSize != nil && img.Format != config.FormatDisk && img.Format != config.FormatESP {
		refuse("", "RuntimeSize= needs Format=disk, not %s", img.Format)
	}
	if img.CXL && !boards[img.Architecture].cxl {
		refuse("set CXL=no", "there is no CXL for Architecture=%s", img.Architecture)
	}
	if img.MaxMem != nil && *img.MaxMem < img.RAM {
		refuse("", "MaxMem= (%d bytes) is less than RAM= (%d bytes)", *img.MaxMem, img.RAM)
	}
	return errors.Join(problems...)
}
