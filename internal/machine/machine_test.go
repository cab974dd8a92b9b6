package machine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/efi/pe/petest"
	"github.com/mkosi-go/mkosi/internal/host"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/ui"
)

func TestMain(m *testing.M) {
	if sandbox.Reexecuted() {
		sandbox.Main()
	}
	os.Exit(m.Run())
}

// scene is a host with a tools tree and an image.
type scene struct {
	t      *testing.T
	dir    string // of the configuration
	tools  string
	img    *config.Image
	opts   Options
	probes probes
	said   bytes.Buffer
}

// newScene makes a host that has all programs and no KVM, and an image of the default settings.
func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, dir: t.TempDir(), tools: t.TempDir()}
	for _, name := range []string{"bin/qemu-system-x86_64", "bin/qemu-system-aarch64", "bin/qemu-system-s390x", "bin/qemu-system-arm", "bin/qemu-system-ppc64", "bin/swtpm", "bin/swtpm_setup", "libexec/virtiofsd", "bin/systemd-vmspawn"} {
		s.write(filepath.Join(s.tools, "usr", name), nil, 0o755)
	}
	s.write(filepath.Join(s.tools, "usr/share/vars.fd"), []byte("template"), 0o644)
	for name, features := range map[string]string{
		"40-enrolled": `"secure-boot", "enrolled-keys", "requires-smm"`, "50-secure": `"secure-boot", "requires-smm"`, "60-plain": "",
	} {
		s.descriptor(name, "x86_64", "pc-q35-*", features)
	}
	s.descriptor("60-aarch64", "aarch64", "virt-*", "")
	s.write(filepath.Join(s.dir, "image.raw"), nil, 0o644)
	s.img = &config.Image{
		Image: config.MainImage, Output: "image", OutputExtension: "raw", Format: config.FormatDisk, CompressOutput: config.CompressionNone,
		Architecture: config.ArchX86_64, ToolsTree: s.tools, Machine: "name",
		CPUs: 1, RAM: 2 << 30, KVM: config.Auto, VSock: config.Auto, VSockCID: config.VSockCIDAuto, TPM: config.Auto, Register: config.Disabled,
		RuntimeNetwork: config.NetworkUser, Console: config.ConsoleNative, DiskType: config.DiskVirtioBlk, Firmware: config.FirmwareAuto,
		VirtualMachineMonitor: config.MonitorQemu,
	}
	s.opts = Options{
		Dir: s.dir, Host: host.Facts{Architecture: "x86-64", CPUs: 6, UID: os.Getuid()}, UI: ui.New(&s.said, ui.Options{Debug: true}),
		Console: Console{Input: strings.NewReader(""), Output: io.Discard, Terminal: Terminal{"dumb", 80, 24}},
	}
	s.probes = probes{
		kvm:     func() error { return unix.ENOENT },
		vsock:   func() (*os.File, error) { return nil, unix.ENOENT },
		claim:   func(*os.File, uint32) error { return nil },
		ioUring: func() bool { return true },
		vmspawn: func(tools, string) (string, error) { return "262", nil },
	}
	return s
}

func (s *scene) write(path string, data []byte, mode os.FileMode) {
	s.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, mode)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) descriptor(name, architecture, machines, features string) {
	s.t.Helper()
	s.write(filepath.Join(s.tools, "usr/share/qemu/firmware", name+".json"), fmt.Appendf(nil, `{"interface-types": ["uefi"], "mapping": {"device": "flash",
"executable": {"filename": "/usr/share/%s.fd", "format": "raw"}, "nvram-template": {"filename": "/usr/share/vars.fd", "format": "raw"}},
"targets": [{"architecture": %q, "machines": [%q]}], "features": [%s]}`, name, architecture, machines, features), 0o644)
}

// plan plans the machine, which has to be possible.
func (s *scene) plan() *Machine {
	s.t.Helper()
	m, err := plan(s.img, s.opts, s.probes)
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// refused expects an error with these words, and returns it.
func (s *scene) refused(want string) error {
	s.t.Helper()
	_, err := plan(s.img, s.opts, s.probes)
	if err == nil || !strings.Contains(err.Error(), want) {
		s.t.Errorf("got the error %v, want one with %q", err, want)
	}
	return err
}

// resources are what a run could have made for a machine.
func (s *scene) resources(m *Machine) *resources {
	r := &resources{variables: "/run/vars", monitor: 3, disk: disk{path: m.image, direct: true}, ioUring: true}
	if m.swtpm.emulator != "" {
		r.tpm = 4
	}
	if m.cid != 0 {
		r.vsock = 5
	}
	for i := range m.shares {
		r.shares = append(r.shares, fmt.Sprintf("/run/share-%d", i))
	}
	for i := range m.ports {
		r.ports = append(r.ports, 20+i)
	}
	for _, name := range []string{"a", "fstab.extra"} {
		if _, ok := m.credentials[name]; ok && !m.onCommandLine(name) {
			r.credentials = append(r.credentials, passed{name, 10 + len(r.credentials)})
		}
	}
	if !m.vmspawn() {
		var err error
		if r.commandLine, r.secretLine, err = m.commandLine(); err != nil {
			s.t.Fatal(err)
		}
	}
	return r
}

// arguments are those of QEMU, one option a line, with the scene's directories as DIR and TOOLS.
func (s *scene) arguments(m *Machine) string {
	s.t.Helper()
	r := s.resources(m)
	args := m.arguments(r)
	if m.vmspawn() {
		args = m.vmspawnArguments(r)
	}
	var b strings.Builder
	for i, a := range args {
		switch {
		case i == 0:
		case strings.HasPrefix(a, "-"):
			b.WriteByte('\n')
		default:
			b.WriteByte(' ')
		}
		b.WriteString(a)
	}
	return strings.NewReplacer(s.dir, "DIR", s.tools, "TOOLS").Replace(b.String()) + "\n"
}

// table gives the image a partition table with these partitions.
func (s *scene) table(types ...string) {
	s.t.Helper()
	const sectors = 8192
	t := &gpt.Table{UUID: uuid.UUID{1}, SectorSize: 512, Sectors: sectors, FirstUsable: gpt.HeadSectors(512), LastUsable: sectors - gpt.HeadSectors(512)}
	for i, name := range types {
		typ, err := repart.ParsePartitionType(name, "x86-64")
		if err != nil {
			s.t.Fatal(err)
		}
		t.Partitions = append(t.Partitions, gpt.Partition{Type: typ.UUID, UUID: uuid.UUID{0: byte(i + 1), 15: 0xff}, First: uint64(2048 + 100*i), Last: uint64(2048 + 100*i + 99)})
	}
	f, err := os.Create(filepath.Join(s.dir, "image.raw"))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(sectors*512), t.WriteTo(f), f.Close()); err != nil {
		s.t.Fatal(err)
	}
}

// kernel puts a kernel and its initrd beside the image.
func (s *scene) kernel() {
	s.t.Helper()
	s.write(filepath.Join(s.dir, "image.vmlinuz"), []byte("kernel"), 0o644)
	s.write(filepath.Join(s.dir, "image.initrd"), []byte("initrd"), 0o644)
}

// unifiedKernel is a program with the section that makes it a unified kernel image.
func unifiedKernel() []byte {
	return petest.Program(petest.Section{Name: ".linux", Text: "kernel"})
}

func diff(t *testing.T, want, got string) {
	t.Helper()
	if d := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); d != "" {
		t.Error(d)
	}
}
