package build

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/config"
)

func TestLoadedModules(t *testing.T) {
	file := filepath.Join(t.TempDir(), "modules")
	if names, err := loadedModules(file); err == nil || !strings.Contains(err.Error(), "the modules that are loaded on this machine") {
		t.Errorf("a kernel without modules has %q loaded (%v)", names, err)
	}
	if err := os.WriteFile(file, []byte("snd_hda 45056 1 - Live 0x0\nloop 40960 0 - Live 0x0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if names, err := loadedModules(file); err != nil || !slices.Equal(names, []string{"snd_hda", "loop"}) {
		t.Errorf("got %q (%v)", names, err)
	}
}

// The old settings with their own names reach the selection, those of the image and those of the initrd apart.
func TestModuleSettings(t *testing.T) {
	m := &image{Image: &config.Image{
		KernelModules: []string{"a"}, KernelModulesExclude: []string{"b"}, KernelModulesIncludeHost: true,
		KernelInitrdModules: []string{"c"}, KernelModulesInitrdExclude: []string{"d"},
		FirmwareFiles: []string{"e"}, FirmwareExclude: []string{"f"},
	}}
	s, err := m.moduleSettings()
	if err != nil {
		t.Fatal(err)
	}
	initrd, err := m.initrdModuleSettings()
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range []struct {
		want string
		got  []string
	}{
		{"a", s.Modules}, {"b", s.ModulesExclude}, {"c", initrd.Modules}, {"d", initrd.ModulesExclude},
		{"e", s.Firmware}, {"f", s.FirmwareExclude}, {"e", initrd.Firmware}, {"f", initrd.FirmwareExclude},
	} {
		if !slices.Equal(list.got, []string{list.want}) {
			t.Errorf("got %q, want %s", list.got, list.want)
		}
	}
	if !s.HostModules || initrd.HostModules || !slices.Contains(s.Default, "virtio_blk") {
		t.Errorf("modules of this machine: %v, in the initrd %v; %d default ones", s.HostModules, initrd.HostModules, len(s.Default))
	}
}
