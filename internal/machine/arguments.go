package machine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
)

// resources are what a run has made for QEMU. Numbers are those of its file descriptors, 0 for none.
type resources struct {
	variables   string // path of the variable store
	disk        disk
	drives      []drive
	tpm         int
	monitor     int
	vsock       int
	shares      []string // paths of sockets, in the order of the machine's shares
	ports       []int    // in the order of the machine's ports
	credentials []passed // in files
	ioUring     bool
	commandLine string // of the kernel, or what is added to its own
	secretLine  bool   // not to be seen among the arguments
}

// passed is a credential in a file.
type passed struct {
	name string
	fd   int
}

// path is the file as QEMU opens it.
func (p passed) path() string { return fmt.Sprintf("/proc/self/fd/%d", p.fd) }

// arguments collects the arguments of a command.
type arguments []string

func (a *arguments) add(words ...string) { *a = append(*a, words...) }

// quoted keeps a comma in a value of one of QEMU's option lists.
func quoted(value string) string { return strings.ReplaceAll(value, ",", ",,") }

// arguments are those of QEMU.
func (m *Machine) arguments(r *resources) []string {
	a := arguments{m.emulator}
	m.addBoard(&a)
	m.addNetwork(&a)
	m.addProcessor(&a)
	m.addConsole(&a, r)
	if r.vsock != 0 {
		a.add("-device", fmt.Sprintf("vhost-vsock-pci,guest-cid=%d,vhostfd=%d", m.cid, r.vsock))
	}
	m.addBoot(&a, r)
	m.addShares(&a, r)
	m.addDisk(&a, r)
	if r.tpm != 0 {
		a.add("-chardev", fmt.Sprintf("socket,id=chrtpm,fd=%d", r.tpm), "-tpmdev", "emulator,id=tpm0,chardev=chrtpm", "-device", m.board.tpm+",tpmdev=tpm0")
	}
	m.addCredentials(&a, r)
	m.addCommandLine(&a, r)
	for _, d := range r.drives {
		a.add("-blockdev", d.blockdev(r.ioUring))
	}
	if r.monitor != 0 {
		a.add("-chardev", fmt.Sprintf("socket,id=mkosi-qmp,fd=%d", r.monitor), "-mon", "chardev=mkosi-qmp,mode=control")
	}
	a.add(m.img.QemuArgs...)
	a.add(m.opts.Args...)
	return a
}

const mebibyte = 1 << 20

