package machine

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/config"
)

// stageVmspawn makes the host itself the one with the tools, with a script in place of systemd-vmspawn that has the
// arguments in $@.
func (s *scene) stageVmspawn(script string) {
	s.t.Helper()
	bin := s.t.TempDir()
	s.write(filepath.Join(bin, "systemd-vmspawn"), []byte("#!/bin/sh\n"+script+"\n"), 0o755)
	s.img.ToolsTree, s.img.ExtraSearchPaths, s.img.VirtualMachineMonitor = "", []string{bin}, config.MonitorVmspawn
	s.opts.Host.Environment = map[string]string{"PATH": os.Getenv("PATH")}
}

// TestVmspawnRuns has systemd-vmspawn get credentials as they are, and say why it fails.
func TestVmspawnRuns(t *testing.T) {
	s := newScene(t)
	s.stageVmspawn(`for word in "$@"; do
	case $word in --load-credential=a:*) cat "${word#*:}" ;; esac
done
echo 'no such thing' >&2
exit 7`)
	var printed bytes.Buffer
	s.opts.Console = Console{Output: &printed}
	s.img.Credentials = []config.Credential{{Name: "a", Value: "b\n"}}
	status, err := s.plan().Run(t.Context())
	if err != nil || status != 7 {
		t.Errorf("got %d, %v", status, err)
	}
	if printed.String() != "b\n" {
		t.Errorf("the credential is %q", printed.String())
	}
	if !strings.Contains(s.said.String(), "no such thing") {
		t.Errorf("what systemd-vmspawn said is not passed on:\n%s", s.said.String())
	}
}

// TestVmspawnVersions asks older versions for what came later.
func TestVmspawnVersions(t *testing.T) {
	for name, tt := range map[string]struct {
		version string
		change  func(s *scene)
		want    string // "" if it can be done
	}{
		"all defaults with the oldest": {"256", func(*scene) {}, ""},
		"the one before":               {"255.4", func(*scene) {}, "VirtualMachineMonitor=vmspawn needs the systemd-vmspawn of systemd 256, and this one is of 255.4"},
		"a throw-away copy":            {"257.9", func(s *scene) { s.img.Ephemeral = true }, "Ephemeral=yes needs the systemd-vmspawn of systemd 260"},
		"another disk":                 {"260", func(s *scene) { s.img.DiskType = config.DiskNVMe }, "DiskType=nvme needs the systemd-vmspawn of systemd 261"},
		"variables":                    {"261~rc1", func(s *scene) { s.img.FirmwareVariables = "microsoft" }, "FirmwareVariables= needs the systemd-vmspawn of systemd 261"},
		"all of it": {"261", func(s *scene) {
			s.img.Ephemeral, s.img.DiskType, s.img.FirmwareVariables = true, config.DiskNVMe, "microsoft"
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.img.VirtualMachineMonitor = config.MonitorVmspawn
			s.probes.vmspawn = func(tools, string) (string, error) { return tt.version, nil }
			tt.change(s)
			if tt.want != "" {
				s.refused(tt.want)
				return
			}
			args := s.arguments(s.plan())
			for option, since := range map[string]string{"--tpm-state": "258", "--efi-nvram-state": "261", "--image-disk-type": "261", "--firmware-features": "never"} {
				if tt.version < since && strings.Contains(args, option) {
					t.Errorf("%s gets %s", tt.version, option)
				}
			}
		})
	}
}

func TestVersionOfVmspawn(t *testing.T) {
	for said, want := range map[string]string{"systemd 257 (257.9-1~deb13u1)": "257", "something else": ""} {
		s := newScene(t)
		s.stageVmspawn("echo '" + said + "'")
		s.probes.vmspawn = probeVmspawn
		m, err := plan(s.img, s.opts, s.probes)
		switch {
		case want == "" && (err == nil || !strings.Contains(err.Error(), "asking systemd-vmspawn for its version")):
			t.Errorf("%q: got %v", said, err)
		case want != "" && (err != nil || m.version != want):
			t.Errorf("%q: got %v, %v", said, m, err)
		}
	}
}

// TestVmspawnIsFoundByItsNumber follows the connection identifier of a guest, which is known only if it was set and there
// is a device for it.
func TestVmspawnIsFoundByItsNumber(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(s *scene)
		want   uint32
	}{
		"set":          {func(s *scene) { s.img.VSockCID = 77 }, 77},
		"not set":      {func(*scene) {}, 0},
		"switched off": {func(s *scene) { s.img.VSockCID, s.img.VSock = 77, config.Disabled }, 0},
		"not this host": {func(s *scene) {
			s.img.VSockCID, s.probes.vsock = 77, func() (*os.File, error) { return nil, os.ErrNotExist }
		}, 0},
	} {
		s := newScene(t)
		s.img.VirtualMachineMonitor = config.MonitorVmspawn
		s.probes.vsock = func() (*os.File, error) { return os.Open(os.DevNull) }
		s.probes.claim = func(*os.File, uint32) error { return errors.New("it is for systemd-vmspawn to claim") }
		tt.change(s)
		if got := s.plan().CID(); got != tt.want {
			t.Errorf("%s: got %d, not %d", name, got, tt.want)
		}
	}
}
