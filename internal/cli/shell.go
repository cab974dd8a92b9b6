package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/script"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// shell runs a shell or another command in the image, which must be a directory. It is built first with --force only.
func (a *app) shell(ctx context.Context) (err error) {
	main := a.cfg.Main()
	if err := refuseShell(main); err != nil {
		return err
	}
	if a.cfg.Options.Force > 0 {
		if err := a.build(ctx); err != nil {
			return err
		}
		a.ui.Close()
	}
	cmd, done, err := a.shellCommand(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	err = cmd.Run(ctx)
	var exit *sandbox.ExitError
	if ctx.Err() == nil && errors.As(err, &exit) {
		return commandExit(script.ExitCode(exit))
	}
	return err
}

// commandExit is the exit code of a command that the user ran. There is nothing to say about it.
type commandExit int

func (e commandExit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// refuseShell names what mkosi shell cannot do.
func refuseShell(img *config.Image) error {
	var problems []error
	refuse := func(hint, format string, args ...any) {
		problems = append(problems, &config.Error{Msg: fmt.Sprintf(format, args...), Hint: hint})
	}
	if img.Format != config.FormatDirectory {
		refuse("set Format=directory, for example with --format=directory", "mkosi shell with Format=%s is not supported yet, only with Format=directory", img.Format)
	}
	if img.NSpawnSettings != "" {
		refuse("", "mkosi shell does not support NSpawnSettings= (%s) yet", img.NSpawnSettings)
	}
	if img.BindUser {
		refuse("", "mkosi shell does not support BindUser= yet")
	}
	if img.RuntimeNetwork == config.NetworkInterface {
		refuse("RuntimeNetwork=user shares the network of this machine", "mkosi shell does not support RuntimeNetwork=interface yet")
	}
	return errors.Join(problems...)
}

// shellCommand is the command that mkosi shell runs. done is to be called when it has ended.
func (a *app) shellCommand(ctx context.Context) (cmd *sandbox.Cmd, done func() error, err error) {
	main := a.cfg.Main()
	image := main.OutputPath(a.cfg.Dir)
	root, err := os.OpenRoot(image)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("image %s is not built yet", main.Image)
		return nil, nil, &hintError{err, "build it with mkosi build, or add --force to build it now"}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("opening the image: %w", err)
	}
	defer root.Close()
	cmd = &sandbox.Cmd{
		Args:     a.cfg.VerbArgs,
		Env:      a.shellEnv(),
		Dir:      "/",
		Hostname: cmp.Or(main.Machine, main.Image),
		Network:  main.RuntimeNetwork != config.NetworkNone,
		Stdin:    os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		SuppressChown: sandbox.Current().SingleUser,
		Confine:       true,
	}
	if len(cmd.Args) == 0 {
		cmd.Args = loginShell(root)
	}
	if isDir(root, "root") {
		cmd.Dir = "/root"
	}
	ops := sandbox.Chroot(image)
	done = func() error { return nil }
	if main.Ephemeral {
		staging, err := tree.Stage(ctx, filepath.Dir(image))
		if err != nil {
			return nil, nil, fmt.Errorf("making a place for the changes to the image: %w", err)
		}
		done = staging.Close
		if ops[0], err = ephemeral(image, staging); err != nil {
			return nil, nil, errors.Join(err, done())
		}
	}
	cmd.Ops = append(ops, a.runtimeMounts(cmd.Network && isDir(root, "etc"))...)
	return cmd, done, nil
}

// ephemeral is the image as root directory, with changes that go away with the staging directory.
func ephemeral(image string, staging *tree.Staging) (sandbox.Op, error) {
	layers := sandbox.OverlayLayers{Lower: []string{image}, Upper: staging.Path("changes"), Work: staging.Path("work")}
	info, err := os.Stat(image)
	if err != nil {
		return sandbox.Op{}, err
	}
	for _, dir := range []string{layers.Upper, layers.Work} {
		if err := os.Mkdir(dir, info.Mode().Perm()); err != nil {
			return sandbox.Op{}, err
		}
	}
	return sandbox.Overlay(layers, "/"), nil
}

// runtimeMounts are what the settings of [Runtime] put into the running image. resolve also gives it this machine's name
// resolution.
func (a *app) runtimeMounts(resolve bool) []sandbox.Op {
	main := a.cfg.Main()
	var ops []sandbox.Op
	if resolve {
		ops = append(ops, sandbox.BindReadOnly("/etc/resolv.conf", "/etc/resolv.conf").Try())
	}
	for _, t := range main.RuntimeTrees {
		target := t.Target
		if !path.IsAbs(target) {
			target = path.Join(runtimeTreesDir, target)
		}
		ops = append(ops, sandbox.Bind(t.Source, target))
	}
	if main.RuntimeBuildSources {
		for _, t := range script.Sources(main) {
			ops = append(ops, sandbox.Bind(t.Source, t.Target))
		}
		if dir := main.BuildSubdirectory(); dir != "" {
			ops = append(ops, sandbox.Bind(dir, script.BuildDir).Try())
		}
	}
	for _, c := range main.Credentials {
		ops = append(ops, sandbox.WriteFile(path.Join(credentialsDir, c.Name), []byte(c.Value), 0o400))
	}
	return ops
}

const (
	// runtimeTreesDir is where RuntimeTrees= without an absolute target go.
	runtimeTreesDir = "/root/src"
	// credentialsDir is where systemd-nspawn(1) puts credentials.
	credentialsDir = "/run/host/credentials"
)

// shellEnv is the environment of a command in the image.
func (a *app) shellEnv() []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "USER=root", "LOGNAME=root",
		// systemd.io/CONTAINER_INTERFACE: programs that ask know by it that they are in a container.
		"container=mkosi",
	}
	for _, name := range []string{"TERM", "COLORTERM", "NO_COLOR"} {
		if value, ok := a.host.Environment[name]; ok {
			env = append(env, name+"="+value)
		}
	}
	if len(a.cfg.Main().Credentials) > 0 {
		env = append(env, "CREDENTIALS_DIRECTORY="+credentialsDir)
	}
	return env
}

// loginShell is the shell of an image.
func loginShell(root *os.Root) []string {
	for _, bash := range []string{"usr/bin/bash", "bin/bash"} {
		if info, err := root.Stat(bash); err == nil && info.Mode().IsRegular() {
			return []string{"/" + bash, "--login"}
		}
	}
	return []string{"/bin/sh", "-l"}
}

func isDir(root *os.Root, name string) bool {
	info, err := root.Stat(name)
	return err == nil && info.IsDir()
}
