package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/efi/pcr"
	"github.com/mkosi-go/mkosi/internal/efi/uki"
	"github.com/mkosi-go/mkosi/internal/kernel"
	"github.com/mkosi-go/mkosi/internal/tree"
)

const (
	// stubDir holds the stubs of unified kernel images in a tree, see systemd-stub(7).
	stubDir = "usr/lib/systemd/boot/efi"
	// hardwareDir holds descriptions of machines, in a directory for each architecture, see HWIDs= of ukify(1).
	hardwareDir = "usr/lib/systemd/boot/hwids"
)

// ukiParts is what a unified kernel image is made of, but for what the settings say.
type ukiParts struct {
	kernel     *kernel.Kernel // nil for an addon
	kernelFile string
	stub       string // path
	initrds    []string
	microcode  string // path, "" for none
	trees      []string
	cmdline    []string
}

// openFiles are files that are read until all of them are closed.
type openFiles struct{ files []*os.File }

func (o *openFiles) Close() error {
	var errs []error
	for _, f := range o.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// open opens a file of this machine.
func (o *openFiles) open(name string) (*io.SectionReader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return o.section(f)
}

// openIn opens a file of a tree, in which links lead no further up than its root.
func (o *openFiles) openIn(root *os.File, name string) (*io.SectionReader, error) {
	f, err := tree.OpenRegularIn(int(root.Fd()), name)
	if err != nil {
		return nil, err
	}
	return o.section(f)
}

func (o *openFiles) section(f *os.File) (*io.SectionReader, error) {
	o.files = append(o.files, f)
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(f, 0, fi.Size()), nil
}

// createUKI makes a unified kernel image or an addon: at name in the tree, or outside of it where it is the output. It
// returns its path on this machine.
func (m *image) createUKI(ctx context.Context, name string, parts ukiParts) (file string, policies []byte, err error) {
	dir := m.root
	if m.Format == config.FormatUKI || m.Format == config.FormatAddon || m.startsUKI() {
		dir, name = m.work, "image.efi"
	}
	// The directory may be behind links.
	root, err := makeDirIn(dir, path.Dir(name))
	if err != nil {
		return "", nil, fmt.Errorf("creating /%s in the image: %w", path.Dir(name), err)
	}
	defer root.Close()
	base := path.Base(name)
	if err := root.RemoveAll(base); err != nil {
		return "", nil, fmt.Errorf("replacing /%s in the image: %w", name, err)
	}
	out, err := root.OpenFile(base, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return "", nil, fmt.Errorf("creating /%s in the image: %w", name, err)
	}
	policies, err = m.writeUKI(ctx, out, parts)
	return filepath.Join(root.Name(), base), policies, errors.Join(err, out.Close())
}

// writeUKI assembles a unified kernel image, or an addon, in an empty file, and signs it with SecureBoot=yes. It returns the
// policies that are to be signed elsewhere, as JSON, if that is wanted.
func (m *image) writeUKI(ctx context.Context, out *os.File, p ukiParts) (policies []byte, err error) {
	root, err := os.Open(m.root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	files := &openFiles{}
	defer func() { err = errors.Join(err, files.Close()) }()
	opts, err := m.ukiOptions(ctx, root, files, p)
	if err != nil {
		return nil, err
	}
	result, err := uki.Build(ctx, out, opts)
	if err == nil && m.SecureBoot {
		err = m.signFile(ctx, out)
	}
	if err != nil {
		return nil, err
	}
	if result.KernelProblem != nil {
		m.b.UI.Warnf(m.Image.Image, "firmware will not start the kernel: %v", result.KernelProblem)
	}
	if opts.Policies == nil || wantsPCRSignature(m.Image) {
		return nil, nil
	}
	return []byte(result.Policies.Text()), nil
}

func (m *image) ukiOptions(ctx context.Context, root *os.File, files *openFiles, p ukiParts) (o uki.Options, err error) {
	if o.Stub, err = files.open(p.stub); err != nil {
		return o, fmt.Errorf("opening the stub: %w", err)
	}
	base := &o.Base
	base.CommandLine = commandLine(p.cmdline)
	for _, name := range p.initrds {
		r, err := files.open(name)
		if err != nil {
			return o, fmt.Errorf("opening the initrd: %w", err)
		}
		base.Initrds = append(base.Initrds, r)
	}
	if base.HardwareIDs, err = hardwareIDs(m.Architecture.EFI(), m.root, "/"); err != nil || p.kernel == nil {
		return o, err
	}
	base.Uname = p.kernel.Version
	if base.Kernel, err = files.open(p.kernelFile); err != nil {
		return o, fmt.Errorf("opening the kernel: %w", err)
	}
	if base.OSRelease, err = osReleaseText(root); err != nil {
		return o, err
	}
	if p.microcode != "" {
		if base.Microcode, err = files.open(p.microcode); err != nil {
			return o, fmt.Errorf("opening the microcode: %w", err)
		}
	}
	if m.Splash != "" {
		if base.Splash, err = files.openIn(root, m.Splash); err != nil {
			return o, fmt.Errorf("opening Splash=%s in the image: %w", m.Splash, err)
		}
	}
	if err := addDevicetrees(root, files, base, p.trees); err != nil {
		return o, err
	}
	o.Profiles = m.ukiProfiles(p.cmdline)
	o.Policies, err = m.policies(ctx)
	return o, err
}

// devicetrees returns the paths in the tree of a kernel's devicetrees, none unless Devicetrees= asks for any.
func (m *image) devicetrees(ctx context.Context, k kernel.Kernel) ([]string, error) {
	if len(m.Devicetrees) == 0 {
		return nil, nil
	}
	trees, err := kernel.Devicetrees(ctx, m.root, k, m.Devicetrees)
	if err == nil && len(trees) == 0 {
		err = fmt.Errorf("kernel %s has no devicetree that Devicetrees=%s matches", k.Version, strings.Join(m.Devicetrees, ","))
	}
	return trees, err
}

// addDevicetrees adds devicetrees to the sections: one by itself is for every machine, of several that is taken which fits.
func addDevicetrees(root *os.File, files *openFiles, s *uki.Sections, names []string) error {
	var trees []*io.SectionReader
	for _, name := range names {
		r, err := files.openIn(root, name)
		if err != nil {
			return fmt.Errorf("opening a devicetree: %w", err)
		}
		trees = append(trees, r)
	}
	if len(trees) == 1 {
		s.DeviceTree = trees[0]
	} else {
		s.DeviceTrees = trees
	}
	return nil
}

// hardwareIDs returns the table with which the stub finds the devicetree for a machine: of the first of several trees that
// has descriptions of machines, nil without any. In Debian they come with ukify, which is seldom part of an image.
func hardwareIDs(architecture string, roots ...string) ([]byte, error) {
	for _, root := range roots {
		table, err := readHardwareIDs(root, path.Join(hardwareDir, architecture))
		if !errors.Is(err, fs.ErrNotExist) {
			return table, err
		}
	}
	return nil, nil
}

// readHardwareIDs makes a table of the descriptions in a directory of a tree.
func readHardwareIDs(root, name string) ([]byte, error) {
	dir, err := openDirIn(root, name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	table, err := uki.HardwareIDs(dir.FS())
	if err != nil {
		return nil, fmt.Errorf("reading /%s: %w", name, err)
	}
	return table, nil
}

// ukiProfiles are those of UnifiedKernelImageProfiles=. Each has the words of the command line before its own.
func (m *image) ukiProfiles(cmdline []string) []uki.Profile {
	var list []uki.Profile
	for _, p := range m.UnifiedKernelImageProfiles {
		u := uki.Profile{Unsigned: !p.SignExpectedPcr}
		u.Profile, u.CommandLine = profileText(p.Profile), commandLine(slices.Concat(cmdline, p.Cmdline))
		list = append(list, u)
	}
	return list
}

// profileText writes the fields of a profile as os-release(5) has them, its ID first.
func profileText(fields map[string]string) string {
	var b strings.Builder
	write := func(key string) {
		value := fields[key]
		if strings.ContainsFunc(value, isSpecial) {
			value = quote(value)
		}
		fmt.Fprintf(&b, "%s=%s\n", key, value)
	}
	if _, ok := fields["ID"]; ok {
		write("ID")
	}
	for _, key := range sortedKeys(fields) {
		if key != "ID" {
			write(key)
		}
	}
	return b.String()
}

// isSpecial reports whether a value with the character has to be in quotes, as the reference has it.
func isSpecial(r rune) bool {
	plain := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("@%+=:,./-_", r)
	return !plain
}

// commandLine is the text of a section with a command line. It ends in a zero byte, as the reference has it.
func commandLine(words []string) string {
	text := strings.TrimSpace(strings.Join(words, " "))
	if text == "" {
		return ""
	}
	return text + "\x00"
}

// osReleaseText returns the os-release(5) file of a tree.
func osReleaseText(root *os.File) (string, error) {
	for _, name := range []string{"usr/lib/os-release", "etc/os-release"} {
		b, err := tree.ReadFileIn(int(root.Fd()), name, 1<<20)
		if !errors.Is(err, fs.ErrNotExist) {
			return string(b), err
		}
	}
	return "", errors.New("a unified kernel image needs an os-release(5) file in /usr/lib or /etc, and the tree has none")
}

// wantsPCRSignature reports whether policies for PCR values are signed: SignExpectedPcr=, which by default depends on
// whether there is a key.
func wantsPCRSignature(img *config.Image) bool {
	switch img.SignExpectedPcr {
	case config.Disabled:
		return false
	case config.Auto:
		return img.SignExpectedPcrKey != "" && img.SignExpectedPcrCertificate != ""
	}
	return true
}

// errNoPCRCertificate is about policies that are to be signed elsewhere: they name the key.
var errNoPCRCertificate = errors.New("SplitArtifacts=pcrs needs a SignExpectedPcrCertificate= of the key that policies will be signed with")

// policies says which policies for PCR values a unified kernel image gets, nil for none.
func (m *image) policies(ctx context.Context) (*pcr.Options, error) {
	sign, split := wantsPCRSignature(m.Image), slices.Contains(m.SplitArtifacts, config.ArtifactPCRs)
	if !sign && !split {
		return nil, nil
	}
	o := &pcr.Options{Banks: pcr.Banks(), Initrd: m.SignInitrdPCRs != config.Disabled}
	if sign {
		if split {
			m.b.UI.Warnf(m.Image.Image, "SplitArtifacts=pcrs writes nothing: the policies are signed here, see SignExpectedPcr=")
		}
		var err error
		o.Key, err = m.pcrKey(ctx)
		return o, err
	}
	if m.SignExpectedPcrCertificate == "" {
		return nil, errNoPCRCertificate
	}
	cert, err := m.pcrCertificate(ctx)
	if err != nil {
		return nil, err
	}
	o.PublicKey = cert.PublicKey
	return o, nil
}

// ukiPath is where the unified kernel image of a kernel goes in the tree.
func (m *image) ukiPath(k kernel.Kernel, token, hash, tries string) string {
	format := m.UnifiedKernelImageFormat
	if format == "" {
		format = "&e-&k"
		if hash != "" {
			format += "-&h"
		}
		if tries != "" {
			format += "+&c"
		}
	}
	values := map[byte]string{'e': token, 'k': k.Version, 'h': hash, 'c': tries}
	return path.Join("boot/EFI/Linux", filepath.Base(expandName(format, values))+".efi")
}

// expandName replaces delayed specifiers, such as &k, and && by an ampersand. Others are left as they are.
func expandName(format string, values map[byte]string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] == '&' && i+1 < len(format) {
			if v, ok := values[format[i+1]]; ok || format[i+1] == '&' {
				if !ok {
					v = "&"
				}
				b.WriteString(v)
				i++
				continue
			}
		}
		b.WriteByte(format[i])
	}
	return b.String()
}
