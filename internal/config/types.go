package config

import "fmt"

// Feature is a setting that is on, off, or on where it makes sense.
type Feature string

// The values of a Feature, spelled as in JSON.
const (
	Enabled  Feature = "enabled"
	Disabled Feature = "disabled"
	Auto     Feature = "auto"
)

// Distribution is a Linux distribution, or "custom" for anything else.
type Distribution string

// The distributions of the configuration language.
const (
	Fedora       Distribution = "fedora"
	Debian       Distribution = "debian"
	Kali         Distribution = "kali"
	Ubuntu       Distribution = "ubuntu"
	PostmarketOS Distribution = "postmarketos"
	ArchLinux    Distribution = "arch"
	OpenSUSE     Distribution = "opensuse"
	Mageia       Distribution = "mageia"
	CentOS       Distribution = "centos"
	RHEL         Distribution = "rhel"
	RHELUBI      Distribution = "rhel-ubi"
	OpenMandriva Distribution = "openmandriva"
	Rocky        Distribution = "rocky"
	Alma         Distribution = "alma"
	Azure        Distribution = "azure"
	Custom       Distribution = "custom"
)

// Architecture is a processor architecture in systemd's spelling, see
// ConditionArchitecture= in systemd.unit(5).
type Architecture string

// The architectures of the configuration language.
const (
	ArchAlpha       Architecture = "alpha"
	ArchArc         Architecture = "arc"
	ArchArm         Architecture = "arm"
	ArchArm64       Architecture = "arm64"
	ArchIA64        Architecture = "ia64"
	ArchLoongArch64 Architecture = "loongarch64"
	ArchMIPSLE      Architecture = "mips-le"
	ArchMIPS64LE    Architecture = "mips64-le"
	ArchPARISC      Architecture = "parisc"
	ArchPPC         Architecture = "ppc"
	ArchPPC64       Architecture = "ppc64"
	ArchPPC64LE     Architecture = "ppc64-le"
	ArchRISCV32     Architecture = "riscv32"
	ArchRISCV64     Architecture = "riscv64"
	ArchS390        Architecture = "s390"
	ArchS390X       Architecture = "s390x"
	ArchTileGX      Architecture = "tilegx"
	ArchX86         Architecture = "x86"
	ArchX86_64      Architecture = "x86-64"
)

// EFI returns the name of the architecture in EFI file names, such as "x64",
// or "" where there is no EFI; see the Boot Loader Specification.
func (a Architecture) EFI() string {
	switch a {
	case ArchX86_64:
		return "x64"
	case ArchX86:
		return "ia32"
	case ArchArm:
		return "arm"
	case ArchArm64:
		return "aa64"
	case ArchRISCV32, ArchRISCV64, ArchLoongArch64:
		return string(a)
	}
	return ""
}

// QEMU returns the name of the architecture in the names of QEMU's programs,
// such as "x86_64".
func (a Architecture) QEMU() string {
	switch a {
	case ArchX86_64:
		return "x86_64"
	case ArchX86:
		return "i386"
	case ArchArm64:
		return "aarch64"
	case ArchMIPSLE:
		return "mipsel"
	case ArchMIPS64LE:
		return "mips64el"
	case ArchPARISC:
		return "hppa"
	case ArchPPC64LE:
		return "ppc64le"
	}
	return string(a)
}

// Format is the kind of output of an image.
type Format string

// The output formats.
const (
	FormatConfext   Format = "confext"
	FormatCPIO      Format = "cpio"
	FormatDirectory Format = "directory"
	FormatDisk      Format = "disk"
	FormatESP       Format = "esp"
	FormatNone      Format = "none"
	FormatPortable  Format = "portable"
	FormatSysext    Format = "sysext"
	FormatTar       Format = "tar"
	FormatUKI       Format = "uki"
	FormatOCI       Format = "oci"
	FormatAddon     Format = "addon"
)

// ManifestFormat is a way to write down what an image contains.
type ManifestFormat string

// The manifest formats.
const (
	ManifestJSON      ManifestFormat = "json"
	ManifestChangelog ManifestFormat = "changelog"
)

// Compression is the compression of a whole output file.
type Compression string

