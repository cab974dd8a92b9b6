package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/host"
	"github.com/mkosi-go/mkosi/internal/kernel"
	"github.com/mkosi-go/mkosi/internal/pkgmgr"
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
	changed, err := m.removeModules(ctx)
	if err != nil {
		return err
	}
	stale, err := kernel.StaleIndexes(ctx, m.root)
	if err != nil {
		return err
	}
	for _, v := range stale {
		if !slices.Contains(changed, v) {
			changed = append(changed, v)
		}
	}
	for _, v := range changed {
		if err := m.step("indexing the modules of kernel "+v, func() error { return m.indexModules(ctx, v) }); err != nil {
			return err
		}
	}
	return nil
}

// removeModules removes the modules and firmware that settings do not want, and returns the kernels that lost any.
func (m *image) removeModules(ctx context.Context) (versions []string, err error) {
	settings, err := m.moduleSettings()
	if err != nil || !settings.Any() {
		return nil, err
	}
	if versions, err := kernel.Versions(m.root); err != nil || len(versions) == 0 {
		return nil, err
	}
	err = m.step("removing kernel modules and firmware", func() error {
		filtered, err := kernel.FilterTree(ctx, m.root, settings)
		m.tellOfModules(filtered.Missing, filtered.Broken)
		versions = filtered.Versions
		return err
	})
	return versions, err
}

// indexModules makes the indexes by which the modules of a kernel are found, with the image's own depmod(8) where the
// machine can run it.
func (m *image) indexModules(ctx context.Context, version string) error {
	const name = "depmod"
	root, err := os.OpenRoot(m.root)
	if err != nil {
		return err
	}
	defer root.Close()
	if m.runsInImage(root, name) {
		return m.runInImage(ctx, kernel.Depmod(version, ""))
	}
	if _, err := host.FindTool(name); err != nil {
		return fmt.Errorf("the modules of kernel %s have to be indexed, and depmod is neither in the image nor on this machine: add %s to Packages=", version, kernel.DepmodPackage)
	}
	return m.runOnTree(ctx, kernel.Depmod(version, pkgmgr.BuildRoot))
}

// moduleSettings say what of modules and firmware stays in the image.
func (m *image) moduleSettings() (kernel.Settings, error) {
	defaults, err := config.DefaultKernelModules()
	return kernel.Settings{
		Modules:         m.KernelModules,
		ModulesExclude:  m.KernelModulesExclude,
		HostModules:     m.KernelModulesIncludeHost,
		Firmware:        m.FirmwareFiles,
		FirmwareExclude: m.FirmwareExclude,
		Default:         defaults,
		Loaded:          func() ([]string, error) { return loadedModules("/proc/modules") },
	}, err
}

// initrdModuleSettings say what goes into the initrd with a kernel's modules.
func (m *image) initrdModuleSettings() (kernel.Settings, error) {
	s, err := m.moduleSettings()
	s.Modules, s.ModulesExclude, s.HostModules = m.KernelInitrdModules, m.KernelModulesInitrdExclude, m.KernelModulesInitrdIncludeHost
	return s, err
}

// loadedModules are the modules that are loaded on this machine, by the file in which the Linux kernel lists them. One that is
// built without modules has no such file.
func loadedModules(file string) ([]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("finding the modules that are loaded on this machine: %w", err)
	}
	return kernel.LoadedModules(string(b)), nil
}

// tellOfModules tells of modules that are not there, which is common, and of files that are none, which is not.
func (m *image) tellOfModules(missing, broken []string) {
	for _, text := range slices.Concat(missing, broken) {
		m.b.UI.Debugf(m.Image.Image, "%s", text)
	}
	if len(broken) > 0 {
		text := broken[0]
		if more := len(broken) - 1; more > 0 {
			text += fmt.Sprintf(", and %d more", more)
		}
		m.b.UI.Warnf(m.Image.Image, "what a kernel module needs is not known where it cannot be read: %s", text)
	}
}

// modulesInitrd writes the initrd with a kernel's modules and returns its path.
func (m *image) modulesInitrd(ctx context.Context, k kernel.Kernel) (file string, err error) {
	file = filepath.Join(m.work, "kernel-modules-"+k.Version+".initrd")
	err = m.step("packing the modules of kernel "+k.Version, func() error {
		settings, err := m.initrdModuleSettings()
		if err != nil {
			return err
		}
		selection, err := kernel.Select(ctx, m.root, k, settings)
		if err != nil {
			return err
		}
		m.tellOfModules(selection.Missing, selection.Broken)
		return writeCompressed(file, func(w io.Writer) error {
			return kernel.WriteModulesInitrd(ctx, w, m.root, k, selection, m.epoch())
		})
	})
	return file, err
}

// microcodeInitrd writes the initrd with the microcode of the image and returns its path, "" if there is none.
func (m *image) microcodeInitrd(ctx context.Context) (file string, err error) {
	var cpu *kernel.CPU
	if m.MicrocodeHost {
		text, err := os.ReadFile("/proc/cpuinfo")
		if err != nil {
			return "", fmt.Errorf("finding the microcode for this machine: %w", err)
		}
		c, ok := kernel.ParseCPUInfo(string(text))
		if !ok {
			return "", nil
		}
		cpu = &c
	}
	file = filepath.Join(m.work, "microcode.initrd")
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	found, err := kernel.WriteMicrocode(ctx, f, m.root, cpu, m.epoch())
	if err := errors.Join(err, f.Close()); err != nil || !found {
		return "", err
	}
	return file, nil
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
