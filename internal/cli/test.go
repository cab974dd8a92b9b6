package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/machine/suite"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// testsDir is the directory with the tests of an image.
const testsDir = "mkosi.test"

// tested is how the tests of an image went, as data.
type tested struct {
	Image  string
	Passed bool
	// State is what the system came up to, see is-system-running in systemctl(1), "login" if only its login prompt was
	// seen, or "" if it did not come up.
	State string
	// FailedUnits are those that failed while it booted.
	FailedUnits []string
	// BootSeconds is how long it took to come up, by this machine's clock.
	BootSeconds float64
	Tests       []suite.Result
	// Error is why not all tests were run.
	Error      string `json:",omitempty"`
	ConsoleLog string
	Journal    string // "" if the guest did not come up
}

// test boots the image in a copy that is thrown away, and runs tests in it.
func (a *app) test(ctx context.Context) error {
	if a.cfg.Main().VirtualMachineMonitor == config.MonitorVmspawn {
		return &config.Error{Setting: "VirtualMachineMonitor", Msg: "systemd-vmspawn gives a guest no ports that mkosi test could talk to it over", Hint: "add --vmm=qemu"}
	}
	tests, err := a.tests()
	if err != nil {
		return err
	}
	if err := a.buildToRun(ctx); err != nil {
		return err
	}
	main := a.cfg.Main()
	run, err := a.newTestRun(main, tests)
	if err != nil {
		return err
	}
	err = errors.Join(run.boot(ctx), run.close())
	if ctx.Err() != nil {
		return err
	}
	if err != nil {
		run.report.Error = err.Error()
	}
	command := len(a.cfg.VerbArgs) > 0
	if a.cfg.Options.JSON {
		err = errors.Join(err, a.writeJSON(run.report))
	} else if !command {
		writeResults(a.stdout, ui.StyleFor(a.stdout), run.report)
	}
	switch {
	case err != nil:
		if hint, _ := advice(err); hint == "" && hasContent(run.report.ConsoleLog) {
			err = &hintError{err, "what the guest printed is in " + a.short(run.report.ConsoleLog)}
		}
		return err
	case run.report.Passed:
		return nil
	case command:
		return commandExit(run.report.Tests[0].Status)
	}
	return testsFailed{run.report.Tests}
}

// hasContent reports whether a file is there and not empty.
func hasContent(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() > 0
}

// tests returns what is to be tested: the command that follows the verb, or else what is in the directory for it.
func (a *app) tests() (*suite.Suite, error) {
	if args := a.cfg.VerbArgs; len(args) > 0 {
		return suite.Command(args), nil
	}
	tests, err := suite.Load(filepath.Join(a.cfg.Dir, testsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return &suite.Suite{}, nil
	}
	if err != nil {
		return nil, &config.Error{Msg: err.Error()}
	}
	return tests, nil
}

// testsFailed is the error when tests have failed.
type testsFailed struct{ results []suite.Result }

func (e testsFailed) Error() string {
	var failed []string
	for _, r := range e.results {
		if !r.Passed {
			failed = append(failed, r.Name)
		}
	}
	return fmt.Sprintf("%d of %s failed: %s", len(failed), count(len(e.results), "test"), strings.Join(failed, ", "))
}

// writeResults writes a line for each test.
func writeResults(w io.Writer, style ui.Style, r tested) {
	t := &table{}
	add := func(passed bool, name, reason string, seconds float64) {
		mark := cell{"passed", style.Good}
		if !passed {
			mark = cell{"failed", style.Bad}
		}
		t.row(cell{text: "  "}, mark, cell{text: name}, cell{text: fmt.Sprintf("%.1fs", seconds)}, cell{text: reason})
	}
	add(r.State != "", "boot", r.State, r.BootSeconds)
	for _, test := range r.Tests {
		add(test.Passed, test.Name, test.Reason, test.Seconds)
	}
	t.write(w)
}

// observer shows the tests while they run.
func (a *app) observer(image string) suite.Observer {
	return suite.Observer{Now: time.Now, Begin: func(name string) (stdout, stderr io.Writer, end func(suite.Result)) {
		if len(a.cfg.VerbArgs) > 0 {
			// It is the command itself that was asked for.
			stdout = a.stdout
			if a.cfg.Options.JSON {
				stdout = os.Stderr
			}
			return stdout, os.Stderr, func(suite.Result) {}
		}
		step := a.ui.Begin(image, "test %s", name)
		w := a.ui.Writer(image)
		return w, w, func(r suite.Result) {
			// A writer of lines that go to the terminal does not fail.
			_ = w.Close()
			if r.Passed {
				step.Done()
			} else {
				step.Fail()
			}
		}
	}}
}
