// Command config has the reference and this project's binary read the largest configuration of the corpus, in turn, and
// compares them. It fails when this binary is not as fast, or not as small, as it has to be.
//
// It needs root and the reference root that test/setup makes. Both programs run in that root, so that they see the same
// machine. The reference copies files to /tmp whenever it starts, which costs it half of its time on a disk; with -memory
// that is in memory, for it and for this binary.
//
//	go run ./bench/config [-n PAIRS] [-mkosi BINARY] [-corpus DIRECTORY] [-tree NAME] [-memory] [-root REFERENCE]
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/mkosi-go/mkosi/bench/internal/measure"
)

// What this binary has to reach.
const (
	leastSpeedup = 20 // times as fast as the reference
	mostMillis   = 30
	mostMiB      = 40
)

var (
	pairs     = flag.Int("n", 15, "number of counted pairs")
	binary    = flag.String("mkosi", "bin/mkosi", "the binary to measure")
	corpus    = flag.String("corpus", corpusDir(), "the corpus: trees, and beside each what the reference said about it")
	only      = flag.String("tree", "", "the tree to read instead of the largest")
	memory    = flag.Bool("memory", false, "put /tmp into memory")
	reference = flag.String("root", measure.Reference(), "the root that holds the reference")
	inside    = flag.String("inside", "", "for the benchmark itself: measure in this directory, with the remaining arguments")
)

func corpusDir() string {
	if dir := os.Getenv("MKOSI_CORPUS"); dir != "" {
		return dir
	}
	return "../shared/reference/corpus"
}

func main() {
	flag.Parse()
	do := outside
	if *inside != "" {
		do = measurePairs
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// outside prepares a directory and runs the benchmark again in the reference's root.
func outside() error {
	c, err := largest()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("/var/tmp", "mkosi-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(filepath.Join(dir, c.name), os.DirFS(filepath.Join(*corpus, c.name))); err != nil {
		return err
	}
	if err := restoreLinks(filepath.Join(dir, c.name)); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for name, path := range map[string]string{"bench": self, "mkosi": *binary} {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
			return err
		}
	}
	fmt.Printf("%s %s: %d images, %d configuration files\n", filepath.Join(c.name, c.Dir), strings.Join(c.Args, " "), len(c.JSON.Images), c.files())
	script := `exec "$@"`
	if *memory {
		script = "mount -t tmpfs tmpfs /tmp && " + script
	}
	args := []string{dir, "bash", "-c", script, "_",
		filepath.Join(dir, "bench"), "-n", fmt.Sprint(*pairs), "-inside", dir, "--",
		"-C", filepath.Join(dir, c.name, c.Dir), "--json"}
	cmd := exec.Command("test/reference", append(append(args, c.Args...), "summary")...)
	cmd.Env = append(os.Environ(), "MKOSI_REFERENCE_ROOT="+*reference)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// corpusCase is one way to read a tree, and what the reference said.
type corpusCase struct {
	name string
	Args []string
	Dir  string // below the tree
	RC   int
	JSON struct{ Images []struct{ Files []string } }
}

func (c corpusCase) files() int {
	n := 0
	for _, img := range c.JSON.Images {
		n += len(img.Files)
	}
	return n
}

// largest finds the case for which most configuration files are read.
func largest() (best corpusCase, err error) {
	paths, err := filepath.Glob(filepath.Join(*corpus, "*.expect.json"))
	if err != nil {
		return best, err
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return best, err
		}
		var cases []corpusCase
		if err := json.Unmarshal(data, &cases); err != nil {
			return best, fmt.Errorf("%s: %w", path, err)
		}
		for _, c := range cases {
			c.name = strings.TrimSuffix(filepath.Base(path), ".expect.json")
			if (*only == "" || c.name == *only) && c.RC == 0 && c.files() > best.files() {
				best = c
			}
		}
	}
	if best.name == "" {
		return best, fmt.Errorf("there is no such tree in the corpus %s: name another directory with -corpus", *corpus)
	}
	return best, nil
}

// restoreLinks makes symbolic links of the files that git wrote in their place: those that hold nothing but the path of
// another file.
func restoreLinks(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		target := string(data)
		if len(data) == 0 || len(data) > 4096 || bytes.ContainsAny(data, "\n\x00=[#") || filepath.IsAbs(target) {
			return nil
		}
		if _, err := os.Lstat(filepath.Join(filepath.Dir(path), target)); err != nil {
			return nil
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		return os.Symlink(target, path)
	})
}

// measurePairs runs both programs in turn and reports. The first pair only warms caches.
func measurePairs() error {
	var theirs, ours []measure.Cost
	for i := range *pairs + 1 {
		for _, program := range []struct {
			path  string
			costs *[]measure.Cost
		}{{"mkosi", &theirs}, {filepath.Join(*inside, "mkosi"), &ours}} {
			var stderr bytes.Buffer
			cmd := exec.Command(program.path, flag.Args()...)
			cmd.Stdout, cmd.Stderr = io.Discard, &stderr
			cost, err := measure.Run(cmd)
			if err != nil {
				return fmt.Errorf("%s: %w: %s", program.path, err, stderr.String())
			}
			if i > 0 {
				*program.costs = append(*program.costs, cost)
			}
		}
	}
	wall := row("wall, milliseconds", theirs, ours, func(c measure.Cost) float64 { return c.Wall * 1000 })
	peak := row("largest process, MiB", theirs, ours, func(c measure.Cost) float64 { return c.Peak })
	cpu := row("CPU, milliseconds", theirs, ours, func(c measure.Cost) float64 { return c.CPU * 1000 })
	if err := measure.Print(os.Stdout, *pairs, 3, wall, cpu, peak); err != nil {
		return err
	}
	var missed []error
	if speedup := 1 / wall.Ratio(); speedup < leastSpeedup {
		missed = append(missed, fmt.Errorf("only %.1f times as fast, not %d", speedup, leastSpeedup))
	}
	if ms := measure.Median(wall.Ours); ms > mostMillis {
		missed = append(missed, fmt.Errorf("it takes %.1f ms, more than %d", ms, mostMillis))
	}
	if mib := measure.Median(peak.Ours); mib > mostMiB {
		missed = append(missed, fmt.Errorf("it needs %.1f MiB, more than %d", mib, mostMiB))
	}
	return errors.Join(missed...)
}

func row(name string, theirs, ours []measure.Cost, get func(measure.Cost) float64) measure.Row {
	r := measure.Row{Name: name}
	for i := range ours {
		r.Theirs, r.Ours = append(r.Theirs, get(theirs[i])), append(r.Ours, get(ours[i]))
	}
	return r
}
