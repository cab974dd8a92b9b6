package build

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
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

// boots reports whether an image may be made bootable. With Bootable=auto it depends on what is in its tree, too.
func boots(img *config.Image) bool {
	switch img.Bootable {
	case config.Disabled:
		return false
	case config.Auto:
		return img.Format != config.FormatCPIO && img.Format != config.FormatAddon && !isExtension(img.Format) && !img.Overlay
	}
	return true
}

// bootsAnything reports whether boot files are made of an image.
func (m *image) bootsAnything() bool {
	return boots(m.Image) || m.Format == config.FormatUKI || m.Format == config.FormatESP || m.Format == config.FormatAddon
}

// installBootLoader puts the EFI boot loader into the tree.
func (m *image) installBootLoader(ctx context.Context) error {
	wanted := boots(m.Image) && m.Format != config.FormatUKI || m.Format == config.FormatESP
	if !wanted {
		return nil
	}
	switch m.Bootloader {
	case config.BootloaderSystemdBoot, config.BootloaderSystemdBootSigned:
		return m.orAuto(m.step("installing systemd-boot", func() error { return m.installSystemdBoot(ctx) }))
	}
	return nil
}

// orAuto leaves out with Bootable=auto what the tree does not have.
func (m *image) orAuto(err error) error {
	var missing *bootloader.Missing
	if m.Bootable == config.Auto && m.Format != config.FormatESP && errors.As(err, &missing) {
		m.b.UI.Debugf(m.Image.Image, "%v", err)
		return nil
	}
	return err
}

func (m *image) bootOptions() bootloader.Options {
	o := bootloader.Options{Root: m.root, Architecture: m.Architecture.EFI()}
	if m.SecureBoot {
		o.Sign = m.signProgram
	}
	return o
}

func (m *image) installSystemdBoot(ctx context.Context) error {
	o := bootloader.SystemdBoot{
		Options: m.bootOptions(),
		Signed:  m.Bootloader == config.BootloaderSystemdBootSigned || m.ShimBootloader == config.ShimSigned,
	}
	if m.SecureBoot && m.SecureBootAutoEnroll {
		o.Keys = m.enrolments
	}
	return bootloader.InstallSystemdBoot(ctx, o)
}

// makeBootFiles makes what boot loaders start: a unified kernel image or a boot loader entry for each kernel.
func (m *image) makeBootFiles(ctx context.Context, in output.BootInput) (*output.BootFiles, error) {
	if err := m.b.await(ctx, m.awaits); err != nil {
		return nil, err
	}
	if m.Format == config.FormatAddon {
		return m.makeAddon(ctx, in)
	}
	kernels, err := m.kernels()
	if err != nil || len(kernels) == 0 {
		return nil, err
	}
	files := &output.BootFiles{}
	cmdline, hash, err := m.kernelCommandLine(in.Partitions)
	if err != nil {
		return nil, err
	}
	for i, k := range kernels {
		made, err := m.makeKernel(ctx, k, in, cmdline, hash)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			files = made
		}
		if m.Format == config.FormatUKI || m.Format == config.FormatESP || m.Bootloader == config.BootloaderUKI {
			break // there is room for one
		}
	}
	return files, nil
}

// kernels are those to be started, the newest first.
func (m *image) kernels() ([]kernel.Kernel, error) {
	if !boots(m.Image) && m.Format != config.FormatUKI {
		return nil, nil
	}
	kernels, err := kernel.Find(m.root)
	if err != nil || len(kernels) > 0 {
		return kernels, err
	}
	if m.Bootable == config.Enabled || m.Format == config.FormatUKI {
		return nil, errors.New("the image has no kernel, neither /boot/vmlinuz-VERSION nor /usr/lib/modules/VERSION/vmlinuz: add a package with one, such as linux-image-amd64 of Debian, to Packages=")
	}
	return nil, nil
}

// makeKernel makes what starts one kernel.
func (m *image) makeKernel(ctx context.Context, k kernel.Kernel, in output.BootInput, cmdline []string, hash string) (*output.BootFiles, error) {
	files := &output.BootFiles{Kernel: filepath.Join(m.root, k.Image)}
	if in.Initrd != "" {
		files.Initrds = []string{in.Initrd}
	} else if err := m.addInitrds(ctx, k, files); err != nil {
		return nil, err
	}
	stub, err := m.stub(fmt.Sprintf("linux%s.efi.stub", m.Architecture.EFI()))
	if err != nil {
		return nil, err
	}
	if stub == "" {
		return files, errors.New("boot loader entries of type 1 are not supported yet")
	}
	if err := m.signKernel(ctx, files); err != nil {
		return nil, err
	}
	token, err := bootloader.EntryToken(m.root)
	if err != nil {
		return nil, err
	}
	parts := ukiParts{
		kernel: &k, kernelFile: files.Kernel, stub: stub, initrds: files.Initrds, cmdline: cmdline,
	}
	err = m.step("assembling the unified kernel image of "+k.Version, func() error {
		files.UKI, files.PCRs, err = m.createUKI(ctx, m.ukiPath(k, token, hash, m.tries()), parts)
		return err
	})
	return files, err
}

