// Command tutorial builds the tutorial with the reference and with this project's binary, in turn, and compares them.
//
// It needs root (for loop mounts), the reference root that test/setup makes, and a Debian mirror. Each build gets a
// file system of its own, a new ext4 in a file: creating files on one that has just lost thousands of them is several
// times slower, and would measure the clean-up of the run before. Package caches and metadata are warm on both sides:
// the first pair is not counted.
//
//	go run ./bench/tutorial [-n PAIRS] [-mkosi BINARY] [-root REFERENCE]
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"

	"github.com/mkosi-go/mkosi/bench/internal/measure"
)

var (
	pairs     = flag.Int("n", 3, "number of counted pairs")
	binary    = flag.String("mkosi", "bin/mkosi", "the binary to measure")
	example   = flag.String("example", "examples/sysext", "the configuration to build, with mkosi.key and mkosi.crt")
	reference = flag.String("root", measure.Reference(), "the root that holds the reference")
	scratch   = flag.String("scratch", "/var/tmp", "directory for the file systems")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	theirs, ours, err := measure.Builds{
		Pairs: *pairs, Binary: *binary, Reference: *reference, Scratch: *scratch, Example: *example,
		Options: []string{"--profile", "initrd"}, ReferenceOptions: []string{"--debug-timing"},
	}.Run()
	if err != nil {
		return err
	}
	install := measure.Row{Name: "base install, seconds"}
	for i := range theirs {
		t, err := installSeconds(theirs[i].Output)
		if err != nil {
			return fmt.Errorf("reference: %w:\n%s", err, theirs[i].Output)
		}
		o, err := installSeconds(ours[i].Output)
		if err != nil {
			return fmt.Errorf("this: %w:\n%s", err, ours[i].Output)
		}
		install.Theirs, install.Ours = append(install.Theirs, t), append(install.Ours, o)
	}
	return measure.Print(os.Stdout, *pairs, 2, slices.Insert(measure.CostRows(theirs, ours), 2, install)...)
}

// What the two say when the base image's packages are installed.
var installLines = []*regexp.Regexp{
	regexp.MustCompile(`\[base\] installing .*\(([0-9.]+)s\)`),
	regexp.MustCompile(`\[base\] +([0-9.]+)s for step "Installing Debian"`),
}

func installSeconds(log string) (float64, error) {
	for _, re := range installLines {
		if m := re.FindStringSubmatch(log); m != nil {
			return strconv.ParseFloat(m[1], 64)
		}
	}
	return 0, fmt.Errorf("no line tells how long the base image's packages took")
}
