package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/host"
)

func TestRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(s *scene)
		want   string
	}{
		"a format":         {func(s *scene) { s.img.Format = config.FormatTar }, "cannot run Format=tar"},
		"a compressed one": {func(s *scene) { s.img.CompressOutput = config.CompressionZstd }, "compressed with zstd"},
		"an ESP alone": {func(s *scene) {
			s.img.Format, s.img.Firmware = config.FormatESP, config.FirmwareLinux
		}, "needs firmware"},
		"an architecture":    {func(s *scene) { s.img.Architecture = config.ArchTileGX }, "Architecture=tilegx"},
		"users":              {func(s *scene) { s.img.BindUser = true }, "BindUser="},
		"little memory":      {func(s *scene) { one := int64(1); s.img.MaxMem = &one }, "MaxMem= (1 bytes) is less"},
		"no tools":           {func(s *scene) { s.img.ToolsTree = s.dir }, "not a directory with a system"},
		"CXL":                {func(s *scene) { s.img.Architecture, s.img.CXL = config.ArchPPC64LE, true }, "no CXL"},
		"firmware for s390x": {func(s *scene) { s.img.Architecture, s.img.Firmware = config.ArchS390X, config.FirmwareUEFI }, "no UEFI firmware"},
		"a TPM for s390x":    {func(s *scene) { s.kernel(); s.img.Architecture, s.img.TPM = config.ArchS390X, config.Enabled }, "no TPM"},
		"KVM":                {func(s *scene) { s.img.KVM = config.Enabled }, "KVM=yes, but KVM does not work: no such file"},
		"VSOCK":              {func(s *scene) { s.img.VSock = config.Enabled }, "VSock=yes, but this host gives no VSOCK device"},
		"a registry":         {func(s *scene) { s.img.Register, s.probes.registry = config.Enabled, s.dir+"/none" }, "which Register=yes needs, is not there"},
		"no kernel":          {func(s *scene) { s.img.Firmware = config.FirmwareLinux }, "no kernel to start"},
		"a unified kernel": {func(s *scene) {
			s.img.Firmware, s.img.Linux = config.FirmwareLinux, "uki"
			s.write(filepath.Join(s.dir, "uki"), unifiedKernel(), 0o644)
		}, "only firmware can start"},
		"no firmware":         {func(s *scene) { s.img.Architecture, s.img.Firmware = config.ArchArm64, config.FirmwareUEFISecureBoot }, "no descriptor of UEFI firmware with Secure Boot for arm64"},
		"no keys":             {func(s *scene) { s.img.Architecture, s.img.FirmwareVariables = config.ArchArm64, "microsoft" }, "with Microsoft's keys"},
		"keys without use":    {func(s *scene) { s.img.Firmware, s.img.FirmwareVariables = config.FirmwareUEFI, "microsoft-mok" }, "needs Firmware=uefi-secure-boot"},
		"a tree that is none": {func(s *scene) { s.img.RuntimeTrees = []config.Tree{{Source: s.dir + "/image.raw"}} }, "is none"},
		"a long path":         {func(s *scene) { s.img.RuntimeTrees = []config.Tree{{Source: s.dir, Target: strings.Repeat("x", 40)}} }, "may have 36 bytes"},
		"a credential's name": {func(s *scene) { s.img.Credentials = []config.Credential{{Name: "a/b"}} }, "cannot be the name"},
		"a directory":         {func(s *scene) { s.img.OutputExtension = ""; s.write(s.dir+"/image/x", nil, 0o644) }, "is not what Format=disk makes"},
		"vmspawn's limits":    {func(s *scene) { s.img.VirtualMachineMonitor, s.img.QemuArgs = config.MonitorVmspawn, []string{"x"} }, "cannot do QemuArgs="},
		"vmspawn without ssh": {func(s *scene) { s.img.VirtualMachineMonitor, s.img.Ssh = config.MonitorVmspawn, config.SshRuntime }, "only by the number of VSockCID="},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			tt.change(s)
			s.refused(tt.want)
		})
	}
}

