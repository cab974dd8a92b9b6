package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/pkgmgr"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// selinuxPolicy is the policy of a tree, as paths in it.
type selinuxPolicy struct {
	binary   string // the compiled policy, which says what labels there are
	contexts string // file_contexts(5), which says what is labelled how
}

// relabel gives every file the label that the image's SELinux policy has for it, for SELinuxRelabel=.
func (m *image) relabel(ctx context.Context) error {
	auto := m.SELinuxRelabel == config.Auto
	if m.SELinuxRelabel == config.Disabled || auto && m.Format == config.FormatDirectory {
		return nil
	}
	root, err := os.OpenRoot(m.root)
	if err != nil {
		return err
	}
	defer root.Close()
	policy, err := findPolicy(root)
	if errors.Is(err, errNoPolicy) && auto {
		return nil
	}
	if err != nil {
		return fmt.Errorf("labelling files for SELinuxRelabel=: %w", err)
	}
	cmd, err := m.setfiles(root, policy, Installed)
	if err != nil {
		if auto {
			return nil
		}
		return err
	}
	err = m.step("labelling files for SELinux", func() error {
		err := m.b.run(ctx, m.Image.Image, cmd)
		var exit *sandbox.ExitError
		if auto && errors.As(err, &exit) {
			m.b.UI.Debugf(m.Image.Image, "%v", err)
			return nil
		}
		return err
	})
	return err
}

// setfiles is the command that labels the tree: with the image's own setfiles(8) where the machine can run it, for it
// reads the image's policy whatever version that has; else with the machine's. installed is usually [Installed].
func (m *image) setfiles(root *os.Root, policy *selinuxPolicy, installed func(name string) bool) (*sandbox.Cmd, error) {
	inImage := string(m.Architecture) == m.b.Host.Architecture &&
		(isExecutable(root, "usr/sbin/setfiles") || isExecutable(root, "usr/bin/setfiles"))
	var cmd *sandbox.Cmd
	// It sees the tree once more, below another directory: in its own root directory mounts hide parts of it.
	tree := pkgmgr.BuildRoot
	if inImage {
		tree = "/run" + pkgmgr.BuildRoot
		cmd = &sandbox.Cmd{
			Env: append(m.toolEnv(), "PATH="+toolPath), Ops: append(sandbox.Chroot(m.root), sandbox.Bind(m.root, tree)),
			DropCapabilities: sandbox.HostCapabilities(),
		}
	} else {
		if !installed("setfiles") && !hasProgram(m.ExtraSearchPaths, "setfiles") {
			return nil, errors.New("SELinuxRelabel=yes needs setfiles, which neither the image nor this machine has: install the package policycoreutils in one of them")
		}
		cmd = m.hostCommand(nil, sandbox.Bind(m.root, tree))
	}
	cmd.Args = []string{"setfiles", "-m", "-F", "-r", tree, "-c", path.Join(tree, policy.binary), path.Join(tree, policy.contexts), tree}
	// Labels are extended attributes in the namespace security.
	cmd.DropCapabilities = slices.DeleteFunc(cmd.DropCapabilities, func(c int) bool { return c == unix.CAP_SYS_ADMIN })
	return cmd, nil
}

// errNoPolicy is in the error about a tree without an SELinux policy.
var errNoPolicy = errors.New("there is no SELinux policy in the image")

// findPolicy finds the policy that selinux_config(5) names, and of its compiled forms that of the highest version.
func findPolicy(root *os.Root) (*selinuxPolicy, error) {
	const dir = "etc/selinux"
	text, err := readFileLimited(root, dir+"/config", 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoPolicy
	}
	if err != nil {
		return nil, err
	}
	name := policyName(text)
	if name == "" {
		return nil, fmt.Errorf("%w: %s/config names none in SELINUXTYPE=", errNoPolicy, dir)
	}
	p := &selinuxPolicy{contexts: path.Join(dir, name, "contexts/files/file_contexts")}
	if !exists(root, p.contexts) {
		return nil, fmt.Errorf("%w: %s does not exist", errNoPolicy, p.contexts)
	}
	entries, err := fs.ReadDir(root.FS(), path.Join(dir, name, "policy"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking for the SELinux policy: %w", err)
	}
	highest := uint64(0)
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), "policy.")
		if version, err := strconv.ParseUint(number, 10, 16); ok && err == nil && version > highest {
			highest, p.binary = version, path.Join(dir, name, "policy", e.Name())
		}
	}
	if highest == 0 {
		return nil, fmt.Errorf("%w: %s/%s/policy holds no file policy.VERSION", errNoPolicy, dir, name)
	}
	return p, nil
}

// policyName returns SELINUXTYPE= of selinux_config(5); "" if there is none, or none that is the name of a directory.
func policyName(text []byte) string {
	name := ""
	for line := range bytes.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "SELINUXTYPE="); ok {
			name = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	if name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, "-") {
		return ""
	}
	return name
}
