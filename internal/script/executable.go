package script

import (
	"fmt"
	"os"
)

// NotExecutableError tells of a script that lacks the permission to be run.
type NotExecutableError struct {
	Script string // its path
}

func (e *NotExecutableError) Error() string {
	return fmt.Sprintf("the script %s is not executable", e.Script)
}

// Hint says what to do.
func (e *NotExecutableError) Hint() string {
	return fmt.Sprintf("run chmod +x %s, or set MakeScriptsExecutable=yes", e.Script)
}

// CheckExecutable returns an error for a script that is there and lacks the permission to be run.
func CheckExecutable(script string) *NotExecutableError {
	fi, err := os.Stat(script)
	if err != nil || !fi.Mode().IsRegular() || fi.Mode()&0o111 != 0 {
		return nil
	}
	return &NotExecutableError{Script: script}
}

// makeExecutable makes sure that a script can be run, if it has to and may by giving its owner the permission.
func makeExecutable(script string, may bool) error {
	fi, err := os.Stat(script)
	if err != nil {
		return fmt.Errorf("looking for the script: %w", err)
	}
	switch {
	case !fi.Mode().IsRegular():
		return fmt.Errorf("the script %s is not a file", script)
	case fi.Mode()&0o111 != 0:
		return nil
	case !may:
		return &NotExecutableError{Script: script}
	}
	if err := os.Chmod(script, fi.Mode().Perm()|0o100); err != nil {
		return fmt.Errorf("making the script executable: %w", err)
	}
	return nil
}
