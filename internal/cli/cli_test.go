package cli

import (
	"errors"
	"flag"
	"os"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mkosi-go/mkosi/internal/build"
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/script"
	"github.com/mkosi-go/mkosi/internal/ui"
)

var update = flag.Bool("update", false, "write the output that scripts compare with")

func TestMain(m *testing.M) {
	if sandbox.Reexecuted() {
		sandbox.Main()
	}
	testscript.Main(m, map[string]func(){
		"mkosi": func() { os.Exit(Main(os.Args[1:])) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", UpdateScripts: *update, Cmds: imageCommands()})
}

func TestReportExitCodes(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want int
	}{
		"none":          {nil, ExitOK},
		"failure":       {errors.New("x"), ExitFailed},
		"configuration": {&config.Error{Msg: "x"}, ExitUsage},
		"plan":          {errors.Join(&build.ConfigError{Err: errors.New("a")}, &build.ConfigError{Err: errors.New("b")}), ExitUsage},
		"bug":           {&build.ImageError{Image: "i", Err: &build.PanicError{Value: "x"}}, ExitInternal},
		"script":        {&build.ImageError{Image: "i", Err: &script.Error{Script: "s", Err: &sandbox.ExitError{Code: 77}}}, 77},
		"no script":     {&script.Error{Script: "s", Err: errors.New("x")}, ExitFailed},
		"interrupt":     {&build.ImageError{Image: "i", Err: signalError{syscall.SIGINT}}, 130},
	} {
		if got := (&app{ui: ui.New(discard{}, ui.Options{})}).report(tt.err); got != tt.want {
			t.Errorf("%s: exit code %d, want %d", name, got, tt.want)
		}
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

func TestPathsInMessagesAreShortenedOnlyWhereTheyBegin(t *testing.T) {
	a := &app{dir: "/srv"}
	for text, want := range map[string]string{
		"/srv/a does not exist":     "a does not exist",
		`"/srv/a" and /srv/b`:       `"a" and b`,
		"/var/srv/a does not exist": "/var/srv/a does not exist",
		"a:/srv/b":                  "a:b",
		"/srv is not a file":        "/srv is not a file",
	} {
		if got := a.relative(text); got != want {
			t.Errorf("relative(%q) = %q, want %q", text, got, want)
		}
	}
}
