package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/keys"
	"github.com/mkosi-go/mkosi/internal/machine"
	"github.com/mkosi-go/mkosi/internal/machine/console"
	"github.com/mkosi-go/mkosi/internal/machine/remote"
	"github.com/mkosi-go/mkosi/internal/machine/running"
)

// ssh opens a shell in a running machine, or runs a command there. The exit code is that of the command.
func (a *app) ssh(ctx context.Context) error {
	main := a.cfg.Main()
	line, terminal, err := sshArguments(a.cfg.VerbArgs, console.IsTerminal(os.Stdin))
	if err != nil {
		return err
	}
	if main.SshKey == "" {
		return &config.Error{Setting: "SshKey", Msg: "there is no key to log in with: SshKey= is not set", Hint: "mkosi genkey makes one; the machine has to be started anew then"}
	}
	dir, err := running.Dir(a.host.UID, a.host.Environment)
	if err != nil {
		return err
	}
	m, err := running.Find(dir, machine.Name(main))
	if err != nil {
		return err
	}
	key, err := keys.LoadKey(main.SshKey)
	if err != nil {
		return fmt.Errorf("reading SshKey=: %w", err)
	}
	client, err := remote.Dial(ctx, m, key)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go remote.KeepAlive(ctx, client)
	command := remote.Command{Line: line, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	run := session
	if terminal {
		command.Terminal, command.Term = true, cmp.Or(a.host.Environment["TERM"], "dumb")
		run = terminalSession
	}
	status, err := run(ctx, client, command)
	if err == nil && status != 0 {
		return commandExit(status)
	}
	return err
}

// sshArguments reads what follows the verb: options of ssh that this client knows, and a command for the shell of the
// guest. By default a session gets a terminal if it is a login and there is one, as with ssh.
func sshArguments(args []string, terminal bool) (line string, withTerminal bool, err error) {
	never, always := false, false
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		option := args[0]
		args = args[1:]
		switch option {
		case "--":
		case "-t", "-tt":
			always = true
		case "-T":
			never = true
		default:
			return "", false, &config.Error{Msg: fmt.Sprintf("mkosi ssh does not take the option %s of ssh: its client is its own, and knows -t and -T", option)}
		}
		if option == "--" {
			break
		}
	}
	line = strings.Join(args, " ")
	return line, terminal && !never && (always || line == ""), nil
}

// session runs a command without a terminal.
func session(ctx context.Context, client *ssh.Client, c remote.Command) (status int, err error) {
	s, err := remote.Start(ctx, client, c)
	if err != nil {
		return 0, err
	}
	return s.Wait()
}

// terminalSession runs a command on the user's terminal.
func terminalSession(ctx context.Context, client *ssh.Client, c remote.Command) (status int, err error) {
	attached, err := console.Attach(os.Stdin, os.Stdout)
	if err != nil {
		return 0, err
	}
	defer attached.Close()
	c.Stdin = attached.Input
	c.Columns, c.Rows = console.Size(os.Stdin)
	s, err := remote.Start(ctx, client, c)
	if err != nil {
		return 0, err
	}
	defer console.OnResize(func() { s.Resize(console.Size(os.Stdin)) })()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-attached.Left():
			client.Close()
		case <-ended:
		}
	}()
	status, err = s.Wait()
	select {
	case <-attached.Left(): // which is why the connection is lost
		return 0, nil
	default:
		return status, err
	}
}
