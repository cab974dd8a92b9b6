// Command incremental changes one source file of examples/hello-service and builds it again, with the reference and with
// this project's binary in turn, and compares what that costs.
//
// It needs root, the reference root that test/setup makes, and a Debian mirror. Both work in the same directory of the
// same file system, each in a copy of its own, with workspaces beside the outputs so that nobody has to copy where a
// rename would do. Before the first counted pair both have built once, so that their caches are complete. The build
// script of the copies tells what the compiler and make took, in the very sandbox that the build ran them in.
//
//	go run ./bench/incremental [-n PAIRS] [-format FORMAT] [-mkosi BINARY] [-root REFERENCE] [-scratch DIRECTORY]
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mkosi-go/mkosi/bench/internal/measure"
)

var (
	pairs     = flag.Int("n", 5, "number of counted pairs")
	binary    = flag.String("mkosi", "bin/mkosi", "the binary to measure")
	example   = flag.String("example", "examples/hello-service", "the configuration to build")
	reference = flag.String("root", measure.Reference(), "the root that holds the reference")
	format    = flag.String("format", "", "another output format than the example's")
	scratch   = flag.String("scratch", "/var/tmp", "directory to build in")
)

// figures are what one build cost.
type figures struct {
	measure.Cost
	compile float64 // seconds of the build script
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
	exe, err := filepath.Abs(*binary)
	if err != nil {
		return err
	}
	runner, err := filepath.Abs("test/reference")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(*scratch, "mkosi-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// Ours opens its session itself; the reference shares the directory with its root.
	args := []string{"--local-mirror", mirror, "--force", "--package-cache-directory", filepath.Join(dir, "packages")}
	if *format != "" {
		args = append(args, "--format", *format)
	}
	theirs := func(work string) *exec.Cmd {
		cmd := exec.Command(runner, append([]string{dir, "mkosi", "-C", work, "--workspace-directory", work}, args...)...)
		cmd.Env = append(os.Environ(), "MKOSI_REFERENCE_ROOT="+*reference)
		return cmd
	}
	ours := func(work string) *exec.Cmd {
		return exec.Command(exe, append([]string{"-C", work, "--workspace-directory", work}, args...)...)
	}
	if err := os.Mkdir(filepath.Join(dir, "packages"), 0o755); err != nil {
		return err
	}
	a, b := filepath.Join(dir, "reference"), filepath.Join(dir, "this")
	for _, work := range []string{a, b} {
		if err := prepare(work); err != nil {
			return err
		}
	}
	var rows [2][]figures
	for i := range *pairs + 1 {
		for side, command := range []*exec.Cmd{theirs(a), ours(b)} {
			f, err := rebuild([]string{a, b}[side], i, command)
			if err != nil {
				return err
			}
			if i > 0 {
				rows[side] = append(rows[side], f)
			}
		}
	}
	return report(rows[0], rows[1])
}

// prepare copies the example without what was built there, and has its build script tell how long it took.
func prepare(work string) error {
	if err := os.CopyFS(work, os.DirFS(*example)); err != nil {
		return err
	}
	for _, name := range []string{"mkosi.output", "mkosi.cache", "mkosi.builddir"} {
		path := filepath.Join(work, name)
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
	}
	script := filepath.Join(work, "mkosi.build.chroot")
	b, err := os.ReadFile(script)
	if err != nil {
		return err
	}
	const began = "#!/bin/sh\nbegan=$(date +%s%N)\n"
	if !bytes.HasPrefix(b, []byte("#!/bin/sh\n")) {
		return fmt.Errorf("%s: is not a shell script", script)
	}
	const ended = "echo $(($(date +%s%N) - began)) >\"$BUILDDIR/nanoseconds\"\n"
	b = slices.Concat([]byte(began), bytes.TrimPrefix(b, []byte("#!/bin/sh\n")), []byte(ended))
	return os.WriteFile(script, b, 0o755)
}

// rebuild changes a source file to what it never was and builds again.
func rebuild(work string, round int, cmd *exec.Cmd) (f figures, err error) {
	fmt.Fprintf(os.Stderr, "round %d: %s\n", round, filepath.Base(work))
	source := filepath.Join(work, "src/greeting.c")
	b, err := os.ReadFile(source)
	if err != nil {
		return f, err
	}
	b = append(b, fmt.Sprintf("\nconst int round_%d = %d;\n", round, round)...)
	if err := os.WriteFile(source, b, 0o644); err != nil {
		return f, err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if f.Cost, err = measure.Run(cmd); err != nil {
		return f, fmt.Errorf("building in %s: %w:\n%s", work, err, out.String())
	}
	f.compile, err = compileSeconds(work)
	return f, err
}

// compileSeconds is what the build script wrote down, which is then removed.
func compileSeconds(work string) (float64, error) {
	found, err := filepath.Glob(filepath.Join(work, "mkosi.builddir/*/nanoseconds"))
	if err != nil {
		return 0, err
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("%s: the build script ran in %d build directories, not in one", work, len(found))
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		return 0, err
	}
	nanoseconds, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading what the compiler took: %w", err)
	}
	return float64(nanoseconds) / 1e9, os.Remove(found[0])
}

func report(theirs, ours []figures) error {
	row := func(name string, get func(figures) float64) measure.Row {
		r := measure.Row{Name: name}
		for i := range theirs {
			r.Theirs, r.Ours = append(r.Theirs, get(theirs[i])), append(r.Ours, get(ours[i]))
		}
		return r
	}
	wall := row("wall, seconds", func(f figures) float64 { return f.Wall })
	over := row("over the compiler, seconds", func(f figures) float64 { return f.Wall - f.compile })
	if err := measure.Print(os.Stdout, len(ours), 2, wall, over,
		row("compiler, seconds", func(f figures) float64 { return f.compile }),
		row("CPU, seconds", func(f figures) float64 { return f.CPU })); err != nil {
		return err
	}
	_, err := fmt.Printf("%.1f times faster than the reference, %.1f s over the compiler\n", 1/wall.Ratio(), measure.Median(over.Ours))
	return err
}
