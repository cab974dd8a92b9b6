// Package program runs the programs that make file systems, and says which one
// is missing or too old.
package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"strings"
)

// Command is a program that is to be run.
type Command struct {
	// Args are the program's name and its arguments.
	Args []string
	// Env holds variables in the form NAME=value that are added to a minimal
	// environment.
	Env []string
	// Stdin is what the program reads; nil is nothing.
	Stdin io.Reader
	// TrustedXattrs says that the program has to see the extended attributes in
	// the namespace trusted, for which it needs the capability CAP_SYS_ADMIN.
	// Without it, it would leave them out and say nothing.
	TrustedXattrs bool
	// Stdout gets what the program writes to standard output; with nil it is
	// only kept for the error.
	Stdout io.Writer
}

// RunFunc runs a command to its end, and does not return before the last Read
// of its Stdin has. The error of a program that fails must hold what it said on
// standard error, that of one that does not exist must wrap fs.ErrNotExist.
type RunFunc func(ctx context.Context, c Command) error

// Run is a RunFunc that runs programs of this machine.
func Run(ctx context.Context, c Command) error {
	name := c.Args[0]
	cmd := exec.CommandContext(ctx, name, c.Args[1:]...)
	if path := find(name); path != "" {
		cmd.Path, cmd.Err = path, nil
	}
	cmd.Env = append([]string{"PATH=" + searchPath, "LC_ALL=C"}, c.Env...)
	cmd.Stdin = c.Stdin
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("running %s: %w", name, fs.ErrNotExist)
	}
	return fmt.Errorf("%s: %w%s", name, err, lastLines(said.Bytes()))
}

// searchPath is where programs are looked for: a user's PATH often lacks the
// folders of those for the administrator.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func find(name string) string {
	for dir := range strings.SplitSeq(searchPath, ":") {
		if path, err := exec.LookPath(dir + "/" + name); err == nil {
			return path
		}
	}
	return ""
}

// lastLines is the end of a program's output, to follow an error.
func lastLines(out []byte) string {
	const limit = 10
	lines := strings.Split(string(bytes.TrimSpace(out)), "\n")
	if len(lines) > limit {
		lines = lines[len(lines)-limit:]
	}
	text := strings.Join(lines, "\n")
	if text == "" {
		return ""
	}
	return ":\n" + text
}