func TestMissingProgramsNamePackages(t *testing.T) {
	for name, tt := range map[string]struct {
		change     func(s *scene)
		want, hint string
	}{
		"bin/qemu-system-x86_64": {func(s *scene) {}, "looking for program qemu-system-x86_64", "add to the tools tree: qemu-system-x86"},
		"bin/swtpm":              {func(s *scene) { s.img.TPM = config.Enabled }, "looking for program swtpm", "add to the tools tree: swtpm swtpm-tools"},
		"libexec/virtiofsd": {func(s *scene) { s.img.RuntimeTrees = []config.Tree{{Source: s.dir}} },
			"looking for program virtiofsd", "add to the tools tree: virtiofsd"},
		"bin/systemd-vmspawn": {func(s *scene) { s.img.VirtualMachineMonitor = config.MonitorVmspawn },
			"looking for program systemd-vmspawn", "add to the tools tree: systemd-container"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.write(filepath.Join(s.tools, "usr/lib/os-release"), []byte("ID=debian\n"), 0o644)
			tt.change(s)
			if err := os.Remove(filepath.Join(s.tools, "usr", name)); err != nil {
				t.Fatal(err)
			}
			err := s.refused(tt.want)
			var hinted interface{ Hint() string }
			if !errors.As(err, &hinted) || hinted.Hint() != tt.hint {
				t.Errorf("the hint of %v is not %q", err, tt.hint)
			}
		})
	}
}

func TestPackages(t *testing.T) {
	for _, tt := range []struct {
		software     software
		distribution string
		like         []string
		architecture config.Architecture
		want         string
	}{
		{softwareQEMU, "debian", nil, config.ArchX86_64, "qemu-system-x86"},
		{softwareQEMU, "linuxmint", []string{"ubuntu", "debian"}, config.ArchArm64, "qemu-system-arm"},
		{softwareFirmware, "debian", nil, config.ArchX86_64, "ovmf"},
		{softwareFirmware, "debian", nil, config.ArchArm64, "qemu-efi-aarch64"},
		{softwareQEMU, "rocky", []string{"rhel", "centos", "fedora"}, config.ArchArm64, "qemu-system-aarch64"},
		{softwareFirmware, "fedora", nil, config.ArchX86_64, "edk2-ovmf"},
		{softwareFirmware, "arch", nil, config.ArchArm64, "edk2-aarch64"},
		{softwareQEMU, "opensuse-tumbleweed", nil, config.ArchX86_64, "qemu-x86"},
		{softwareFirmware, "opensuse-tumbleweed", nil, config.ArchX86_64, "qemu-ovmf-x86_64"},
		{softwareVirtiofs, "plan9", nil, config.ArchX86_64, "virtiofsd"},
	} {
		facts := host.Facts{Distribution: tt.distribution, DistributionLike: tt.like}
		if got := packageOf(tt.software, facts, tt.architecture); got != tt.want {
			t.Errorf("%s on %s for %s: got %q, want %q", tt.software, tt.distribution, tt.architecture, got, tt.want)
		}
	}
}

func TestMissingTPMIsWarnedOf(t *testing.T) {
	s := newScene(t)
	if err := os.Remove(filepath.Join(s.tools, "usr/bin/swtpm_setup")); err != nil {
		t.Fatal(err)
	}
	m := s.plan()
	if m.swtpm.emulator != "" || strings.Count(s.said.String(), "swtpm is missing") != 1 {
		t.Errorf("planned a TPM %+v and said %q", m.swtpm, s.said.String())
	}
}

// TestAutomaticFirmware follows Firmware=auto: firmware with Secure Boot, and where there is none the image's kernel.
func TestAutomaticFirmware(t *testing.T) {
	s := newScene(t)
	if m := s.plan(); m.boot.firmware == nil || m.boot.firmware.Name != "50-secure.json" || m.boot.kernel != "" {
		t.Errorf("with all firmware: %+v", m.boot)
	}
	s.kernel()
	s.table("root")
	if m := s.plan(); m.boot.kernel != "" {
		t.Errorf("with firmware and a kernel: %+v", m.boot)
	}
	if err := os.Remove(filepath.Join(s.tools, "usr/share/qemu/firmware/50-secure.json")); err != nil {
		t.Fatal(err)
	}
	if m := s.plan(); m.boot.firmware != nil || m.boot.kernel == "" || m.boot.initrd == "" || m.swtpm.emulator != "" {
		t.Errorf("without firmware: %+v", m.boot)
	}
	if err := os.Remove(filepath.Join(s.dir, "image.vmlinuz")); err != nil {
		t.Fatal(err)
	}
	s.refused("no descriptor of UEFI firmware with Secure Boot")
}

