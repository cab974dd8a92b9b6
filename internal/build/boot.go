package build

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/bootloader"
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/kernel"
	"github.com/mkosi-go/mkosi/internal/output"
)

// An image is made bootable in two steps. Boot loaders go into the tree before the system's own tools see it. Kernels
// follow when everything else is packed, for their command line may hold the root hash of a partition.

// makesBootFiles reports whether boot files are made of an image: for its boot loader, as the image itself, or to be split
// off.
func (m *image) makesBootFiles() bool {
	switch m.Format {
	case config.FormatUKI, config.FormatESP, config.FormatAddon:
		return true
	}
	return boots(m.Image) || !m.onlyAdditions() && m.splits(config.ArtifactKernel, config.ArtifactInitrd, config.ArtifactKernelModulesInitrd)
}

// splits reports whether one of the artifacts is to be written beside the output.
func (m *image) splits(artifacts ...config.Artifact) bool {
	return slices.ContainsFunc(artifacts, func(a config.Artifact) bool { return slices.Contains(m.SplitArtifacts, a) })
}

// makeBootFiles makes what boot loaders start: a unified kernel image or a boot loader entry for each kernel.
func (m *image) makeBootFiles(ctx context.Context, in output.BootInput) (*output.BootFiles, error) {
	if err := m.b.await(ctx, m.awaits); err != nil {
		return nil, err
	}
	kernels, err := m.kernels()
	if err != nil {
		return nil, err
	}
	files, err := m.makeKernelFiles(ctx, in, kernels)
	if err != nil || m.Format != config.FormatAddon {
		return files, err
	}
	if files == nil {
		files = &output.BootFiles{}
	}
	files.UKI, err = m.makeAddon(ctx, in)
	return files, err
}

// makeKernelFiles makes what kernels are started with. It returns what belongs to the first of them, nil without kernels.
func (m *image) makeKernelFiles(ctx context.Context, in output.BootInput, kernels []kernel.Kernel) (_ *output.BootFiles, err error) {
	if len(kernels) == 0 {
		return nil, nil
	}
	b := &bootFiles{image: m, partitions: in.Partitions}
	if b.cmdline, b.hash, err = m.kernelCommandLine(in.Partitions); err != nil {
		return nil, err
	}
	for _, k := range kernels {
		made, err := b.collect(ctx, k, in)
		if err != nil {
			return nil, err
		}
		b.kernels = append(b.kernels, k)
		b.files = append(b.files, made)
	}
	if err := b.install(ctx); err != nil {
		return nil, err
	}
	return b.files[0], nil
}

// kernels are those to be started, the newest first. Where there is room for one, it is that.
func (m *image) kernels() ([]kernel.Kernel, error) {
	if m.saved.kernel != nil {
		return []kernel.Kernel{*m.saved.kernel}, nil
	}
	kernels, err := m.findKernels()
	switch {
	case err != nil:
		return nil, err
	case len(kernels) > 1 && m.hasOneKernel():
		return kernels[:1], nil
	case len(kernels) > 0, m.Bootable != config.Enabled && m.Format != config.FormatUKI:
		return kernels, nil
	case usesPrebuilt(m.Image):
		return nil, m.missingPrebuilt()
	}
	return nil, errors.New("the image has no kernel, neither /boot/vmlinuz-VERSION nor /usr/lib/modules/VERSION/vmlinuz: add a package with one, such as linux-image-amd64 of Debian, to Packages=")
}

// hasOneKernel reports whether an image starts its newest kernel only.
func (m *image) hasOneKernel() bool {
	return m.Format == config.FormatUKI || m.Format == config.FormatESP || m.startsUKI()
}

// startsUKI reports whether firmware starts a unified kernel image without a boot loader.
func (m *image) startsUKI() bool {
	return m.Bootloader == config.BootloaderUKI || m.Bootloader == config.BootloaderUKISigned
}

// bootFiles are the files that start an image while they are made.
type bootFiles struct {
	*image
	partitions []disk.Partition
	cmdline    []string
	hash       string // root hash in the command line
	token      string // see bootloader.EntryToken
	stub       string // path, "" to make no unified kernel images
	kernels    []kernel.Kernel
	files      []*output.BootFiles // of each kernel
	shared     int                 // how many initrds all kernels have
	microcode  string
}

