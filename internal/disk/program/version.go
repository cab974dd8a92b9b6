package program

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
)

// MissingError says that this machine lacks a program.
type MissingError struct {
	// Program is its name, Package the Debian package that has it.
	Program, Package string
	// Purpose is what it is needed for, such as "Format=btrfs".
	Purpose string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s needs %s, which this machine does not have", e.Purpose, e.Program)
}

// Hint says what to do about it.
func (e *MissingError) Hint() string { return "install the package " + e.Package }

// TooOldError says that a program is too old for what is asked of it.
type TooOldError struct {
	// Program is its name, Package the Debian package that has it.
	Program, Package string
	// Version is what the machine has, Minimum what is needed.
	Version, Minimum Version
	// Purpose is what the newer version is needed for.
	Purpose string
}

func (e *TooOldError) Error() string {
	return fmt.Sprintf("%s needs %s %s or newer, this machine has %s", e.Purpose, e.Program, e.Minimum, e.Version)
}

// Hint says what to do about it.
func (e *TooOldError) Hint() string { return "install a newer version of the package " + e.Package }

// Version is the version of a program: numbers, the most significant first.
type Version []int

func (v Version) String() string {
	var parts []string
	for _, n := range v {
		parts = append(parts, strconv.Itoa(n))
	}
	return strings.Join(parts, ".")
}

// Less reports whether v is older than w. Numbers that are not there count as
// zero.
func (v Version) Less(w Version) bool {
	for i := range max(len(v), len(w)) {
		a, b := 0, 0
		if i < len(v) {
			a = v[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			return a < b
		}
	}
	return false
}

// versionNumber is a version as programs print it.
var versionNumber = regexp.MustCompile(`[0-9]{1,6}(\.[0-9]{1,6}){1,3}`)

// maxOutput is how much of what a program says about its version is read.
const maxOutput = 64 << 10

// QueryVersion runs a program with the option that makes it print its version,
// which is the first number with a point in it. option is as the program wants
// it; some end with an error after they have printed it, which does not matter.
// The error wraps fs.ErrNotExist if there is no such program.
func QueryVersion(ctx context.Context, run RunFunc, name, option string) (Version, error) {
	var out limited
	runErr := run(ctx, Command{Args: []string{name, option}, Stdout: &out})
	if errors.Is(runErr, fs.ErrNotExist) || ctx.Err() != nil {
		return nil, runErr
	}
	found := versionNumber.Find(out.text)
	if found == nil {
		return nil, errors.Join(runErr, fmt.Errorf("%s %s does not say which version it is", name, option))
	}
	var v Version
	for part := range strings.SplitSeq(string(found), ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, err
		}
		v = append(v, n)
	}
	return v, nil
}

// limited keeps the beginning of what is written to it.
type limited struct{ text []byte }

func (l *limited) Write(p []byte) (int, error) {
	l.text = append(l.text, p[:min(maxOutput-len(l.text), len(p))]...)
	return len(p), nil
}