func TestKVMIsOfTheSameArchitecture(t *testing.T) {
	for architecture, want := range map[config.Architecture]bool{config.ArchX86_64: true, config.ArchArm64: false} {
		s := newScene(t)
		s.probes.kvm = func() error { return nil }
		s.img.Architecture, s.img.Firmware = architecture, config.FirmwareUEFI
		if m := s.plan(); m.kvm != want {
			t.Errorf("%s on x86-64: got %v", architecture, m.kvm)
		}
	}
}

func TestVSockIdentifiers(t *testing.T) {
	var claimed []uint32
	claim := func(setting int64, taken func(cid uint32) bool) (*Machine, error) {
		claimed = nil
		s := newScene(t)
		s.img.VSockCID = setting
		s.probes.vsock = func() (*os.File, error) { return os.Open(os.DevNull) }
		s.probes.claim = func(_ *os.File, cid uint32) error {
			claimed = append(claimed, cid)
			if taken(cid) {
				return fmt.Errorf("claiming: %w", unix.EADDRINUSE)
			}
			return nil
		}
		return plan(s.img, s.opts, s.probes)
	}
	free := func(uint32) bool { return false }
	if m, err := claim(77, free); err != nil || m.CID() != 77 {
		t.Errorf("a number: %v, %v", m, err)
	}
	if _, err := claim(77, func(uint32) bool { return true }); !errors.Is(err, unix.EADDRINUSE) || len(claimed) != 1 {
		t.Errorf("a number that is taken: %v after %v", err, claimed)
	}
	first := true
	m, err := claim(config.VSockCIDAuto, func(uint32) bool { was := first; first = false; return was })
	if err != nil || len(claimed) != 2 || m.CID() != claimed[1] || m.CID() < firstCID {
		t.Errorf("the second random one: %v, claimed %v", err, claimed)
	}
	taken := func(uint32) bool { return true }
	if _, err := claim(config.VSockCIDHash, taken); !errors.Is(err, unix.EADDRINUSE) || len(claimed) != 1 || claimed[0] < firstCID {
		t.Errorf("that of the path is taken: %v after %v", err, claimed)
	}
	if _, err := claim(config.VSockCIDAuto, taken); !errors.Is(err, unix.EADDRINUSE) || len(claimed) != attempts {
		t.Errorf("all are taken: %v after %d", err, len(claimed))
	}
}

func TestRootArguments(t *testing.T) {
	s := newScene(t)
	for _, tt := range []struct {
		want  string
		types []string
	}{
		{"", []string{"esp"}},
		{"root=PARTUUID=02000000-0000-0000-0000-0000000000ff", []string{"esp", "root"}},
		{"mount.usr=PARTUUID=01000000-0000-0000-0000-0000000000ff", []string{"usr"}},
		{"roothash=010000000000000000000000000000ff020000000000000000000000000000ff", []string{"root", "root-verity", "usr"}},
	} {
		s.table(tt.types...)
		f, err := os.Open(filepath.Join(s.dir, "image.raw"))
		if err != nil {
			t.Fatal(err)
		}
		found, err := gpt.Read(f, 8192*512, 0)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(rootOf(found.Table, config.ArchX86_64), " "); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.types, got, tt.want)
		}
	}
}

func TestBuildDirectorySpecifier(t *testing.T) {
	for in, want := range map[string]string{"&b/vmlinuz": "/build/vmlinuz", "a&&b": "a&b", "a&c": "a&c", "&&&b": "&/build"} {
		if got := expandBuildDirectory(in, "/build"); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
