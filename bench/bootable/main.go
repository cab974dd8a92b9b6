// Command bootable builds the example of a disk that boots with the reference and with this project's binary, in turn, and
// compares them.
//
// It needs root (for loop mounts), the reference root that test/setup makes, a Debian mirror, and mkosi.key and mkosi.crt
// of mkosi genkey in the example. Each build gets a file system of its own, a new ext4 in a file. Package caches and
// metadata are warm on both sides: the first pair is not counted.
//
//	go run ./bench/bootable [-n PAIRS] [-mkosi BINARY] [-root REFERENCE]
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/mkosi-go/mkosi/bench/internal/measure"
)

var (
	pairs     = flag.Int("n", 3, "number of counted pairs")
	binary    = flag.String("mkosi", "bin/mkosi", "the binary to measure")
	example   = flag.String("example", "examples/bootable", "the configuration to build, with mkosi.key and mkosi.crt")
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
	}.Run()
	if err != nil {
		return err
	}
	return measure.Print(os.Stdout, *pairs, 2, measure.CostRows(theirs, ours)...)
}
