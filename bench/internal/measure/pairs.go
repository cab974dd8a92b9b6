package measure

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Builds are builds of one configuration by the reference and by this project's binary, in turn.
type Builds struct {
	// Pairs is how many pairs are counted. One comes before them: it leaves package caches and metadata warm on both sides.
	Pairs int
	// Binary is the one to measure, Reference the root that holds the reference, Scratch a directory for the file systems.
	Binary, Reference, Scratch string
	// Example is the configuration, with mkosi.key and mkosi.crt.
	Example string
	// Options are for both, ReferenceOptions for the reference.
	Options, ReferenceOptions []string
}

// Built is what a build cost and printed.
type Built struct {
	Cost
	Output string
}

// Run runs the builds, each on a file system of its own (see [OnFresh]), and says on standard error which one is next.
func (b Builds) Run() (theirs, ours []Built, err error) {
	mirror, err := Mirror()
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp(b.Scratch, "mkosi-bench-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	exe, err := filepath.Abs(b.Binary)
	if err != nil {
		return nil, nil, err
	}
	runner, err := filepath.Abs("test/reference")
	if err != nil {
		return nil, nil, err
	}
	args := append([]string{"--local-mirror", mirror, "--force",
		"--package-cache-directory", filepath.Join(dir, "packages"), "--cache-directory", filepath.Join(dir, "cache")}, b.Options...)
	for _, d := range []string{"packages", "cache"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return nil, nil, err
		}
	}
	this := func(work string) *exec.Cmd { return exec.Command(exe, append([]string{"-C", work}, args...)...) }
	reference := func(work string) *exec.Cmd {
		words := append([]string{dir, "mkosi", "-C", work, "--workspace-dir", filepath.Dir(work)}, b.ReferenceOptions...)
		cmd := exec.Command(runner, append(words, args...)...)
		cmd.Env = append(os.Environ(), "MKOSI_REFERENCE_ROOT="+b.Reference)
		return cmd
	}
	build := func(name string, command func(work string) *exec.Cmd) (r Built, err error) {
		fmt.Fprintf(os.Stderr, "building with %s\n", name)
		r.Cost, r.Output, err = OnFresh(dir, b.Example, command)
		return r, err
	}
	for i := range b.Pairs + 1 {
		t, err := build("the reference", reference)
		if err != nil {
			return nil, nil, err
		}
		o, err := build("this", this)
		if err != nil {
			return nil, nil, err
		}
		if i > 0 {
			theirs, ours = append(theirs, t), append(ours, o)
		}
	}
	return theirs, ours, nil
}

// CostRows are the rows of a table with what builds cost.
func CostRows(theirs, ours []Built) []Row {
	rows := []Row{{Name: "wall, seconds"}, {Name: "CPU, seconds"}, {Name: "largest process, MiB"}}
	for i := range theirs {
		t, o := theirs[i], ours[i]
		for r, pair := range [][2]float64{{t.Wall, o.Wall}, {t.CPU, o.CPU}, {t.Peak, o.Peak}} {
			rows[r].Theirs, rows[r].Ours = append(rows[r].Theirs, pair[0]), append(rows[r].Ours, pair[1])
		}
	}
	return rows
}
