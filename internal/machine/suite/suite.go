// Package suite is the tests that are run in a booted image: the files of a directory, or one command.
//
// The regular files of the directory all get into the guest, side by side in one directory there. Those that end in
// .service are started as units, those that are executable are run, in the order of their names; anything else is for
// these to use. A test has passed when it ended with 0.
package suite

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

	"github.com/mkosi-go/mkosi/internal/machine/agent"
)

// maxTotal is how many bytes the files of a suite may have together. They lie in the guest's memory.
const maxTotal = 256 << 20

// File is a file of a suite.
type File struct {
	Name string
	Mode fs.FileMode
	Data []byte
}

// IsUnit reports whether the file is a test that is started as a unit.
func (f File) IsUnit() bool { return strings.HasSuffix(f.Name, ".service") }

// IsTest reports whether the file is a test at all.
func (f File) IsTest() bool { return f.IsUnit() || f.Mode&0o111 != 0 }

// Suite is the tests for an image. Without files, booting is the test.
type Suite struct{ Files []File }

// Load reads the files of a directory. Hidden files are passed over; anything that cannot be sent to a guest is refused, and
// so is a directory without a test.
func Load(dir string) (*Suite, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("reading tests: %w", err)
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".") // ordered by name
	if err != nil {
		return nil, fmt.Errorf("reading tests: %w", err)
	}
	s := &Suite{}
	total, tests := 0, 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		f, err := load(root, e.Name())
		if err != nil {
			return nil, fmt.Errorf("reading the test %s: %w", filepath.Join(dir, e.Name()), err)
		}
		if total += len(f.Data); total > maxTotal {
			return nil, fmt.Errorf("the files of %s have more than %d bytes", dir, maxTotal)
		}
		if f.IsTest() {
			tests++
		}
		s.Files = append(s.Files, f)
	}
	if tests == 0 {
		return nil, fmt.Errorf("%s has no tests: neither an executable file nor one that ends in .service", dir)
	}
	return s, nil
}

// load reads one file.
func load(root *os.Root, name string) (File, error) {
	if err := agent.CheckName(name); err != nil {
		return File{}, err
	}
	info, err := root.Stat(name) // before opening, which would wait for the writer of a FIFO
	if err != nil {
		return File{}, err
	}
	if !info.Mode().IsRegular() {
		return File{}, errors.New("only regular files can be sent to the guest")
	}
	tooLarge := fmt.Errorf("it has more than %d bytes", agent.MaxFile)
	if info.Size() > agent.MaxFile {
		return File{}, tooLarge
	}
	file, err := root.Open(name)
	if err != nil {
		return File{}, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, agent.MaxFile+1))
	if err == nil && len(data) > agent.MaxFile { // it has grown
		err = tooLarge
	}
	return File{Name: name, Mode: info.Mode().Perm(), Data: data}, err
}

// Command is the suite of one command, which is its arguments as they are.
func Command(args []string) *Suite {
	var words []string
	for _, a := range args {
		words = append(words, "'"+strings.ReplaceAll(a, "'", `'\''`)+"'")
	}
	script := "#!/bin/sh\ncd\nexec " + strings.Join(words, " ") + "\n"
	return &Suite{Files: []File{{Name: "command", Mode: 0o755, Data: []byte(script)}}}
}

// Result is how a test went.
type Result struct {
	Name   string
	Passed bool
	Status int // of the command, or of the main process of the unit
	// Reason is why it failed, in a few words.
	Reason string `json:",omitempty"`
	// Seconds is how long it took, by this machine's clock.
	Seconds float64
}

// Observer follows a suite while it runs.
type Observer struct {
	// Begin is told that a test begins, and returns where its output goes and what is to be called with its result.
	Begin func(name string) (stdout, stderr io.Writer, end func(Result))
	// Now is the clock.
	Now func() time.Time
}

// Run sends the files of the suite to a guest and runs its tests, each for so long at most. A test that failed is no error;
// an error says that the guest could not be talked with, and the results are those until then. When it was lost during a
// test, that one is the last of the results.
func (s *Suite) Run(ctx context.Context, guest *agent.Client, limit time.Duration, o Observer) ([]Result, error) {
	for _, f := range s.Files {
		if err := guest.Send(ctx, f.Name, f.Mode, f.Data); err != nil {
			return nil, err
		}
	}
	results := []Result{}
	for _, f := range s.Files {
		if !f.IsTest() {
			continue
		}
		stdout, stderr, end := o.Begin(f.Name)
		run := guest.Run
		if f.IsUnit() {
			run = guest.RunUnit
		}
		begun := o.Now()
		exit, err := within(ctx, limit+grace, func(ctx context.Context) (agent.Exit, error) {
			return run(ctx, f.Name, limit, stdout, stderr)
		})
		r := result(f.Name, exit, limit, err)
		r.Seconds = o.Now().Sub(begun).Round(time.Millisecond).Seconds()
		end(r)
		results = append(results, r)
		if err != nil {
			return results, fmt.Errorf("running the test %s: %w", f.Name, err)
		}
	}
	return results, nil
}

// grace is how much longer than a test may take this side waits for the guest, which ends the test itself.
const grace = 2 * time.Minute

// errSilent is the cause when a guest does not even end a test.
var errSilent = errors.New("the guest does not answer any more")

// within calls f with a context that ends after a time.
func within(ctx context.Context, limit time.Duration, f func(context.Context) (agent.Exit, error)) (agent.Exit, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errSilent)
	defer cancel()
	return f(ctx)
}

// timedOut is the exit status of timeout(1) for a command that it had to end.
const timedOut = 124

// result says how a test went.
func result(name string, exit agent.Exit, limit time.Duration, err error) Result {
	r := Result{Name: name, Status: exit.Status}
	switch {
	case err != nil:
		r.Reason = err.Error()
	case exit.Status == 0:
		r.Passed = true
	case exit.Word == "timeout" || exit.Word == "" && exit.Status == timedOut:
		r.Reason = fmt.Sprintf("not done after %v", limit)
	case exit.Word == "condition":
		r.Reason = "a condition of the unit does not hold, so it was not started"
	case exit.Word == "unloadable":
		r.Reason = "systemd cannot read the unit"
	case exit.Word != "" && exit.Word != "exit-code":
		r.Reason = exit.Word
	case exit.Status > 128:
		r.Reason = fmt.Sprintf("killed by signal %d", exit.Status-128)
	default:
		r.Reason = fmt.Sprintf("exit status %d", exit.Status)
	}
	return r
}
