package build

import (
	"context"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// debugShell runs a shell on the terminal in the sandbox of a command that failed. Output of other images waits until the
// shell ends, and so does a second shell. How the shell ends does not matter: the build fails with the command's error.
func (b *Builder) debugShell(ctx context.Context, image string, failed *sandbox.Cmd, cause error) {
	if ctx.Err() != nil {
		return
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		b.UI.Warnf(image, "no shell for the command that failed: standard input is not a terminal")
		return
	}
	text, _, _ := strings.Cut(cause.Error(), "\n")
	b.UI.Warnf(image, "%s", strings.TrimSuffix(text, ":"))
	b.UI.Infof(image, "this shell is in its sandbox; the build goes on to fail when the shell ends")
	defer b.UI.Pause()()
	_ = shellOf(failed, os.Getenv("TERM")).Run(ctx)
}

// findShell becomes bash if there is one, else sh.
const findShell = "command -v bash >/dev/null && exec bash -i; exec sh -i"

// shellOf is a shell in the sandbox of another command, on a terminal of a kind.
func shellOf(c *sandbox.Cmd, kind string) *sandbox.Cmd {
	shell := *c
	shell.Args = []string{"sh", "-c", findShell}
	shell.Env = slices.DeleteFunc(slices.Clone(c.Env), func(e string) bool { return strings.HasPrefix(e, "TERM=") })
	shell.Env = append(shell.Env, "TERM="+kind)
	shell.Stdin, shell.Stdout, shell.Stderr = os.Stdin, os.Stdout, os.Stderr
	shell.ExtraFiles, shell.Used = nil, nil
	return &shell
}
