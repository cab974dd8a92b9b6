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

// CheckExecutable reports why a script cannot be run, a *[NotExecutableError] if it lacks the permission. may says that
// it can be given that.
func CheckExecutable(script string, may bool) error {
	fi, err := os.Stat(script)
	switch {
	case err != nil:
		return fmt.Errorf("looking for the script: %w", err)
	case !fi.Mode().IsRegular():
		return fmt.Errorf("the script %s is not a file", script)
	case fi.Mode()&0o111 == 0 && !may:
		return &NotExecutableError{Script: script}
	}
	return nil
}

// makeExecutable makes sure that a script can be run, if it has to and may by giving its owner the permission.
func makeExecutable(script string, may bool) error {
	if err := CheckExecutable(script, may); err != nil {
		return err
	}
	fi, err := os.Stat(script)
	if err != nil {
		return fmt.Errorf("looking for the script: %w", err)
	}
	if fi.Mode()&0o111 != 0 {
		return nil
	}
	if err := os.Chmod(script, fi.Mode().Perm()|0o100); err != nil {
		return fmt.Errorf("making the script executable: %w", err)
	}
	return nil
}