// collect finds or makes what one kernel is started with.
func (b *bootFiles) collect(ctx context.Context, k kernel.Kernel, in output.BootInput) (files *output.BootFiles, err error) {
	if usesPrebuilt(b.Image) {
		return b.collectPrebuilt(ctx, k)
	}
	files = &output.BootFiles{Kernel: b.saved.kernelFile}
	if files.Kernel == "" {
		if files.Kernel, err = b.copyKernel(k); err != nil {
			return nil, err
		}
	}
	ofTree := in.Initrd != "" && b.Format != config.FormatAddon
	if ofTree {
		// It has its modules.
		files.Initrds = []string{in.Initrd}
		if !b.splits(config.ArtifactKernelModulesInitrd) {
			return files, nil
		}
		files.ModulesInitrd, err = b.modulesInitrd(ctx, k)
		return files, err
	}
	return files, b.collectInitrds(ctx, k, files)
}

// collectInitrds finds or makes the initrds of a kernel, and adds them to files.
func (b *bootFiles) collectInitrds(ctx context.Context, k kernel.Kernel, files *output.BootFiles) error {
	microcode, err := b.artifacts("io.mkosi.microcode")
	if err != nil {
		return err
	}
	left, err := b.artifacts("io.mkosi.initrd")
	if err != nil {
		return err
	}
	files.Initrds = slices.Concat(microcode, b.Initrds, left)
	b.shared = len(files.Initrds)
	starts := boots(b.Image) && b.Format != config.FormatAddon
	if b.KernelModulesInitrd && (starts || b.splits(config.ArtifactInitrd, config.ArtifactKernelModulesInitrd)) {
		files.ModulesInitrd, err = b.modulesInitrd(ctx, k)
		files.Initrds = append(files.Initrds, files.ModulesInitrd)
	}
	return err
}

// install puts everything to where boot loaders look for it.
func (b *bootFiles) install(ctx context.Context) (err error) {
	if !boots(b.Image) && b.Format != config.FormatUKI || b.Format == config.FormatAddon || b.nameless {
		return nil // only to be split off
	}
	if b.needsToken() {
		if b.token, err = bootloader.EntryToken(b.root); err != nil {
			return err
		}
	}
	prebuilt := usesPrebuilt(b.Image)
	if !prebuilt {
		if b.stub, err = b.findStub(); err != nil {
			return err
		}
	}
	ukis := prebuilt || b.stub != ""
	if !ukis && b.startsUKI() && !bootsPC(b.Image) {
		return nil
	}
	if b.microcode, err = b.microcodeInitrd(ctx); err != nil {
		return err
	}
	var entries []bootloader.Entry
	if !ukis {
		err = b.step("copying kernels to the boot partition", func() error {
			entries, err = b.installKernels(ctx)
			return err
		})
	} else {
		entries, err = b.installUKIs(ctx)
	}
	if err != nil || !usesGrub(b.Image) {
		return err
	}
	menus := bootloader.GrubMenus{EFI: entries, RootOption: rootOption(b.cmdline, b.partitions)}
	// There /boot is, while grub's configuration is in the ESP with /efi.
	menus.Search = findPartition(b.partitions, repart.RoleXBOOTLDR) != nil
	if bootsPC(b.Image) {
		menus.BIOS = entries
	}
	if bootsPC(b.Image) && ukis {
		// PC firmware starts no unified kernel images.
		if menus.BIOS, err = b.installKernels(ctx); err != nil {
			return err
		}
	}
	return bootloader.WriteGrubConfig(b.root, menus)
}

// installUKIs makes a unified kernel image for each kernel, or takes the one that the distribution has built.
func (b *bootFiles) installUKIs(ctx context.Context) (entries []bootloader.Entry, err error) {
	names, err := b.ukiPaths()
	if err != nil {
		return nil, err
	}
	prebuilt := usesPrebuilt(b.Image)
	for i, k := range b.kernels {
		files, name := b.files[i], names[i]
		if !prebuilt {
			if err := b.makeUKI(ctx, k, files, name); err != nil {
				return nil, err
			}
		}
		if b.startsUKI() && b.Format != config.FormatUKI {
			// It is signed already.
			return nil, bootloader.InstallUKI(ctx, b.bootOptions(), files.UKI)
		}
		if prebuilt {
			if err := bootloader.CopyUKI(ctx, b.root, files.UKI, name); err != nil {
				return nil, err
			}
		}
		entries = append(entries, bootloader.Entry{ID: strings.TrimSuffix(path.Base(name), ".efi"), UKI: strings.TrimPrefix(name, "boot")})
	}
	return entries, nil
}

