package repart

import (
	"errors"
	"fmt"
)

// maxProblems limits how many mistakes, and how many warnings, are told.
const maxProblems = 50

// Problem is what is wrong with a definition file.
type Problem struct {
	// File is the path of the file among the definitions.
	File string
	// Line counts from 1; zero means the file as a whole.
	Line int
	// Msg says what is wrong and what to do.
	Msg string
}

// Error returns the place and what is wrong there.
func (p *Problem) Error() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: %s", p.File, p.Msg)
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Msg)
}

// problems collects what is found while definitions are read: reading goes on
// after a mistake, so that all are told at once.
type problems struct {
	errs     []error
	warnings []*Problem
}

func (p *problems) fail(file string, line int, format string, args ...any) {
	if len(p.errs) < maxProblems {
		p.errs = append(p.errs, &Problem{file, line, fmt.Sprintf(format, args...)})
	}
}

func (p *problems) warn(file string, line int, format string, args ...any) {
	if len(p.warnings) < maxProblems {
		p.warnings = append(p.warnings, &Problem{file, line, fmt.Sprintf(format, args...)})
	}
}

func (p *problems) err() error { return errors.Join(p.errs...) }
