package machine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/config"
)

// TestArguments compares the arguments of QEMU, and of systemd-vmspawn, with those in testdata, one file a machine. Those
// files were compared with what mkosi 27.1 runs for the same settings.
func TestArguments(t *testing.T) {
	for name, change := range map[string]func(s *scene){
		"default": func(s *scene) {},
		"uefi":    func(s *scene) { s.img.Firmware = config.FirmwareUEFI },
		"linux": func(s *scene) {
			s.kernel()
			s.table("esp", "root")
			s.img.Firmware = config.FirmwareLinux
			s.img.KernelCommandLine, s.img.KernelCommandLineExtra = []string{"one"}, []string{"two", "a,b"}
		},
		"linux-noinitrd": func(s *scene) {
			s.kernel()
			s.table("usr", "usr-verity")
			s.img.Firmware, s.img.TPM = config.FirmwareLinuxNoInitrd, config.Enabled
		},
		"hardware": func(s *scene) {
			s.probes.kvm = func() error { return nil }
			s.probes.vsock = func() (*os.File, error) { return os.Open(os.DevNull) }
			s.probes.ioUring = func() bool { return false }
			maxmem := int64(4 << 30)
			s.img.VSockCID, s.img.CPUs, s.img.RAM, s.img.MaxMem, s.img.CXL = 77, 0, 1<<30, &maxmem, true
			s.img.DiskType, s.img.RuntimeNetwork = config.DiskNVMe, config.NetworkInterface
		},
		"ephemeral-scsi": func(s *scene) {
			s.img.Ephemeral, s.img.DiskType, s.img.RuntimeNetwork, s.img.TPM = true, config.DiskVirtioSCSI, config.NetworkNone, config.Disabled
		},
		"removable": func(s *scene) { s.img.Removable, s.img.Console = true, config.ConsoleInteractive },
		"cdrom-gui": func(s *scene) { s.img.DiskType, s.img.Console = config.DiskSCSICD, config.ConsoleGUI },
		"headless": func(s *scene) {
			s.img.Console, s.opts.Console = config.ConsoleHeadless, Console{}
			s.img.QemuArgs, s.opts.Args = []string{"-device", "foo"}, []string{"-bar"}
		},
		"shares": func(s *scene) {
			s.img.RuntimeTrees = []config.Tree{{Source: s.dir, Target: "/mnt/a,b"}, {Source: s.dir}, {Source: s.dir, Target: "x"}}
			s.img.RuntimeBuildSources = true
			s.img.BuildSources = []config.Tree{{Source: s.dir}}
			s.img.Credentials = []config.Credential{{Name: "a", Value: "secret"}}
		},
		"microsoft": func(s *scene) { s.img.FirmwareVariables = "microsoft" },
		"uki": func(s *scene) {
			s.img.Format, s.img.OutputExtension = config.FormatUKI, "efi"
			s.write(filepath.Join(s.dir, "image.efi"), unifiedKernel(), 0o644)
		},
		"esp": func(s *scene) { s.img.Format = config.FormatESP },
		"cpio": func(s *scene) {
			s.kernel()
			s.img.Format, s.img.OutputExtension = config.FormatCPIO, "cpio"
			s.write(filepath.Join(s.dir, "image.cpio"), nil, 0o644)
		},
		"directory": func(s *scene) {
			s.img.Format, s.img.OutputExtension, s.img.Linux = config.FormatDirectory, "", "kernel"
			s.write(filepath.Join(s.dir, "kernel"), nil, 0o644)
			s.write(filepath.Join(s.dir, "image/usr/lib/os-release"), nil, 0o644)
		},
		"arm64": func(s *scene) {
			s.img.Architecture, s.img.Firmware = config.ArchArm64, config.FirmwareUEFI
			s.img.Credentials = []config.Credential{{Name: "a", Value: "secret"}}
		},
		"arm64-linux": func(s *scene) {
			s.kernel()
			s.table("esp")
			s.img.Architecture, s.img.Firmware = config.ArchArm64, config.FirmwareLinux
			s.img.Credentials = []config.Credential{{Name: "a", Value: "secret"}}
		},
		"s390x": func(s *scene) {
			s.kernel()
			s.table("esp")
			s.img.Architecture = config.ArchS390X
			s.img.Firmware, s.img.Credentials = config.FirmwareLinux, []config.Credential{{Name: "a", Value: "secret"}}
		},
		"vmspawn": func(s *scene) {
			s.img.VirtualMachineMonitor, s.img.Credentials = config.MonitorVmspawn, []config.Credential{{Name: "a", Value: "b"}}
			s.img.RuntimeTrees = []config.Tree{{Source: s.dir, Target: "/mnt/x"}}
		},
		"vmspawn-linux": func(s *scene) {
			s.kernel()
			s.img.VirtualMachineMonitor, s.img.Firmware, s.img.Ephemeral = config.MonitorVmspawn, config.FirmwareLinux, true
			s.img.KVM, s.img.VSock, s.img.TPM, s.img.VSockCID = config.Disabled, config.Disabled, config.Enabled, 77
			s.img.ForwardJournal, s.img.KernelCommandLine, s.opts.Args = "/journal", []string{"one"}, []string{"--quiet"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			change(s)
			m := s.plan()
			if name == "default" {
				m.AddPort(Port{Name: "a.port"})
				m.forwards = []forward{{host: 2222, guest: 22}}
			}
			got := s.arguments(m)
			want, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
			if err != nil {
				t.Error(err)
			}
			diff(t, string(want), got)
			if strings.Contains(got, "secret") || strings.Contains(got, "c2VjcmV0") {
				t.Error("a secret is among the arguments")
			}
		})
	}
}
