package machine

import (
	"fmt"

	"github.com/mkosi-go/mkosi/internal/config"
)

// board is what QEMU calls the machine of an architecture and its devices.
type board struct {
	machine  string // type of the machine
	versions string // how the full names of that type begin, as in firmware descriptors
	network  string // model of the network card
	display  string // graphics card
	tpm      string // device of a TPM; "" where there is none
	options  string // more options of the machine
	smm      bool   // has system management mode
	cxl      bool
	// How credentials get into the guest: in strings of SMBIOS (type 11), which a guest without firmware has on some
	// architectures only, or in the firmware configuration device. Elsewhere, and with
	// a long name, they stand on the kernel command line.
	smbios, smbiosDirect, firmwareConfig bool
	// commandLine is how many bytes the kernel has for its command line (COMMAND_LINE_SIZE), the last of them its end.
	commandLine int
}

// boards are the architectures that can be run.
var boards = map[config.Architecture]board{
	config.ArchX86_64: {
		machine: "q35", versions: "pc-q35-", network: "virtio-net-pci", display: "virtio-vga", tpm: "tpm-tis", options: "hpet=off",
		smm: true, cxl: true, smbios: true, smbiosDirect: true, firmwareConfig: true,
	},
	config.ArchX86: {
		machine: "q35", versions: "pc-q35-", network: "virtio-net-pci", display: "virtio-vga", tpm: "tpm-tis", options: "hpet=off",
		smm: true, smbios: true, smbiosDirect: true, firmwareConfig: true,
	},
	config.ArchArm64: {
		machine: "virt", versions: "virt-", network: "virtio-net-pci", display: "virtio-gpu-pci", tpm: "tpm-tis-device",
		cxl: true, smbios: true, firmwareConfig: true, commandLine: 2048,
	},
	config.ArchArm:         {machine: "virt", versions: "virt-", network: "virtio-net-pci", display: "virtio-gpu-pci", tpm: "tpm-tis-device", smbios: true, firmwareConfig: true, commandLine: 1024},
	config.ArchLoongArch64: {machine: "virt", versions: "virt-", network: "virtio-net-pci", display: "virtio-gpu-pci", tpm: "tpm-tis-device", smbios: true, firmwareConfig: true, commandLine: 4096},
	config.ArchRISCV64:     {machine: "virt", versions: "virt-", network: "virtio-net-pci", display: "virtio-gpu-pci", smbios: true, commandLine: 1024},
	config.ArchRISCV32:     {machine: "virt", versions: "virt-", network: "virtio-net-pci", display: "virtio-gpu-pci", smbios: true, commandLine: 1024},
	config.ArchPPC64LE:     {machine: "pseries", network: "virtio-net-pci", display: "virtio-gpu-pci", tpm: "tpm-spapr", commandLine: 2048},
	config.ArchPPC64:       {machine: "pseries", network: "virtio-net-pci", display: "virtio-gpu-pci", tpm: "tpm-spapr", commandLine: 2048},
	config.ArchS390X:       {machine: "s390-ccw-virtio", network: "virtio", display: "virtio-gpu", commandLine: 4096},
}

// boardOf returns the machine of an architecture.
func boardOf(a config.Architecture) (board, error) {
	b, ok := boards[a]
	if !ok {
		return board{}, fmt.Errorf("virtual machines with Architecture=%s are not supported", a)
	}
	return b, nil
}

// emulator is the name of the program for an architecture. That of 64 bit PowerPC is for both byte orders.
func emulator(a config.Architecture) string {
	if a == config.ArchPPC64LE {
		a = config.ArchPPC64
	}
	return "qemu-system-" + a.QEMU()
}
