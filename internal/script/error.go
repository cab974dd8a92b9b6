package script

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// Error is the failure of a script.
type Error struct {
	Kind   Kind
	Script string // its path, as the user would write it
	Err    error  // of the command: what the script ended with, or why it could not be started
}

func (e *Error) Error() string {
	name := fmt.Sprintf("%s script %s", e.Kind, e.Script)
	var exit *sandbox.ExitError
	if errors.As(e.Err, &exit) {
		named := *exit
		named.Args = []string{name}
		return named.Error()
	}
	return fmt.Sprintf("%s: %v", name, e.Err)
}

// Unwrap returns the error of the command.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do about a script that could not be started, or is empty.
func (e *Error) Hint() string {
	var exit *sandbox.ExitError
	switch {
	case errors.As(e.Err, &exit):
		return ""
	case errors.Is(e.Err, unix.ENOEXEC):
		return "a script begins with a line such as #!/bin/sh"
	case errors.Is(e.Err, unix.ENOENT):
		return "the program that its first line names has to exist where it runs"
	}
	return ""
}

// ExitCode is the exit code for the program: that of the script, 128 and the number of the signal that killed it, or 1
// for a script that could not be started.
func (e *Error) ExitCode() int {
	var exit *sandbox.ExitError
	if errors.As(e.Err, &exit) {
		return ExitCode(exit)
	}
	return 1
}