// createUKI makes a unified kernel image or an addon: at name in the tree, or outside of it where it is the output. It
// returns its path on this machine.
func (m *image) createUKI(ctx context.Context, name string, parts ukiParts) (file string, policies []byte, err error) {
	dir := m.root
	if m.Format == config.FormatUKI || m.Format == config.FormatAddon {
		dir, name = m.work, m.OutputName()
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", nil, err
	}
	defer root.Close()
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return "", nil, fmt.Errorf("creating /%s in the image: %w", path.Dir(name), err)
	}
	if err := root.RemoveAll(name); err != nil {
		return "", nil, fmt.Errorf("replacing /%s in the image: %w", name, err)
	}
	out, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return "", nil, fmt.Errorf("creating /%s in the image: %w", name, err)
	}
	policies, err = m.writeUKI(ctx, out, parts)
	return filepath.Join(dir, name), policies, errors.Join(err, out.Close())
}

// signKernel has the kernel of a unified kernel image signed with SecureBoot=yes: firmware checks it once more when the
// stub starts it.
func (m *image) signKernel(ctx context.Context, files *output.BootFiles) (err error) {
	if !m.SecureBoot {
		return nil
	}
	in, err := os.Open(files.Kernel)
	if err != nil {
		return err
	}
	defer in.Close()
	signed := filepath.Join(m.work, "vmlinuz")
	out, err := os.OpenFile(signed, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("copying the kernel: %w", err)
	}
	files.Kernel = signed
	return m.signFile(ctx, out)
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

// stub returns the path of a stub in the tree. Where unified kernel images are wanted only if they can be made, or not at
// all, it is "" if there are none.
func (m *image) stub(name string) (string, error) {
	always := m.Format == config.FormatUKI || m.Format == config.FormatESP || m.Bootloader == config.BootloaderUKI
	if !always && (m.UnifiedKernelImages == config.UKINone || m.Bootloader == config.BootloaderNone) {
		return "", nil
	}
	root, err := os.OpenRoot(m.root)
	if err != nil {
		return "", err
	}
	defer root.Close()
	stub := path.Join(stubDir, name)
	if exists(root, stub) {
		return stub, nil
	}
	if !always && m.UnifiedKernelImages == config.UKIAuto {
		return "", nil
	}
	return "", &bootloader.Missing{What: "stub for unified kernel images", Tried: []string{stub}, Hint: "add the package with systemd's stubs, systemd-boot-efi in Debian, to Packages="}
}

// addInitrds collects the initrds of a kernel: those of the settings, those that scripts have left, and that with its
// modules.
func (m *image) addInitrds(ctx context.Context, k kernel.Kernel, files *output.BootFiles) error {
	left, err := m.artifacts("io.mkosi.initrd")
	if err != nil {
		return err
	}
	files.Initrds = slices.Concat(m.Initrds, left)
	if !m.KernelModulesInitrd {
		return nil
	}
	files.ModulesInitrd, err = m.modulesInitrd(ctx, k)
	files.Initrds = append(files.Initrds, files.ModulesInitrd)
	return err
}

// kernelCommandLine is the command line of every kernel. hash is the root hash in it, "" for none.
func (m *image) kernelCommandLine(partitions []disk.Partition) (words []string, hash string, err error) {
	var root, usr *disk.Partition
	for i := range partitions {
		switch partitions[i].Type.Role {
		case repart.RoleRoot:
			root = &partitions[i]
		case repart.RoleUsr:
			usr = &partitions[i]
		}
	}
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

// tries is how often an image is tried to boot before it counts as bad, "" if nothing says; see the automatic boot
// assessment of systemd.
func (m *image) tries() string {
	root, err := os.OpenRoot(m.root)
	if err != nil {
		return ""
	}
	defer root.Close()
	b, err := readFileLimited(root, "etc/kernel/tries", 4096)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// makeAddon makes an addon to unified kernel images, with the tree as an initrd.
func (m *image) makeAddon(ctx context.Context, in output.BootInput) (*output.BootFiles, error) {
	stub := path.Join(stubDir, "addon"+m.Architecture.EFI()+".efi.stub")
	files := &output.BootFiles{}
	err := m.step("assembling the addon", func() (err error) {
		files.UKI, _, err = m.createUKI(ctx, "", ukiParts{stub: stub, initrds: []string{in.Initrd}, cmdline: m.KernelCommandLine})
		return err
	})
	return files, err
}
