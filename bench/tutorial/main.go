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
	"os/exec"
	"path/filepath"
	"regexp"
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

// figures are what one build cost.
type figures struct {
	measure.Cost
	install float64 // seconds
}

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
	args := []string{"--local-mirror", mirror, "--profile", "initrd", "--force",
		"--package-cache-directory", filepath.Join(dir, "packages"), "--cache-directory", filepath.Join(dir, "cache")}
	ours := func(work string) *exec.Cmd { return exec.Command(exe, append([]string{"-C", work}, args...)...) }
	theirs := func(work string) *exec.Cmd {
		cmd := exec.Command(runner, append([]string{dir, "mkosi", "-C", work, "--debug-timing", "--workspace-dir", filepath.Dir(work)}, args...)...)
		cmd.Env = append(os.Environ(), "MKOSI_REFERENCE_ROOT="+*reference)
		return cmd
	}
	for _, d := range []string{"packages", "cache"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	var a, b []figures
	for i := range *pairs + 1 {
		t, err := build(dir, "reference", theirs)
		if err != nil {
			return err
		}
		o, err := build(dir, "this", ours)
		if err != nil {
			return err
		}
		if i > 0 {
			a, b = append(a, t), append(b, o)
		}
	}
	return report(a, b)
}

// build builds the example on a new file system, and measures.
func build(dir, name string, command func(work string) *exec.Cmd) (f figures, err error) {
	fmt.Fprintf(os.Stderr, "building with %s\n", name)
	var out string
	if f.Cost, out, err = measure.OnFresh(dir, *example, command); err != nil {
		return f, err
	}
	if f.install, err = installSeconds(out); err != nil {
		return f, fmt.Errorf("%s: %w:\n%s", name, err, out)
	}
	return f, nil
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

func report(a, b []figures) error {
	row := func(name string, get func(figures) float64) measure.Row {
		r := measure.Row{Name: name}
		for i := range a {
			r.Theirs, r.Ours = append(r.Theirs, get(a[i])), append(r.Ours, get(b[i]))
		}
		return r
	}
	return measure.Print(os.Stdout, len(a), 2,
		row("wall, seconds", func(f figures) float64 { return f.Wall }),
		row("CPU, seconds", func(f figures) float64 { return f.CPU }),
		row("base install, seconds", func(f figures) float64 { return f.install }),
		row("largest process, MiB", func(f figures) float64 { return f.Peak }))
}