// makeUKI makes the unified kernel image of a kernel, at name in the tree or where createUKI puts it, and adds it to files.
func (b *bootFiles) makeUKI(ctx context.Context, k kernel.Kernel, files *output.BootFiles, name string) (err error) {
	if err := b.signKernel(ctx, k, files.Kernel); err != nil {
		return err
	}
	parts := ukiParts{
		kernel: &k, kernelFile: files.Kernel, stub: b.stub, initrds: files.Initrds, microcode: b.microcode,
		cmdline: b.cmdline,
	}
	if parts.trees, err = b.devicetrees(ctx, k); err != nil {
		return err
	}
	return b.step("assembling the unified kernel image of "+k.Version, func() (err error) {
		files.UKI, files.PCRs, err = b.createUKI(ctx, name, parts)
		return err
	})
}

// installKernels copies kernels and initrds for boot loader entries of type 1.
func (b *bootFiles) installKernels(ctx context.Context) ([]bootloader.Entry, error) {
	var shared []bootloader.Initrd
	if b.microcode != "" {
		shared = append(shared, bootloader.Initrd{Path: b.microcode, Name: "microcode.initrd"})
	}
	for _, name := range b.files[0].Initrds[:b.shared] {
		shared = append(shared, bootloader.Initrd{Path: name, Name: filepath.Base(name)})
	}
	var list []bootloader.Kernel
	for i, k := range b.kernels {
		image, err := b.separateImage(k)
		if err != nil {
			return nil, err
		}
		l := bootloader.Kernel{Version: k.Version, Image: image, Options: strings.Join(b.cmdline, " ")}
		trees, err := b.devicetrees(ctx, k)
		switch {
		case err != nil:
			return nil, err
		case len(trees) == 1:
			l.Devicetree, l.DevicetreeName = trees[0], path.Base(trees[0])
		case len(trees) > 1:
			return nil, fmt.Errorf("a boot loader entry of type 1 has one devicetree, and Devicetrees= matches %d of kernel %s", len(trees), k.Version)
		}
		for _, name := range b.files[i].Initrds[b.shared:] {
			l.Initrds = append(l.Initrds, bootloader.Initrd{Path: name, Name: "kernel-modules.initrd"})
		}
		list = append(list, l)
	}
	return bootloader.InstallKernels(ctx, b.kernelOptions(), shared, list)
}

// artifacts returns the files that scripts have left in a directory of $ARTIFACTDIR, sorted.
func (m *image) artifacts(dir string) ([]string, error) {
	dir = filepath.Join(m.work, artifactsDir, dir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var files []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, err
}

// kernelCommandLine is the command line of every kernel. hash is the root hash in it, "" for none.
func (m *image) kernelCommandLine(partitions []disk.Partition) (words []string, hash string, err error) {
	root, usr := findPartition(partitions, repart.RoleRoot), findPartition(partitions, repart.RoleUsr)
	for _, v := range []struct {
		name      string
		partition *disk.Partition
	}{{"roothash", root}, {"usrhash", usr}} {
		if v.partition != nil && v.partition.RootHash != nil {
			hash = hex.EncodeToString(v.partition.RootHash)
			words = append(words, v.name+"="+hash)
		}
	}
	for _, word := range m.KernelCommandLine {
		for _, v := range []struct {
			name      string
			partition *disk.Partition
		}{{"root=PARTUUID", root}, {"mount.usr=PARTUUID", usr}} {
			if word != v.name {
				continue
			}
			if v.partition == nil {
				return nil, "", fmt.Errorf("KernelCommandLine=%s: the image has no such partition", word)
			}
			word += "=" + v.partition.UUID.String()
		}
		words = append(words, word)
	}
	return words, hash, nil
}

// findPartition returns the first partition of a role, nil if there is none.
func findPartition(partitions []disk.Partition, role repart.Role) *disk.Partition {
	i := slices.IndexFunc(partitions, func(p disk.Partition) bool { return p.Type.Role == role })
	if i < 0 {
		return nil
	}
	return &partitions[i]
}

// makeAddon makes an addon to unified kernel images, with the tree as an initrd.
func (m *image) makeAddon(ctx context.Context, in output.BootInput) (file string, err error) {
	if m.saved.stub == "" {
		return "", m.missingStub()
	}
	err = m.step("assembling the addon", func() (err error) {
		parts := ukiParts{stub: m.saved.stub, initrds: []string{in.Initrd}, cmdline: m.KernelCommandLine}
		file, _, err = m.createUKI(ctx, "", parts)
		return err
	})
	return file, err
}
