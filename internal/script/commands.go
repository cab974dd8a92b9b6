package script

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/mkosi-go/mkosi/internal/host"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// chrootCommand runs its arguments with the image as their root directory.
const chrootCommand = "mkosi-chroot"

// Where the commands come from: this program, and beside it what each of its names stands for.
const (
	commandProgram = CommandDir + "/mkosi-script"
	commandSpec    = CommandDir + "/mkosi-script.json"
)

// command is what one name in CommandDir stands for.
type command struct {
	// Args are the program and its first arguments; those of the caller follow. The program is looked up in PATH, where
	// CommandDir does not count. There are none for chrootCommand.
	Args []string `json:"args,omitempty"`
	// Env is set on top of the caller's environment, as NAME=value.
	Env []string `json:"env,omitempty"`
	// Image has the program run where programs of the image can run below the build root.
	Image bool `json:"image,omitempty"`
	// Chroot has the caller's arguments run with the image as their root directory.
	Chroot bool `json:"chroot,omitempty"`
	// Lists shows apt's lists to the program.
	Lists bool `json:"lists,omitempty"`
	// Network leaves the program the script's network.
	Network bool `json:"network,omitempty"`
	// Lock is a file to lock meanwhile, or "".
	Lock string `json:"lock,omitempty"`
}

// commandOps put the commands that act on the image into CommandDir.
func (v *View) commandOps(k Kind) ([]sandbox.Op, error) {
	commands := v.commands(k)
	spec, err := json.Marshal(commands)
	if err != nil {
		return nil, fmt.Errorf("describing the commands for scripts: %w", err)
	}
	program, err := thisProgram()
	if err != nil {
		return nil, fmt.Errorf("showing this program to scripts: %w", err)
	}
	ops := []sandbox.Op{sandbox.Dir(CommandDir, 0o755), sandbox.WriteFile(commandSpec, spec, 0o644), program}
	for name := range commands {
		ops = append(ops, sandbox.Symlink(path.Base(commandProgram), path.Join(CommandDir, name)))
	}
	return ops, nil
}

// thisProgram shows this program at commandProgram. If its file has been replaced since it was started, as an upgrade
// does, it has to be a copy.
func thisProgram() (sandbox.Op, error) {
	const self = "/proc/self/exe"
	running, err := os.Stat(self)
	if err != nil {
		return sandbox.Op{}, err
	}
	if path, err := os.Executable(); err == nil {
		if file, err := os.Stat(path); err == nil && os.SameFile(file, running) {
			return sandbox.BindReadOnly(path, commandProgram), nil
		}
	}
	data, err := os.ReadFile(self)
	if err != nil {
		return sandbox.Op{}, err
	}
	return sandbox.WriteFile(commandProgram, data, 0o755), nil
}

// commands returns the commands for a kind of scripts by their names. Those whose program the host lacks are not among
// them, so that scripts can ask for it.
func (v *View) commands(k Kind) map[string]command {
	list := map[string]command{
		"git":      {Args: []string{"git", "-c", "safe.directory=*"}},
		"groupadd": {Args: []string{"groupadd", "--root", buildRoot}},
		"useradd":  {Args: []string{"useradd", "--root", buildRoot}},
	}
	if v.Tools != nil {
		for _, c := range v.Tools.Commands {
			list[c.Name] = command{Args: c.Args, Env: c.Env, Image: c.Image, Lists: c.Lists, Network: c.Network, Lock: c.Lock}
		}
	}
	for name, c := range list {
		if !v.hasProgram(c.Args[0]) {
			delete(list, name)
		}
	}
	list[chrootCommand] = command{Chroot: true, Network: k.Network(v.Image)}
	return list
}

// hasProgram reports whether scripts find a program outside of CommandDir.
func (v *View) hasProgram(name string) bool {
	_, err := host.FindIn(name, v.searchPath(Sync))
	return err == nil
}

// maxSpec limits the description of the commands, in bytes.
const maxSpec = 1 << 20

// parseCommands reads what commandOps wrote.
func parseCommands(data []byte) (map[string]command, error) {
	if len(data) > maxSpec {
		return nil, fmt.Errorf("it has more than %d bytes", maxSpec)
	}
	var commands map[string]command
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&commands); err != nil {
		return nil, err
	}
	if decoder.More() {
		return nil, errors.New("there is more after its end")
	}
	for name, c := range commands {
		if name == "" || strings.Contains(name, "/") {
			return nil, fmt.Errorf("%q is not the name of a command", name)
		}
		if len(c.Args) == 0 && !c.Chroot {
			return nil, fmt.Errorf("the command %s stands for nothing", name)
		}
	}
	return commands, nil
}
