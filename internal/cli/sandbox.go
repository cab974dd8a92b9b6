package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/mkosi-go/mkosi/internal/sandbox/program"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// Sandbox is mkosi-sandbox, for a command line for which program.Invoked is true. It returns the exit code, unless this
// process becomes the command.
func Sandbox(argv []string) int {
	printer := ui.ForFile(os.Stderr, false)
	code, err := runSandbox(argv)
	if err == nil {
		return code
	}
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) && hinted.Hint() != "" {
		printer.Error(err, hinted.Hint())
	} else {
		printer.Error(err)
	}
	var usage *program.UsageError
	var command *program.CommandError
	switch {
	case errors.As(err, &usage):
		return ExitUsage
	case errors.As(err, &command):
		return command.Code
	}
	return ExitFailed
}

func runSandbox(argv []string) (int, error) {
	dir, err := program.Directory(argv)
	if err != nil {
		return 0, err
	}
	o, err := program.Parse(program.Arguments(argv), dir)
	switch {
	case err != nil:
		return 0, err
	case o.Help:
		_, err := fmt.Print(program.Help())
		return ExitOK, err
	case o.Version:
		_, err := fmt.Println(versionLine())
		return ExitOK, err
	}
	var log func(string)
	if o.Debug {
		log = func(step string) { fmt.Fprintln(os.Stderr, "+", step) }
	}
	return program.Run(argv, o, log)
}
