package build

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/tree"
	"github.com/mkosi-go/mkosi/internal/ui"
)

func TestDescribeShowsNamesOfTheEnvironmentOnly(t *testing.T) {
	got := describe(&sandbox.Cmd{
		Args: []string{"apt-get", "a b"}, Env: []string{"PATH=/usr/bin", "TOKEN=hunter2"}, Dir: "/work",
		Ops: []sandbox.Op{sandbox.BindReadOnly("/usr", "/usr"), sandbox.Tmpfs("/tmp")}, Network: true, SuppressChown: true,
	})
	want := `sandbox of apt-get 'a b'
  bind /usr to /usr, read-only
  ` + sandbox.Tmpfs("/tmp").String() + `
  in the directory /work; network of the host, chown suppressed
  environment: PATH TOKEN`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestTheDebugShellRunsInTheSameSandbox(t *testing.T) {
	failed := &sandbox.Cmd{
		Args: []string{"/work/script", "x"}, Env: []string{"A=1", "TERM=dumb"}, Dir: "/work", Ops: []sandbox.Op{sandbox.Tmpfs("/tmp")},
		Network: true, DropCapabilities: []int{1}, Stdin: strings.NewReader("x"), Used: func(sandbox.Usage) {},
	}
	shell := shellOf(failed, "xterm")
	if strings.Join(shell.Env, " ") != "A=1 TERM=xterm" || shell.Dir != "/work" || len(shell.Ops) != 1 || !shell.Network || len(shell.DropCapabilities) != 1 {
		t.Errorf("got %+v", shell)
	}
	if shell.Stdin != os.Stdin || shell.Used != nil || shell.Args[0] != "sh" {
		t.Errorf("got %+v", shell)
	}
	if failed.Args[0] != "/work/script" || strings.Join(failed.Env, " ") != "A=1 TERM=dumb" {
		t.Errorf("the failed command was changed: %+v", failed)
	}
}

func TestWithoutATerminalThereIsNoDebugShell(t *testing.T) {
	old := os.Stdin
	defer func() { os.Stdin = old }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	os.Stdin = null
	var out bytes.Buffer
	b := &Builder{UI: ui.New(&out, ui.Options{})}
	b.debugShell(t.Context(), "main", &sandbox.Cmd{Args: []string{"true"}}, errors.New("x"))
	if want := "[main] warning: no shell for the command that failed: standard input is not a terminal\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestAKeptWorkspaceSurvivesTheNextRun(t *testing.T) {
	dir := t.TempDir()
	s, err := tree.Stage(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	b := &Builder{Config: &config.Config{}, UI: ui.New(&out, ui.Options{})}
	if err := b.keep("main", s); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	next, err := tree.Stage(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if _, err := os.Stat(s.Path("file")); err != nil {
		t.Error(err)
	}
	if !strings.Contains(s.Dir(), dir+"/"+keptPrefix) || !strings.Contains(out.String(), s.Dir()) {
		t.Errorf("kept as %s, and said %q", s.Dir(), out.String())
	}
	if _, err := s.Keep(keptPrefix); err == nil {
		t.Error("it can be kept twice")
	}
}