// The compressions of an output.
const (
	CompressionNone  Compression = "none"
	CompressionZstd  Compression = "zstd"
	CompressionXZ    Compression = "xz"
	CompressionBzip2 Compression = "bz2"
	CompressionGzip  Compression = "gz"
	CompressionLZ4   Compression = "lz4"
	CompressionLZMA  Compression = "lzma"
)

// Extension returns the file name extension of the compression without a
// dot, or "" for none.
func (c Compression) Extension() string {
	switch c {
	case CompressionNone, "":
		return ""
	case CompressionZstd:
		return "zst"
	}
	return string(c)
}

// Artifact is a part of an image that is also written beside it.
type Artifact string

// The artifacts that SplitArtifacts= can name.
const (
	ArtifactUKI                 Artifact = "uki"
	ArtifactKernel              Artifact = "kernel"
	ArtifactInitrd              Artifact = "initrd"
	ArtifactOSRelease           Artifact = "os-release"
	ArtifactPCRs                Artifact = "pcrs"
	ArtifactPartitions          Artifact = "partitions"
	ArtifactRoothash            Artifact = "roothash"
	ArtifactKernelModulesInitrd Artifact = "kernel-modules-initrd"
	ArtifactRepartDefinitions   Artifact = "repart-definitions"
	ArtifactTar                 Artifact = "tar"
)

// Bootloader is the EFI boot loader of an image.
type Bootloader string

// The EFI boot loaders.
const (
	BootloaderNone              Bootloader = "none"
	BootloaderUKI               Bootloader = "uki"
	BootloaderSystemdBoot       Bootloader = "systemd-boot"
	BootloaderGrub              Bootloader = "grub"
	BootloaderUKISigned         Bootloader = "uki-signed"
	BootloaderSystemdBootSigned Bootloader = "systemd-boot-signed"
	BootloaderGrubSigned        Bootloader = "grub-signed"
)

// BiosBootloader is the boot loader for machines without EFI.
type BiosBootloader string

// The BIOS boot loaders.
const (
	BiosBootloaderNone BiosBootloader = "none"
	BiosBootloaderGrub BiosBootloader = "grub"
)

// ShimBootloader says which shim is put before the boot loader.
type ShimBootloader string

// The kinds of shim.
const (
	ShimNone     ShimBootloader = "none"
	ShimSigned   ShimBootloader = "signed"
	ShimUnsigned ShimBootloader = "unsigned"
)

// UnifiedKernelImages says whether kernels become unified kernel images.
type UnifiedKernelImages string

// The ways to use unified kernel images.
const (
	UKINone     UnifiedKernelImages = "none"
	UKIAuto     UnifiedKernelImages = "auto"
	UKISigned   UnifiedKernelImages = "signed"
	UKIUnsigned UnifiedKernelImages = "unsigned"
)

// Ssh says whether the image gets a way in for "mkosi ssh".
type Ssh string

// The values of Ssh=.
const (
	SshAlways  Ssh = "always"
	SshAuto    Ssh = "auto"
	SshRuntime Ssh = "runtime"
	SshNever   Ssh = "never"
)

// SecureBootSignTool is the program that signs PE files.
type SecureBootSignTool string

// The signing programs.
const (
	SignToolAuto          SecureBootSignTool = "auto"
	SignToolSbsign        SecureBootSignTool = "sbsign"
	SignToolSystemdSbsign SecureBootSignTool = "systemd-sbsign"
)

// Verity says how an extension or a disk is protected by dm-verity.
type Verity string

// The values of Verity=.
const (
	VerityDisabled Verity = "disabled"
	VerityHash     Verity = "hash"   // hash tree, no signature
	VeritySigned   Verity = "signed" // hash tree and signature
	VerityDefer    Verity = "defer"  // hash tree and room for a later signature
	VerityAuto     Verity = "auto"   // signed where there are a key and a certificate
)

// Incremental says whether package installation is cached between builds.
type Incremental string

// The values of Incremental=.
const (
	IncrementalYes    Incremental = "yes"
	IncrementalNo     Incremental = "no"
	IncrementalStrict Incremental = "strict"
)

