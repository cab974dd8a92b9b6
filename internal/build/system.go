package build

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mkosi-go/mkosi/internal/host"
	"github.com/mkosi-go/mkosi/internal/output"
	"github.com/mkosi-go/mkosi/internal/pkgmgr"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// writeSystemFiles writes the small files that settings ask for, before the tools run that read them.
func (m *image) writeSystemFiles(ctx context.Context) error {
	if m.onlyAdditions() {
		return nil
	}
	root, err := os.OpenRoot(m.root)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := writeOSRelease(root, m.Image); err != nil {
		return err
	}
	if err := errors.Join(m.writeSSHUnits(root), m.writeAutologin(root)); err != nil {
		return err
	}
	if len(m.BaseTrees) == 0 {
		if err := writeBootDirectories(root); err != nil {
			return err
		}
	}
	return errors.Join(m.linkInit(root), writeClockEpoch(root), m.writeVerityCertificate(ctx, root), m.writeMachineID(root))
}

const systemdPath = "usr/lib/systemd/systemd"

// linkInit gives a tree with systemd what the kernel starts when it is an initrd, /init, and with MakeInitrd= what makes
// systemd take the place for one, /etc/initrd-release, see os-release(5).
func (m *image) linkInit(root *os.Root) error {
	links := map[string]string{}
	if exists(root, systemdPath) {
		links["init"] = "/" + systemdPath
	}
	if m.MakeInitrd {
		links["etc/initrd-release"] = "/etc/os-release"
	}
	for _, name := range sortedKeys(links) {
		if exists(root, name) {
			continue
		}
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return fmt.Errorf("creating the directory of %s in the image: %w", name, err)
		}
		if err := root.Symlink(links[name], name); err != nil {
			return fmt.Errorf("linking %s in the image: %w", name, err)
		}
	}
	return nil
}

// writeBootDirectories makes the mount points of the boot partitions and the file that tells boot loader entries of
// type 1 from others, see kernel-install(8). Base trees have them, or are meant not to.
func writeBootDirectories(root *os.Root) error {
	for _, dir := range []struct {
		name string
		mode fs.FileMode
	}{{"efi", 0o500}, {"boot", 0o755}, {"boot/loader", 0o700}} {
		if exists(root, dir.name) {
			continue
		}
		if err := errors.Join(root.Mkdir(dir.name, 0o700), root.Chmod(dir.name, dir.mode)); err != nil {
			return fmt.Errorf("creating %s in the image: %w", dir.name, err)
		}
	}
	const entries = "boot/loader/entries.srel"
	if exists(root, entries) {
		return nil
	}
	return writeFile(root, entries, []byte("type1\n"), 0o600)
}

// writeClockEpoch makes the file whose time is the earliest that systemd(1) sets the clock to.
func writeClockEpoch(root *os.Root) error {
	const clock = "usr/lib/clock-epoch"
	if exists(root, clock) || !exists(root, path.Dir(clock)) {
		return nil
	}
	return writeFile(root, clock, nil, 0o644)
}

// writeVerityCertificate makes a systemd in the image trust what VerityKey= signs, such as extensions of the image; see
// systemd-sysext(8).
func (m *image) writeVerityCertificate(ctx context.Context, root *os.Root) error {
	if m.VerityCertificate == "" {
		return nil
	}
	cert, err := m.verityCertificate(ctx)
	if err != nil {
		return fmt.Errorf("reading VerityCertificate=: %w", err)
	}
	const dir = "usr/lib/verity.d"
	if err := root.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("creating %s in the image: %w", dir, err)
	}
	return writeFile(root, dir+"/mkosi.crt", cert, 0o644)
}

// verityCertificate returns VerityCertificate= as it is in its file, or in PEM form if it is somewhere else.
func (m *image) verityCertificate(ctx context.Context) ([]byte, error) {
	r := output.VerityReference(m.Image)
	if t := m.VerityCertificateSource.Type; t == "" || t == "file" {
		return os.ReadFile(r.Certificate)
	}
	cert, err := output.LoadCertificate(ctx, m.Image, r)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), nil
}

// writeMachineID writes machine-id(5). "uninitialized" makes the first boot choose one; base trees keep what they have.
func (m *image) writeMachineID(root *os.Root) error {
	id := "uninitialized"
	switch {
	case m.MachineId != nil:
		id = strings.ReplaceAll(m.MachineId.String(), "-", "")
	case len(m.BaseTrees) > 0 || exists(root, "etc/machine-id") || !exists(root, "etc"):
		return nil
	}
	return writeFile(root, "etc/machine-id", []byte(id+"\n"), 0o444)
}

// systemTool is a program of systemd that completes a tree from configuration in it.
type systemTool struct {
	text string
	// argv, with paths as the tool sees them with the tree as its root directory.
	argv []string
	// config are directories of the tree; without any file in them there is nothing to do.
	config []string
	// accept are exit codes that mean no more than a complaint.
	accept []int
}

// tmpfilesPartly are the exit codes of systemd-tmpfiles(8) for lines that it did not understand and for entries that
// it could not create. Neither is worth an image: the lines are tried again at every boot.
var tmpfilesPartly = []int{65, 73}

