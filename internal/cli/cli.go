// Package cli is the command line: a verb a file, and nothing that another program could want.
package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/mkosi-go/mkosi/internal/build"
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/host"
	"github.com/mkosi-go/mkosi/internal/script"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// Version is this program's own version.
const Version = "0.1.0"

// The exit codes of the program, as `mkosi --help` lists them.
const (
	ExitOK       = 0
	ExitFailed   = 1  // a build, or whatever else the verb does, failed
	ExitUsage    = 2  // the command line or the configuration is wrong; nothing was done
	ExitTrouble  = 3  // mkosi diff could not compare: 1 says that the two differ
	ExitInternal = 70 // a bug in this program
	// A process that a signal ends exits with 128 and the signal's number.
	exitSignal = 128
)

// app is one run of the program.
type app struct {
	line   *config.CommandLine
	dir    string
	host   host.Facts
	stdout io.Writer
	ui     *ui.Printer
	// signals end the context of the verb.
	signals *signals
	cfg     *config.Config
	// cfgErr is what is wrong with the configuration, for the verbs that work all the same.
	cfgErr error
	// excerpts are the lines that its problems are about.
	excerpts config.Excerpts
}

// verbs are what the program can do. The table is filled in init, since help reads it.
var verbs map[config.Verb]func(*app, context.Context) error

func init() {
	verbs = map[config.Verb]func(*app, context.Context) error{
		config.VerbBuild:         (*app).build,
		config.VerbBox:           (*app).box,
		config.VerbCheck:         (*app).check,
		config.VerbDiff:          (*app).diff,
		config.VerbExplain:       (*app).explain,
		config.VerbInspect:       (*app).inspect,
		config.VerbVerify:        (*app).verify,
		config.VerbCatConfig:     (*app).catConfig,
		config.VerbClean:         (*app).clean,
		config.VerbCompletion:    (*app).completion,
		config.VerbDocumentation: (*app).documentation,
		config.VerbGenkey:        (*app).genkey,
		config.VerbHelp:          (*app).help,
		config.VerbPlan:          (*app).plan,
		config.VerbShell:         (*app).shell,
		config.VerbSign:          (*app).sign,
		config.VerbSSH:           (*app).ssh,
		config.VerbSummary:       (*app).summary,
		config.VerbTest:          (*app).test,
		config.VerbVM:            (*app).vm,
	}
}

// Main runs the program with the arguments that follow its name and returns its exit code.
func Main(args []string) (code int) {
	if len(args) == 1 && args[0] == "--version" {
		// Scripts ask this often; it needs nothing of the machine.
		fmt.Println(versionLine())
		return ExitOK
	}
	printer := ui.ForFile(os.Stderr, false)
	defer func() {
		if r := recover(); r != nil {
			printer.Close()
			printer.Error(fmt.Errorf("bug in mkosi: %v", r), "please report it with the text below")
			fmt.Fprintf(os.Stderr, "%s", debug.Stack())
			code = ExitInternal
		}
	}()

	dir, err := os.Getwd()
	if err != nil {
		return (&app{ui: printer}).report(fmt.Errorf("finding the current directory: %w", err))
	}
	a := &app{line: config.ParseArgs(args), dir: dir, host: host.Detect(), stdout: os.Stdout, ui: printer}
	// The process that waits outside of a session passes all signals on, however many, and ends when what is inside does.
	if err := a.enterSession(); err != nil {
		return a.report(err)
	}
	a.signals = receiveSignals(lastResort)
	defer a.signals.close()
	return a.report(a.run(a.signals.ctx))
}

func versionLine() string {
	return fmt.Sprintf("mkosi %s (reads the configuration of mkosi %s)", Version, config.Version)
}

// run loads the configuration and does what the verb says.
func (a *app) run(ctx context.Context) error {
	cfg, err := config.Load(ctx, config.LoadOptions{CommandLine: a.line, Dir: a.dir, Host: a.host, Rand: rand.Reader, Run: host.Output})
	a.cfg, a.cfgErr = cfg, err
	if err != nil && !toleratesErrors(cfg) {
		return err
	}
	switch {
	case cfg.Options.Help:
		return a.help(ctx)
	case cfg.Options.Version:
		_, err := fmt.Fprintln(a.stdout, versionLine())
		return err
	}
	if cfg.Options.Debug {
		a.ui = ui.ForFile(os.Stderr, true)
	}
	verb, ok := verbs[cfg.Verb]
	if !ok {
		return &config.Error{Msg: fmt.Sprintf("mkosi %s is not supported yet", cfg.Verb), Hint: "mkosi --help lists what is"}
	}
	defer a.ui.Close()
	return verb(a, ctx)
}

// warn prints what the configuration's author might want to mend.
func (a *app) warn() {
	for _, w := range a.cfg.Warnings {
		a.ui.Diagnose(a.diagnostic(w, ui.SeverityWarning))
	}
}

// report tells the person what went wrong, if anything did, and returns the exit code for it.
func (a *app) report(err error) int {
	if err == nil {
		return ExitOK
	}
	p := a.ui
	if exit := commandExit(0); errors.As(err, &exit) {
		return int(exit)
	}
	var sig signalError
	if errors.As(err, &sig) {
		hint := "outputs that were not finished are as they were before"
		if own, _ := advice(err); own != "" {
			hint = own
		}
		p.Error(sig, hint)
		return exitSignal + int(sig.signal)
	}
	var bug *build.PanicError
	if errors.As(err, &bug) {
		p.Error(err, "please report it with the text below")
		fmt.Fprintf(os.Stderr, "%s", bug.Stack)
		return ExitInternal
	}
	if found := (foundProblems{}); errors.As(err, &found) {
		if a.cfg.Options.JSON {
			return ExitUsage
		}
		p.Infof("", "%s", found)
		return ExitUsage
	}
	if errors.As(err, &exitDifferent{}) {
		return ExitFailed
	}
	code := ExitFailed
	if errors.As(err, &troubleError{}) {
		code = ExitTrouble
	}
	all := flatten(err)
	for i, e := range all {
		if i == maxReported && len(all) > maxReported+1 {
			p.Infof("", "and %d more errors, which mkosi check shows", len(all)-i)
			break
		}
		hint, usage := advice(e)
		if usage {
			code = ExitUsage
		}
		var failed *script.Error
		if errors.As(e, &failed) && code == ExitFailed {
			code = failed.ExitCode()
		}
		var cfgErr *config.Error
		switch {
		case errors.As(e, &cfgErr):
			p.Diagnose(a.diagnostic(cfgErr, ui.SeverityError))
		case hint != "":
			p.Error(e, hint)
		default:
			p.Error(e)
		}
	}
	return code
}

// maxReported is how many errors are told at once, unless that is what was asked for.
const maxReported = 20

// hintError is an error with what to do about it.
type hintError struct {
	error
	hint string
}

func (e *hintError) Hint() string  { return e.hint }
func (e *hintError) Unwrap() error { return e.error }

// flatten returns the errors that errors.Join joined.
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

// advice returns what to do about an error, and whether it is the command line's or the configuration's.
func advice(err error) (hint string, usage bool) {
	var cfgErr *config.Error
	var planErr *build.ConfigError
	switch {
	case errors.As(err, &cfgErr):
		return cfgErr.Hint, true
	case errors.As(err, &planErr):
		return planErr.Hint, true
	}
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) && hinted.Hint() != "" {
		return hinted.Hint(), false
	}
	if build.IsNoSpace(err) {
		return "make room on the file system of OutputDirectory= or WorkspaceDirectory=, or name another one", false
	}
	return "", false
}