// CacheOnly says how far the package caches stand in for the repositories.
type CacheOnly string

// The values of CacheOnly=.
const (
	CacheOnlyAlways   CacheOnly = "always"
	CacheOnlyAuto     CacheOnly = "auto"
	CacheOnlyMetadata CacheOnly = "metadata"
	CacheOnlyNever    CacheOnly = "never"
)

// BuildSourcesEphemeral says whether scripts see a throw-away copy of the
// build sources.
type BuildSourcesEphemeral string

// The values of BuildSourcesEphemeral=.
const (
	BuildSourcesEphemeralYes        BuildSourcesEphemeral = "yes"
	BuildSourcesEphemeralNo         BuildSourcesEphemeral = "no"
	BuildSourcesEphemeralBuildcache BuildSourcesEphemeral = "buildcache"
)

// RuntimeNetwork is the network of a running image.
type RuntimeNetwork string

// The networks of a running image.
const (
	NetworkInterface RuntimeNetwork = "interface"
	NetworkUser      RuntimeNetwork = "user"
	NetworkNone      RuntimeNetwork = "none"
)

// VirtualMachineMonitor is the program that runs a virtual machine.
type VirtualMachineMonitor string

// The virtual machine monitors.
const (
	MonitorQemu    VirtualMachineMonitor = "qemu"
	MonitorVmspawn VirtualMachineMonitor = "vmspawn"
)

// Console is the console of a virtual machine.
type Console string

// The kinds of console.
const (
	ConsoleInteractive Console = "interactive"
	ConsoleReadOnly    Console = "read-only"
	ConsoleNative      Console = "native"
	ConsoleGUI         Console = "gui"
	ConsoleHeadless    Console = "headless"
)

// DiskType is the bus on which a virtual machine sees its disk.
type DiskType string

// The disk types.
const (
	DiskVirtioBlk  DiskType = "virtio-blk"
	DiskVirtioSCSI DiskType = "virtio-scsi"
	DiskNVMe       DiskType = "nvme"
	DiskSCSICD     DiskType = "scsi-cd"
)

// Firmware is what a virtual machine starts with.
type Firmware string

// The kinds of firmware.
const (
	FirmwareAuto           Firmware = "auto"
	FirmwareLinux          Firmware = "linux"
	FirmwareLinuxNoInitrd  Firmware = "linux-noinitrd"
	FirmwareUEFI           Firmware = "uefi"
	FirmwareUEFISecureBoot Firmware = "uefi-secure-boot"
)

// The values of VSockCID= that are not a number of the user's.
const (
	VSockCIDAuto int64 = -1
	VSockCIDHash int64 = -2
)

// Tree is something that is put, or mounted, somewhere.
type Tree struct {
	Source string // absolute path on the host
	Target string // absolute path in the image; "" is its root
}

func (t Tree) String() string {
	if t.Target == "" {
		return t.Source
	}
	return t.Source + ":" + t.Target
}

// KeySource says where a private key or a certificate comes from: Type is
// "file", "engine" or "provider", and Source names the engine or provider.
type KeySource struct {
	Type   string
	Source string
}

func (k KeySource) String() string {
	if k.Source == "" {
		return k.Type
	}
	return k.Type + ":" + k.Source
}

// RootPassword is the password of root. It prints as a placeholder, so that
// it does not end in a log by accident.
type RootPassword struct {
	Password string
	Hashed   bool // Password is a crypt(5) hash
}

// Format writes the placeholder whatever the verb.
func (RootPassword) Format(s fmt.State, _ rune) { fmt.Fprint(s, "(set)") }

// UKIProfile is an additional profile of a unified kernel image, see the
// profiles of ukify(1).
type UKIProfile struct {
	Profile         map[string]string // fields of the .profile section
	Cmdline         []string
	SignExpectedPcr bool
}

// Credential is a systemd credential for a running image: a value, or the
// path of a file that holds it.
type Credential struct {
	Name  string
	Path  string // absolute; "" when Value is used
	Value string
}

// Drive is an extra disk of a virtual machine.
type Drive struct {
	ID        string
	Size      int64 // bytes
	Directory string
	Options   string
	FileID    string
	Flags     []string
}
