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
	"os/exec"
	"path/filepath"

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
	mirror, err := measure.Mirror()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(*scratch, "mkosi-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	exe, err := filepath.Abs(*binary)
	if err != nil {
		return err
	}
	runner, err := filepath.Abs("test/reference")
	if err != nil {
		return err
	}
	packages := filepath.Join(dir, "packages")
	if err := os.Mkdir(packages, 0o755); err != nil {
		return err
	}
	args := []string{"--local-mirror", mirror, "--force", "--package-cache-directory", packages}
	ours := func(work string) *exec.Cmd { return exec.Command(exe, append([]string{"-C", work}, args...)...) }
	theirs := func(work string) *exec.Cmd {
		cmd := exec.Command(runner, append([]string{dir, "mkosi", "-C", work, "--workspace-dir", filepath.Dir(work)}, args...)...)
		cmd.Env = append(os.Environ(), "MKOSI_REFERENCE_ROOT="+*reference)
		return cmd
	}
	var a, b []measure.Cost
	for i := range *pairs + 1 {
		fmt.Fprintf(os.Stderr, "pair %d\n", i)
		t, _, err := measure.OnFresh(dir, *example, theirs)
		if err != nil {
			return err
		}
		o, _, err := measure.OnFresh(dir, *example, ours)
		if err != nil {
			return err
		}
		if i > 0 {
			a, b = append(a, t), append(b, o)
		}
	}
	return report(a, b)
}

func report(a, b []measure.Cost) error {
	row := func(name string, get func(measure.Cost) float64) measure.Row {
		r := measure.Row{Name: name}
		for i := range a {
			r.Theirs, r.Ours = append(r.Theirs, get(a[i])), append(r.Ours, get(b[i]))
		}
		return r
	}
	return measure.Print(os.Stdout, len(a), 2,
		row("wall, seconds", func(c measure.Cost) float64 { return c.Wall }),
		row("CPU, seconds", func(c measure.Cost) float64 { return c.CPU }),
		row("largest process, MiB", func(c measure.Cost) float64 { return c.Peak }))
}
