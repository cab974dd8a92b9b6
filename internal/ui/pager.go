package ui

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

// PageOptions say where [Page] writes.
type PageOptions struct {
	// Stdout is the standard output.
	Stdout io.Writer
	// Disabled uses no pager, as --no-pager asks for.
	Disabled bool
	// Env looks up environment variables; nil means [os.LookupEnv].
	Env func(name string) (value string, ok bool)
}

// Page shows what write writes, through a pager if standard output is a terminal.
//
// The first of $MKOSI_PAGER, $SYSTEMD_PAGER and $PAGER that is set names the pager with its arguments, separated by
// white space; no shell is asked. If it is empty or "cat", there is no pager. If none is set or it cannot be started,
// less is tried and then more. less gets its flags from $SYSTEMD_LESS, by default such that it ends at once when
// everything fits the screen. All this is as systemd's own tools do it; so is secure mode, see [secure].
//
// A pager that ends before it has read everything is no error. It is always waited for: when ctx ends, only the
// writing stops, so that nobody is left with a pager that fights the shell for the terminal.
func Page(ctx context.Context, o PageOptions, write func(w io.Writer) error) error {
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	if !o.Disabled && isTerminal(o.Stdout, o.Env) {
		for _, args := range pagers(o.Env) {
			if p, err := startPager(o, args); err == nil {
				return p.show(ctx, write)
			}
		}
	}
	return buffered(ctx, o.Stdout, write)
}

// buffered lets write write to w in larger pieces until ctx ends.
func buffered(ctx context.Context, w io.Writer, write func(w io.Writer) error) error {
	b := bufio.NewWriterSize(&stoppingWriter{ctx, w}, 1<<16)
	err := write(b)
	if flushErr := b.Flush(); err == nil {
		err = flushErr
	}
	return err
}

// stoppingWriter refuses to write when the context has ended.
type stoppingWriter struct {
	ctx context.Context
	w   io.Writer
}

func (s *stoppingWriter) Write(b []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.w.Write(b)
}

// pagers returns the command lines to try in turn; none if the user wants no pager.
func pagers(env func(string) (string, bool)) [][]string {
	if secure(env) {
		return [][]string{{"less"}} // more has no secure mode
	}
	standard := [][]string{{"less"}, {"more"}}
	for _, name := range []string{"MKOSI_PAGER", "SYSTEMD_PAGER", "PAGER"} {
		value, ok := env(name)
		if !ok {
			continue
		}
		args := strings.Fields(value)
		if len(args) == 0 || len(args) == 1 && args[0] == "cat" {
			return nil
		}
		return append([][]string{args}, standard...)
	}
	return standard
}

// secure reports whether the pager must not let its user run programs or write files: when this program has rights that
// the person at the terminal has not, as under sudo, for then these would run with them. In secure mode only less will
// do, which is told by $LESSSECURE. $SYSTEMD_PAGERSECURE overrides this.
func secure(env func(string) (string, bool)) bool {
	if value, ok := env("SYSTEMD_PAGERSECURE"); ok {
		switch strings.ToLower(value) {
		case "0", "no", "n", "false", "f", "off":
			return false
		}
		return true
	}
	for _, name := range []string{"SUDO_UID", "PKEXEC_UID", "DOAS_UID"} {
		if uid, ok := env(name); ok && uid != strconv.Itoa(os.Geteuid()) {
			return true
		}
	}
	return os.Getuid() != os.Geteuid()
}

// pager is a running pager.
type pager struct {
	cmd   *exec.Cmd
	input *os.File
	// ignored holds interrupts back from this program: Ctrl-C is for the pager, which has its own use for it.
	ignored chan os.Signal
}

func startPager(o PageOptions, args []string) (*pager, error) {
	read, input, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting the pager: %w", err)
	}
	defer read.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = read, o.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), pagerEnvironment(o.Env)...)
	p := &pager{cmd: cmd, input: input, ignored: make(chan os.Signal, 1)}
	signal.Notify(p.ignored, os.Interrupt)
	if err := cmd.Start(); err != nil {
		signal.Stop(p.ignored)
		input.Close()
		return nil, fmt.Errorf("starting the pager: %w", err)
	}
	return p, nil
}

// pagerEnvironment returns the variables for less. F ends it when everything fits the screen, R lets colours through, X
// leaves the text on the screen, M says more in the prompt, and K ends it with Ctrl-C.
func pagerEnvironment(env func(string) (string, bool)) []string {
	flags, charset := "FRXMK", "utf-8"
	if value, ok := env("SYSTEMD_LESS"); ok {
		flags = value
	}
	if value, ok := env("SYSTEMD_LESSCHARSET"); ok {
		charset = value
	}
	variables := []string{"LESS=" + flags, "LESSCHARSET=" + charset}
	if secure(env) {
		variables = append(variables, "LESSSECURE=1")
	}
	return variables
}

// show feeds the pager and waits until its user has seen enough.
func (p *pager) show(ctx context.Context, write func(w io.Writer) error) error {
	defer signal.Stop(p.ignored)
	err := buffered(ctx, p.input, write)
	p.input.Close()
	// How the pager ends says nothing about what was written: that of a killed one is for its user to judge.
	_ = p.cmd.Wait()
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}
