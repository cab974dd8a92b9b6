package build

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/pkgmgr"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/shellwords"
)

// toolPath is where programs that work on a tree are looked for.
const toolPath = "/usr/sbin:/usr/bin:/sbin:/bin"

// toolEnv is the environment of every program that works on a tree, but for its PATH. Nothing of the caller's gets in: a build depends on
// its configuration alone.
func (m *image) toolEnv() []string {
	env := []string{
		"HOME=/",
		"LANG=C.UTF-8",
		"TERM=dumb",
		"SYSTEMD_OFFLINE=1",
		"SYSTEMD_LOG_LEVEL=notice",
	}
	if m.SourceDateEpoch != nil {
		env = append(env, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", *m.SourceDateEpoch))
	}
	return env
}

// runInImage runs a program of the image with the tree as its root directory.
func (m *image) runInImage(ctx context.Context, argv []string) error {
	return m.runImageTool(ctx, program.Command{Args: argv})
}

// runImageTool is runInImage for a program that is given more than arguments.
func (m *image) runImageTool(ctx context.Context, c program.Command) error {
	return m.b.run(ctx, m.Image.Image, &sandbox.Cmd{
		Args: c.Args, Env: append(append(m.toolEnv(), "PATH="+toolPath), c.Env...), Ops: sandbox.Chroot(m.root),
		DropCapabilities: sandbox.HostCapabilities(), Stdin: c.Stdin, Stdout: c.Stdout,
	})
}

// runOnTree runs a program of the host that sees the tree at /buildroot.
func (m *image) runOnTree(ctx context.Context, argv []string) error {
	return m.b.run(ctx, m.Image.Image, m.hostCommand(argv, sandbox.Bind(m.root, pkgmgr.BuildRoot)))
}

// runHostTool runs a program of the host that reads the tree and writes outputs, such as mkfs, with the paths that they
// have outside.
func (m *image) runHostTool(ctx context.Context, c program.Command) error {
	cmd := m.hostCommand(c.Args, sandbox.BindReadOnly(m.root, m.root), sandbox.Bind(m.outputs(), m.outputs()),
		sandbox.Bind(m.temporary(), m.temporary()))
	cmd.Env = append(cmd.Env, c.Env...)
	cmd.Stdin, cmd.Stdout = c.Stdin, c.Stdout
	if c.TrustedXattrs {
		drop := cmd.DropCapabilities
		cmd.DropCapabilities = slices.DeleteFunc(drop, func(c int) bool { return c == unix.CAP_SYS_ADMIN })
	}
	return m.b.run(ctx, m.Image.Image, cmd)
}

// hostCommand is a program of the host, or of ExtraSearchPaths=, that sees the host's programs and what ops show it.
func (m *image) hostCommand(argv []string, ops ...sandbox.Op) *sandbox.Cmd {
	system := sandbox.HostUsr()
	for _, dir := range m.ExtraSearchPaths {
		system = append(system, sandbox.BindReadOnly(dir, dir))
	}
	path := strings.Join(append(slices.Clone(m.ExtraSearchPaths), toolPath), ":")
	return &sandbox.Cmd{
		Args: argv, Env: append(m.toolEnv(), "PATH="+path), Ops: append(system, ops...),
		DropCapabilities: sandbox.HostCapabilities(),
	}
}

// runPackageTool runs a command of the package manager.
func (m *image) runPackageTool(ctx context.Context, c *sandbox.Cmd) error {
	return m.b.run(ctx, m.Image.Image, c)
}

// run completes a command for this session and runs it. What it prints is shown while debugging, and when it fails the
// last lines are part of the error.
func (b *Builder) run(ctx context.Context, image string, c *sandbox.Cmd) error {
	c.SuppressChown = c.SuppressChown || b.session.SingleUser
	// What is built is written out as a whole or thrown away; a tool that waits for the disk gains nothing.
	c.SuppressSync = true
	if b.Timing != nil {
		c.Used = func(u sandbox.Usage) { b.Timing.Used(image, u.CPU, u.Written) }
	}
	if b.UI.Debugging() {
		b.UI.Debugf(image, "running %s", shellwords.Join(c.Args))
	}
	if b.UI.Debugging() && c.Stderr == nil {
		w := b.UI.Writer(image)
		defer w.Close()
		c.Stderr = w
		if c.Stdout == nil {
			c.Stdout = c.Stderr
		}
	}
	if b.Config.Options.DebugSandbox {
		b.UI.Infof(image, "%s", describe(c))
	}
	err := c.Run(ctx)
	if err != nil && b.Config.Options.DebugShell {
		b.debugShell(ctx, image, c, err)
	}
	return err
}