// addBoard adds the board, processors and memory.
func (m *Machine) addBoard(a *arguments) {
	machine := "type=" + m.board.machine
	if m.boot.firmware != nil && m.board.smm {
		machine += ",smm=" + onOff(m.img.Firmware != config.FirmwareUEFI)
	}
	if m.img.CXL {
		machine += ",cxl=on"
	}
	if len(m.shares) > 0 {
		machine += ",memory-backend=mem"
	}
	if m.board.options != "" {
		machine += "," + m.board.options
	}
	cpus := m.img.CPUs
	if cpus == 0 {
		cpus = max(m.opts.Host.CPUs, 1)
	}
	memory := fmt.Sprintf("%dM", m.img.RAM/mebibyte)
	if m.img.MaxMem != nil {
		memory += fmt.Sprintf(",maxmem=%dM", *m.img.MaxMem/mebibyte)
	}
	a.add("-machine", machine, "-smp", fmt.Sprint(cpus), "-m", memory,
		"-object", "rng-random,filename=/dev/urandom,id=rng0", "-device", "virtio-rng-pci,rng=rng0,id=rng-device0",
		"-device", "virtio-balloon,free-page-reporting=on", "-no-user-config")
	if len(m.shares) > 0 {
		// What shows directories has to see the guest's memory.
		a.add("-object", fmt.Sprintf("memory-backend-memfd,id=mem,size=%dM,share=on", m.img.RAM/mebibyte))
	}
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// addNetwork adds the network card.
func (m *Machine) addNetwork(a *arguments) {
	switch m.img.RuntimeNetwork {
	case config.NetworkUser:
		card := "user,model=" + m.board.network
		for _, f := range m.forwards {
			card += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-:%d", f.host, f.guest)
		}
		a.add("-nic", card)
	case config.NetworkInterface:
		a.add("-nic", "tap,script=no,model="+m.board.network)
	default:
		a.add("-nic", "none")
	}
}

// addProcessor adds the processor.
func (m *Machine) addProcessor(a *arguments) {
	accelerator := "tcg"
	if m.kvm {
		accelerator = "kvm"
	}
	a.add("-cpu", "max", "-accel", accelerator)
}

// addBoot adds the firmware and the kernel.
func (m *Machine) addBoot(a *arguments, r *resources) {
	if fw := m.boot.firmware; fw != nil {
		a.add("-drive", "if=pflash,format=raw,readonly=on,file="+quoted(fw.Executable), "-drive", "file="+quoted(r.variables)+",if=pflash,format=raw")
		if m.img.Firmware != config.FirmwareUEFI && m.board.smm {
			// Without sleep states nobody gets around system management mode, to which alone the variables are writable.
			a.add("-global", "ICH9-LPC.disable_s3=1", "-global", "driver=cfi.pflash01,property=secure,value=on")
		}
	}
	if m.boot.kernel != "" {
		a.add("-kernel", m.boot.kernel)
	}
	if m.boot.initrd != "" {
		a.add("-initrd", m.boot.initrd)
	}
}

// addShares adds the directories that the guest sees.
func (m *Machine) addShares(a *arguments, r *resources) {
	for i, s := range m.shares {
		id := fmt.Sprintf("share%d", i)
		a.add("-chardev", "socket,id="+id+",path="+quoted(r.shares[i]), "-device", "vhost-user-fs-pci,queue-size=1024,chardev="+id+",tag="+quoted(s.tag))
	}
}

// addCredentials adds the credentials that are in files.
func (m *Machine) addCredentials(a *arguments, r *resources) {
	for _, c := range r.credentials {
		if m.usesSMBIOS() {
			a.add("-smbios", "type=11,path="+c.path())
		} else {
			a.add("-fw_cfg", "name="+quoted(firmwareConfigPrefix+c.name)+",file="+c.path())
		}
	}
}

// addCommandLine hands over the kernel command line: all of it to a kernel that has none, and otherwise what is added to
// its own, of which systemd's stub takes the one and its boot loader the other. A secret one is handed over by
// [running.begin], which QEMU waits for.
func (m *Machine) addCommandLine(a *arguments, r *resources) {
	line := r.commandLine
	if r.secretLine {
		a.add("--preconfig")
		return
	}
	if m.boot.kernel != "" && !m.boot.unified {
		a.add("-append", line)
		return
	}
	for _, by := range []string{"stub", "boot"} {
		a.add("-smbios", "type=11,value=io.systemd."+by+".kernel-cmdline-extra="+quoted(line))
	}
}

// hasConsole reports whether the guest has a console that somebody sees.
func (m *Machine) hasConsole() bool { return m.opts.Console.Output != nil }

// addConsole adds the console, graphics and the virtual serial bus.
func (m *Machine) addConsole(a *arguments, r *resources) {
	gui := m.img.Console == config.ConsoleGUI
	if gui {
		a.add("-device", m.board.display, "-nodefaults", "-display", "sdl,gl=on", "-audio", "driver=pipewire,model=virtio")
	} else {
		a.add("-nographic", "-nodefaults")
	}
	console := m.hasConsole() && !gui
	if console {
		a.add("-chardev", "stdio,mux=on,id=console,signal=off")
	}
	if console || len(r.ports) > 0 {
		a.add("-device", "virtio-serial-pci,id=mkosi-virtio-serial-pci")
	}
	if console {
		a.add("-device", "virtconsole,chardev=console", "-mon", "console")
	}
	for i, fd := range r.ports {
		id := fmt.Sprintf("port%d", i)
		a.add("-chardev", fmt.Sprintf("socket,id=%s,fd=%d", id, fd), "-device", "virtserialport,chardev="+id+",name="+m.ports[i].Name)
	}
}

// isDisk reports whether the image is a disk of the machine.
func (m *Machine) isDisk() bool {
	return slices.Contains([]config.Format{config.FormatDisk, config.FormatESP}, m.img.Format)
}

// addDisk adds the image as the disk that is started from.
func (m *Machine) addDisk(a *arguments, r *resources) {
	if !m.isDisk() {
		return
	}
	device := "virtio-blk-pci"
	switch {
	case m.img.Removable:
		device = "scsi-hd,device_id=mkosi,removable=on"
	case m.img.DiskType == config.DiskVirtioSCSI:
		device = "scsi-hd"
	case m.img.DiskType == config.DiskSCSICD:
		device = "scsi-cd"
	case m.img.DiskType == config.DiskNVMe:
		device = "nvme,serial=mkosi"
	}
	if strings.HasPrefix(device, "scsi-") {
		a.add("-device", "virtio-scsi-pci,id=mkosi")
	}
	a.add("-blockdev", r.disk.blockdev(r.ioUring), "-device", device+",drive="+diskNode+",bootindex=1")
}