var (
	hwdbTool = systemTool{
		text:   "generating the hardware database",
		argv:   []string{"systemd-hwdb", "--usr", "--strict", "update"},
		config: []string{"usr/lib/udev/hwdb.d", "etc/udev/hwdb.d"},
	}
	sysusersTool = systemTool{
		text:   "creating system users",
		argv:   []string{"systemd-sysusers"},
		config: []string{"usr/lib/sysusers.d", "etc/sysusers.d"},
	}
	tmpfilesTool = systemTool{
		text: "creating volatile files",
		argv: []string{"systemd-tmpfiles", "--boot", "--create", "--remove",
			"--exclude-prefix=/tmp", "--exclude-prefix=/var/tmp", "--exclude-prefix=/run",
			"--exclude-prefix=/proc", "--exclude-prefix=/sys", "--exclude-prefix=/dev"},
		config: []string{"usr/lib/tmpfiles.d", "etc/tmpfiles.d"},
		accept: tmpfilesPartly,
	}
	presetTool = systemTool{
		text:   "applying presets",
		argv:   []string{"systemctl", "preset-all"},
		config: []string{"usr/lib/systemd/system", "etc/systemd/system"},
	}
	globalPresetTool = systemTool{
		text:   "applying presets for users",
		argv:   []string{"systemctl", "--global", "preset-all"},
		config: []string{"usr/lib/systemd/user", "etc/systemd/user"},
	}
)

// runSystemTools completes the tree as the first boot would. The hardware database is made beside the rest, which it
// has nothing to do with, unless the tree lacks the directories that sandboxes mount upon and that the first one to end
// would take away from the other.
func (m *image) runSystemTools(ctx context.Context) error {
	if m.onlyAdditions() {
		return nil
	}
	hwdb := make(chan error, 1)
	runHWDB := func() { hwdb <- m.b.guard(func() error { return m.runHWDB(ctx) }) }
	if m.hasMountPoints() {
		go runHWDB()
	} else {
		runHWDB()
	}
	var err error
	for _, t := range []systemTool{sysusersTool, tmpfilesTool, presetTool, globalPresetTool} {
		if err = m.runSystemTool(ctx, t); err != nil {
			break
		}
	}
	return errors.Join(err, <-hwdb)
}

func (m *image) hasMountPoints() bool {
	for _, dir := range []string{"dev", "proc", "run", "tmp"} {
		if fi, err := os.Lstat(filepath.Join(m.root, dir)); err != nil || !fi.IsDir() {
			return false
		}
	}
	return true
}

// runHWDB makes the hardware database, unless the tree has one that is newer than everything it is made from, which an
// image made from another one mostly has.
func (m *image) runHWDB(ctx context.Context) error {
	root, err := os.OpenRoot(m.root)
	if err != nil {
		return err
	}
	defer root.Close()
	if upToDate(root, "usr/lib/udev/hwdb.bin", hwdbTool.config) {
		return nil
	}
	return m.runSystemTool(ctx, hwdbTool)
}

// upToDate reports whether a file of a tree is newer than the directories and all that lies in them.
func upToDate(root *os.Root, name string, dirs []string) bool {
	fi, err := root.Stat(name)
	if err != nil {
		return false
	}
	for _, dir := range dirs {
		err := fs.WalkDir(root.FS(), dir, func(_ string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil || info.ModTime().After(fi.ModTime()) {
				return errors.Join(err, errors.New("newer"))
			}
			return nil
		})
		if err != nil {
			return false
		}
	}
	return true
}

// runSystemTool runs one tool on the tree if there is something for it to do: the image's own copy where the machine
// can run it, for it understands the image's configuration and gives the same result on every host; else the host's.
func (m *image) runSystemTool(ctx context.Context, t systemTool) error {
	root, err := os.OpenRoot(m.root)
	if err != nil {
		return err
	}
	defer root.Close()
	if !slices.ContainsFunc(t.config, func(dir string) bool { return hasFiles(root, dir) }) {
		return nil
	}
	name := t.argv[0]
	inImage := m.runsInImage(root, name)
	if _, err := host.FindTool(name); err != nil && !inImage {
		if exists(root, systemdPath) {
			m.b.UI.Warnf(m.Image.Image, "%s runs neither from the image nor on this machine: %s is left to the first boot", name, t.text)
		}
		return nil
	}
	return m.step(t.text, func() error {
		var err error
		if inImage {
			err = m.runInImage(ctx, t.argv)
		} else {
			err = m.runOnTree(ctx, append([]string{name, "--root=" + pkgmgr.BuildRoot}, t.argv[1:]...))
		}
		var exit *sandbox.ExitError
		if errors.As(err, &exit) && slices.Contains(t.accept, exit.Code) {
			m.b.UI.Debugf(m.Image.Image, "%v", err)
			return nil
		}
		return err
	})
}

// runsInImage reports whether the tree has a program, and this machine can run it.
func (m *image) runsInImage(root *os.Root, name string) bool {
	there := exists(root, path.Join("usr/bin", name)) || exists(root, path.Join("usr/sbin", name))
	return there && string(m.Architecture) == m.b.Host.Architecture
}

func hasFiles(root *os.Root, dir string) bool {
	f, err := root.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	names, _ := f.Readdirnames(1)
	return len(names) > 0
}

// applyFirstBoot applies the settings that systemd-firstboot(1) would ask for.
func (m *image) applyFirstBoot(context.Context) error {
	if m.onlyAdditions() {
		return nil
	}
	root, err := os.OpenRoot(m.root)
	if err != nil {
		return err
	}
	defer root.Close()
	now := time.Now().Unix()
	if m.SourceDateEpoch != nil {
		now = *m.SourceDateEpoch
	}
	return firstBoot(root, m.Image, now/(24*60*60))
}
