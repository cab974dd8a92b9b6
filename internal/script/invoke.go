package script

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/pkgmgr"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// Invoked returns the name by which a script has called this program as one of the commands in CommandDir. Under any
// other circumstances ok is false, whatever this program's file is called.
func Invoked() (name string, ok bool) {
	if exe, err := os.Executable(); err != nil || exe != commandProgram || len(os.Args) == 0 {
		return "", false
	}
	name = filepath.Base(os.Args[0])
	return name, name != filepath.Base(commandProgram)
}

// Run runs the command name of CommandDir with the arguments, environment and standard streams of this process. A command
// that runs and fails gives a *[sandbox.ExitError]; see [ExitCode].
func Run(ctx context.Context, name string, args []string) error {
	commands, err := readCommands()
	if err != nil {
		return fmt.Errorf("reading %s: %w", commandSpec, err)
	}
	c, ok := commands[name]
	if !ok {
		return fmt.Errorf("there is no command %s for scripts", name)
	}
	if c.Lock != "" {
		l := flock.New(c.Lock)
		if ok, err := l.TryLockContext(ctx, 50*time.Millisecond); !ok {
			return fmt.Errorf("waiting for another build to finish with the package cache: %w", cmp.Or(err, context.Cause(ctx)))
		}
		defer l.Unlock()
	}
	switch {
	case c.Chroot:
		return run(ctx, chroot(c, args))
	case c.Image:
		return run(ctx, onTree(c, args))
	}
	return replace(c, args)
}

func readCommands() (map[string]command, error) {
	f, err := os.Open(commandSpec)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSpec+1))
	if err != nil {
		return nil, err
	}
	return parseCommands(data)
}

// run runs a command in a sandbox within the script's.
func run(ctx context.Context, cmd *sandbox.Cmd) error {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SuppressSync = true
	return cmd.Run(ctx)
}

// chroot is a command with the image as its root directory, or a shell of the image.
func chroot(c command, args []string) *sandbox.Cmd {
	if len(args) == 0 {
		args = []string{"sh", "-c", "command -v bash >/dev/null && exec bash; exec sh"}
	}
	ops := append(sandbox.Chroot(buildRoot),
		sandbox.WriteFile("/run/host/container-manager", []byte("mkosi"), 0o644),
		sandbox.Dir("/run/user/0", 0o755),
		sandbox.Bind("/var/tmp", "/var/tmp"),
		sandbox.Bind(workDir, workDir),
	)
	if c.Network {
		ops = append(ops, sandbox.BindReadOnly("/etc/resolv.conf", "/etc/resolv.conf").Try())
	}
	env := chrootEnvironment(os.Environ())
	return &sandbox.Cmd{Args: args, Env: env, Dir: SourceDir, Ops: ops, Network: true, SuppressChown: suppressesChown(env)}
}

// chrootEnvironment is the environment of a script as it has to be with the image as the root directory. What is mounted
// keeps its place, so that $SRCDIR and its like stay as they are.
func chrootEnvironment(outside []string) []string {
	return lastOfEach(append(slices.Clone(outside), "BUILDROOT=/", "HOME=/", "PATH=/usr/bin:/usr/sbin", "container=mkosi"))
}

// suppressesChown tells whether the script asks for the chown family to do nothing.
func suppressesChown(env []string) bool {
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, "MKOSI_CHROOT_SUPPRESS_CHOWN="); ok {
			return slices.Contains([]string{"1", "y", "yes", "t", "true", "on"}, strings.ToLower(value))
		}
	}
	return false
}

// onTree is a command of the host that runs programs of the image as well.
func onTree(c command, args []string) *sandbox.Cmd {
	ops := append([]sandbox.Op{sandbox.Bind("/", "/")}, pkgmgr.CommandOps(c.Lists, args)...)
	dir, err := os.Getwd()
	if err != nil {
		dir = SourceDir
	}
	return &sandbox.Cmd{
		Args: slices.Concat(c.Args, args), Env: lastOfEach(append(os.Environ(), c.Env...)), Dir: dir,
		Ops: ops, Network: c.Network, DropCapabilities: sandbox.HostCapabilities(),
	}
}

// replace becomes a command of the host. It only returns if that fails.
func replace(c command, args []string) error {
	env := lastOfEach(append(os.Environ(), c.Env...))
	program, err := lookPath(c.Args[0])
	if err != nil {
		return err
	}
	err = unix.Exec(program, slices.Concat(c.Args, args), env)
	return fmt.Errorf("running %s: %w", program, err)
}

// lookPath finds a program in PATH, but for CommandDir.
func lookPath(name string) (string, error) {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		file := filepath.Join(dir, name)
		if filepath.Clean(dir) == CommandDir {
			continue
		}
		if fi, err := os.Stat(file); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("finding %s in PATH: %w", name, fs.ErrNotExist)
}

// lastOfEach keeps of variables that are given more than once the last.
func lastOfEach(env []string) []string {
	last := map[string]int{}
	for i, e := range env {
		name, _, _ := strings.Cut(e, "=")
		last[name] = i
	}
	var list []string
	for i, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if last[name] == i {
			list = append(list, e)
		}
	}
	return list
}

// ExitCode is the exit code for an error of [Run], as a shell would have it: that of the command, 128 and the number of
// the signal that killed it, 127 for a program that is not there, 126 for one that cannot be run, else 125.
func ExitCode(err error) int {
	var exit *sandbox.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.Signal != 0:
		return 128 + int(exit.Signal)
	case exit != nil:
		return exit.Code
	case errors.Is(err, fs.ErrNotExist):
		return 127
	case errors.Is(err, fs.ErrPermission):
		return 126
	}
	return 125
}
