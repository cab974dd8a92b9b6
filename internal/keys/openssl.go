package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/mkosi-go/mkosi/internal/host"
)

// Command is one call of the openssl program.
type Command struct {
	// Args are its arguments, without its name.
	Args []string
	// Stdin is what it reads.
	Stdin []byte
	// Secret is what it reads from file descriptor 3, once; nil stands for no such descriptor.
	Secret []byte
}

// RunFunc runs openssl and returns what it wrote to standard output, also when it fails. The error then holds what it
// said on standard error, and that of a program that is not there wraps exec.ErrNotFound.
type RunFunc func(ctx context.Context, c Command) ([]byte, error)

// OpenSSL is the openssl program of this machine. It sees the whole system: modules for tokens have files, sockets and
// devices wherever they like.
type OpenSSL struct {
	// Dirs are the directories in which it is looked for; those that are not absolute are passed over.
	Dirs []string
	// Env is its environment as NAME=value, which modules for tokens are configured with.
	Env []string
}

// waitDelay is how long the output of a program that has ended is still read. A module for tokens may leave a process
// behind, an agent for instance, that holds it open for ever.
const waitDelay = time.Second

// Run is a [RunFunc]. The program has no terminal, so that nothing waits for a PIN that nobody is asked for.
func (o OpenSSL) Run(ctx context.Context, c Command) ([]byte, error) {
	path, err := host.FindIn("openssl", o.Dirs)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, c.Args...)
	cmd.Env = append(append([]string{}, o.Env...), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stdin = bytes.NewReader(c.Stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = waitDelay
	if c.Secret != nil {
		secret, err := pipe(c.Secret)
		if err != nil {
			return nil, fmt.Errorf("passing a PIN on: %w", err)
		}
		defer secret.Close()
		cmd.ExtraFiles = []*os.File{secret}
	}
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil // the program itself has said all that it had to say
	}
	if err != nil {
		err = fmt.Errorf("openssl %s: %w", c.Args[0], err)
		if said := lastLines(stderr.Bytes()); said != "" {
			err = fmt.Errorf("%w:\n%s", err, said)
		}
	}
	return stdout.Bytes(), err
}

// maxSecret bounds a PIN or passphrase: a pipe holds that much before anybody reads it.
const maxSecret = 4096

// pipe returns the end of a pipe from which data is read.
func pipe(data []byte) (*os.File, error) {
	if len(data) > maxSecret {
		return nil, fmt.Errorf("it is longer than %d bytes", maxSecret)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	_, err = w.Write(append(bytes.Clone(data), '\n'))
	if err = errors.Join(err, w.Close()); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}
