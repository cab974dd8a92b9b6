package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/script"
)

// share is a directory of this host that the guest sees.
type share struct {
	source string
	tag    string // its name for the guest; for all but the root file system where it is mounted
	root   bool   // the root file system
}

const (
	// rootTag is the tag of a root file system.
	rootTag = "root"
	// runtimeTreesDir is where RuntimeTrees= without an absolute target go.
	runtimeTreesDir = "/root/src"
	// maxTag is how many bytes a tag can have: virtio, section 5.11.4.
	maxTag = 36
)

// planShares lists the directories that the guest sees and finds the program that shows them.
func (m *Machine) planShares() error {
	if m.img.Format == config.FormatDirectory && !m.vmspawn() {
		m.shares = append(m.shares, share{m.image, rootTag, true})
	}
	if m.img.RuntimeBuildSources {
		for _, t := range script.Sources(m.img) {
			m.shares = append(m.shares, share{source: t.Source, tag: t.Target})
		}
		// The directory is made by the first build script.
		if dir := m.img.BuildSubdirectory(); dir != "" && isDir(dir) {
			m.shares = append(m.shares, share{source: dir, tag: script.BuildDir})
		}
	}
	for _, t := range m.img.RuntimeTrees {
		target := t.Target
		if !path.IsAbs(target) {
			target = path.Join(runtimeTreesDir, target)
		}
		m.shares = append(m.shares, share{source: t.Source, tag: target})
	}
	if err := m.checkShares(); err != nil || len(m.shares) == 0 || m.vmspawn() {
		return err
	}
	m.mountShares()
	var err error
	if m.virtiofs, err = m.tools.find("virtiofsd"); err != nil {
		return m.missing(softwareVirtiofs, err)
	}
	return nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// mountShares has the guest's systemd mount the directories, but for its root file system.
func (m *Machine) mountShares() {
	var table strings.Builder
	for _, s := range m.shares {
		if !s.root {
			// x-initrd.mount: the kernel's driver may be in the initrd only, and services may want the directory early.
			fmt.Fprintf(&table, "%s %[1]s virtiofs x-initrd.mount\n", tableEscapes.Replace(s.tag))
		}
	}
	if table.Len() > 0 {
		m.credentials["fstab.extra"] = table.String() + m.credentials["fstab.extra"]
	}
}

// tableEscapes write a path for fstab(5).
var tableEscapes = strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`)

// checkShares refuses what cannot be shared.
func (m *Machine) checkShares() error {
	for _, s := range m.shares {
		if info, err := os.Stat(s.source); err != nil {
			return fmt.Errorf("sharing a directory with the machine: %w", err)
		} else if !info.IsDir() {
			return fmt.Errorf("sharing a directory with the machine: %s is none", s.source)
		}
		if len(s.tag) > maxTag && !m.vmspawn() {
			return fmt.Errorf("%s cannot be shown to the machine at %s: such a path may have %d bytes", s.source, s.tag, maxTag)
		}
	}
	return nil
}

// startShares starts what shows each directory.
func (r *running) startShares(ctx context.Context) error {
	if r.m.vmspawn() {
		return nil
	}
	for i, s := range r.m.shares {
		socket, err := r.startShare(ctx, i, s)
		if err != nil {
			return fmt.Errorf("sharing %s with the machine: %w", s.source, err)
		}
		r.shares = append(r.shares, socket)
	}
	return nil
}

func (r *running) startShare(ctx context.Context, i int, s share) (socket string, err error) {
	const inside = "/shared"
	handles, view := "never", sandbox.Bind(s.source, inside)
	if s.root {
		handles = "prefer"
		if r.m.img.Ephemeral {
			if view, err = r.changesApart(s.source, inside); err != nil {
				return "", err
			}
		}
	}
	socket = filepath.Join(r.dir, fmt.Sprintf("share-%d", i))
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return "", err
	}
	listener.SetUnlinkOnClose(false)
	f, err := listener.File()
	if err := errors.Join(err, listener.Close()); err != nil {
		return "", err
	}
	cmd := r.m.tools.narrow([]string{
		r.m.virtiofs, "--shared-dir", inside, "--xattr", "--no-announce-submounts", "--sandbox=chroot",
		"--inode-file-handles=" + handles, "--log-level=error", "--modcaps=-mknod", "--fd", "3",
	}, view)
	cmd.DropCapabilities = hardware()
	r.start(ctx, "the program that shares "+s.source, cmd, f)
	return socket, nil
}

// changesApart shows a directory so that it does not change: what the guest writes goes away with the run.
func (r *running) changesApart(source, target string) (sandbox.Op, error) {
	staging, err := r.beside(source)
	if err != nil {
		return sandbox.Op{}, err
	}
	layers := sandbox.OverlayLayers{Lower: []string{source}, Upper: staging.Path("changes"), Work: staging.Path("work")}
	info, err := os.Stat(source)
	if err != nil {
		return sandbox.Op{}, err
	}
	for _, dir := range []string{layers.Upper, layers.Work} {
		if err := errors.Join(os.Mkdir(dir, 0o700), unix.Chmod(dir, uint32(info.Mode().Perm()))); err != nil {
			return sandbox.Op{}, err
		}
	}
	return sandbox.Overlay(layers, target), nil
}
