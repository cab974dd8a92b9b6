package machine

import (
	"slices"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/host"
)

// software is something that distributions have in a package.
type software string

// The software that machines need.
const (
	softwareQEMU     software = "QEMU"
	softwareFirmware software = "UEFI firmware for QEMU"
	softwareTPM      software = "swtpm"
	softwareVirtiofs software = "virtiofsd"
	softwareVmspawn  software = "systemd-vmspawn"
	softwareJournal  software = "systemd-journal-remote"
)

// packageNames are the packages of the families of distributions. Those of emulators and firmware go on with the
// architecture.
var packageNames = map[string]map[software]string{
	"debian": {softwareQEMU: "qemu-system-", softwareFirmware: "", softwareTPM: "swtpm swtpm-tools", softwareVirtiofs: "virtiofsd", softwareVmspawn: "systemd-container", softwareJournal: "systemd-journal-remote"},
	"fedora": {softwareQEMU: "qemu-system-", softwareFirmware: "edk2-", softwareTPM: "swtpm swtpm-tools", softwareVirtiofs: "virtiofsd", softwareVmspawn: "systemd-container", softwareJournal: "systemd-journal-remote"},
	"arch":   {softwareQEMU: "qemu-system-", softwareFirmware: "edk2-", softwareTPM: "swtpm", softwareVirtiofs: "virtiofsd", softwareVmspawn: "systemd", softwareJournal: "systemd"},
	"suse":   {softwareQEMU: "qemu-", softwareFirmware: "qemu-", softwareTPM: "swtpm", softwareVirtiofs: "virtiofsd", softwareVmspawn: "systemd-container", softwareJournal: "systemd-journal-remote"},
}

// packageOf returns the package of a host's distribution that has a piece of software for machines of an architecture,
// or the software's own name where that is not known.
func packageOf(s software, facts host.Facts, a config.Architecture) string {
	family := familyOf(facts)
	name, ok := packageNames[family][s]
	if !ok {
		return string(s)
	}
	switch s {
	case softwareQEMU:
		return name + emulatorPackage(family, a)
	case softwareFirmware:
		return name + firmwarePackage(family, a)
	}
	return name
}

// familyOf tells whose packages a distribution has.
func familyOf(facts host.Facts) string {
	for _, id := range append([]string{facts.Distribution}, facts.DistributionLike...) {
		switch id {
		case "debian", "ubuntu", "kali":
			return "debian"
		case "fedora", "rhel", "centos":
			return "fedora"
		case "arch":
			return "arch"
		case "suse", "opensuse", "opensuse-tumbleweed", "opensuse-leap":
			return "suse"
		}
	}
	return ""
}

// emulatorPackage is the end of the name of a package with an emulator.
func emulatorPackage(family string, a config.Architecture) string {
	x86 := a == config.ArchX86_64 || a == config.ArchX86
	arm := a == config.ArchArm64 || a == config.ArchArm
	ppc := a == config.ArchPPC64LE || a == config.ArchPPC64 || a == config.ArchPPC
	switch {
	case x86:
		return "x86"
	case arm && family != "fedora" && family != "arch":
		return "arm"
	case ppc && family != "arch":
		return "ppc"
	case family == "debian":
		return "misc"
	}
	return a.QEMU()
}

// firmwarePackage is the end of the name of a package with UEFI firmware.
func firmwarePackage(family string, a config.Architecture) string {
	x86 := slices.Contains([]config.Architecture{config.ArchX86_64, config.ArchX86}, a)
	switch {
	case family == "suse" && x86:
		return "ovmf-x86_64"
	case family == "suse":
		return "uefi-" + a.QEMU()
	case x86:
		return "ovmf"
	case family == "debian":
		return "qemu-efi-" + a.QEMU()
	}
	return a.QEMU()
}
