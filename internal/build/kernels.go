package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/kernel"
)

// prepareKernels puts the kernels of the tree where they are looked for, takes out the modules and the firmware that
// settings do not want, and indexes what is left.
func (m *image) prepareKernels(ctx context.Context) error {
	if m.onlyAdditions() {
		return nil
	}
	if _, err := kernel.GatherImages(ctx, m.root); err != nil {
		return err
	}
	return m.indexModules(ctx)
}

// indexModules makes the indexes by which modules are found, with the image's own depmod(8).
func (m *image) indexModules(ctx context.Context) error {
	versions, err := kernel.Versions(m.root)
	if err != nil {
		return err
	}
	for _, v := range versions {
		err := m.step("indexing the modules of kernel "+v, func() error {
			return m.runInImage(ctx, []string{"depmod", "--all", v})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// moduleSettings say what of modules and firmware stays in the image.
func (m *image) moduleSettings() kernel.Settings {
	return kernel.Settings{
		Modules:         m.KernelModules,
		ModulesExclude:  m.KernelModulesExclude,
		HostModules:     m.KernelModulesIncludeHost,
		Firmware:        m.FirmwareFiles,
		FirmwareExclude: m.FirmwareExclude,
		Loaded:          loadedModules,
	}
}

// initrdModuleSettings say what goes into the initrd with a kernel's modules.
func (m *image) initrdModuleSettings() kernel.Settings {
	return kernel.Settings{
		Modules:         m.KernelInitrdModules,
		ModulesExclude:  m.KernelModulesInitrdExclude,
		HostModules:     m.KernelModulesInitrdIncludeHost,
		Firmware:        m.FirmwareFiles,
		FirmwareExclude: m.FirmwareExclude,
		Loaded:          loadedModules,
	}
}

// loadedModules are the modules that are loaded on this machine.
func loadedModules() ([]string, error) {
	b, err := os.ReadFile("/proc/modules")
	if err != nil {
		return nil, fmt.Errorf("finding the modules that are loaded on this machine: %w", err)
	}
	return kernel.LoadedModules(string(b)), nil
}

// modulesInitrd writes the initrd with a kernel's modules and returns its path.
func (m *image) modulesInitrd(ctx context.Context, k kernel.Kernel) (file string, err error) {
	file = filepath.Join(m.work, "kernel-modules-"+k.Version+".initrd")
	err = m.step("packing the modules of kernel "+k.Version, func() error {
		selection, err := kernel.Select(ctx, m.root, k, m.initrdModuleSettings())
		if err != nil {
			return err
		}
		for _, text := range selection.Missing {
			m.b.UI.Debugf(m.Image.Image, "%s", text)
		}
		return writeCompressed(file, func(w io.Writer) error {
			return kernel.WriteModulesInitrd(ctx, w, m.root, k, selection, m.epoch())
		})
	})
	return file, err
}

// initrdLevel is the level of zstd for initrds that are made anew in every build.
const initrdLevel = 3

// writeCompressed makes a file that fill writes, compressed with zstd.
func writeCompressed(file string, fill func(io.Writer) error) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z, err := archive.NewWriter(f, archive.Zstd, initrdLevel)
	if err != nil {
		return err
	}
	return errors.Join(fill(z), z.Close())
}

// epoch is SourceDateEpoch=, the zero time if it is not set.
func (m *image) epoch() time.Time {
	if m.SourceDateEpoch == nil {
		return time.Time{}
	}
	return time.Unix(*m.SourceDateEpoch, 0)
}
