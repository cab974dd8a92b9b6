//go:build integration

package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// The steps tests give one configuration to the reference and to mkosi and compare what comes out. A configuration has
// many images, so that the reference starts once; each image is a case.

// steps is a configuration of several images.
type steps struct {
	// universal is what all images share, which mkosi.conf says.
	universal string
	// files are more files of the configuration.
	files map[string]string
	// setup makes what files cannot.
	setup func(t *testing.T, dir string)
	// images are the cases.
	images map[string]stepsImage
}

// stepsImage is one case.
type stepsImage struct {
	// conf is its mkosi.conf. @BASE@ in it is the tutorial's base tree.
	conf string
	// files are more files of the image's configuration.
	files map[string]string
	// output is the name of its output, the image's own name unless set.
	output string
	// allowed are the differences that there may and must be.
	allowed []allowance
	// check looks into the two trees.
	check func(t *testing.T, theirs, ours string)
}

// allowance is a difference between the reference's tree and ours that is meant to be.
type allowance struct {
	path   string // pattern of path.Match
	what   string // words of tree.Difference.What
	reason string
}

// everywhere are the allowances that may turn up in any tree of a whole system.
var everywhere = []allowance{
	{"usr/lib/udev/hwdb.bin", "size content", "the reference makes it with the systemd of its tools, mkosi with the image's own"},
}

// stepsHeader makes the outputs of both comparable.
const stepsHeader = "[Output]\nSeed=" + testSeed + "\n"

// write lays the configuration down in dir.
func (s *steps) write(t *testing.T, dir string) {
	t.Helper()
	put := func(name, content string) {
		t.Helper()
		if strings.Contains(content, "@BASE@") {
			content = strings.ReplaceAll(content, "@BASE@", filepath.Join(tutorialDir(t), "mkosi.output/base"))
		}
		writeFile(t, filepath.Join(dir, name), []byte(content), 0o644)
	}
	put("mkosi.conf", "[Distribution]\nDistribution=debian\nRelease=trixie\n[Output]\nFormat=none\n[Content]\nSourceDateEpoch="+testEpoch+"\n"+s.universal)
	for name, content := range s.files {
		put(name, content)
	}
	for name, image := range s.images {
		put("mkosi.images/"+name+"/mkosi.conf", stepsHeader+image.conf)
		for file, content := range image.files {
			put("mkosi.images/"+name+"/"+file, content)
		}
	}
	if s.setup != nil {
		s.setup(t, dir)
	}
}

// build has both build the configuration, each in a directory of its own.
func (s *steps) build(t *testing.T) (theirs, ours string) {
	t.Helper()
	mirror, err := hostMirror()
	if err != nil {
		t.Fatal(err)
	}
	top := filepath.Join(sharedDir, "steps", strings.ReplaceAll(t.Name(), "/", "-"))
	theirs, ours = filepath.Join(top, "theirs"), filepath.Join(top, "ours")
	s.write(t, theirs)
	s.write(t, ours)
	must(t, mkosi(ours, "--force", "--local-mirror", mirror))
	must(t, reference(sharedDir, "mkosi", "-C", theirs, "--force", "--local-mirror", mirror))
	return theirs, ours
}

// run builds the configuration and compares every image.
func (s *steps) run(t *testing.T) {
	t.Helper()
	theirs, ours := s.build(t)
	if diff := cmp.Diff(outputs(t, filepath.Join(theirs, "mkosi.output")), outputs(t, filepath.Join(ours, "mkosi.output"))); diff != "" {
		t.Errorf("the reference's outputs (-) and ours (+) differ:\n%s", diff)
	}
	for _, name := range slices.Sorted(maps.Keys(s.images)) {
		image := s.images[name]
		t.Run(name, func(t *testing.T) {
			output := filepath.Join("mkosi.output", cmpOr(image.output, name))
			a, b := filepath.Join(theirs, output), filepath.Join(ours, output)
			samePartitions(t, a, b)
			a, b = open(t, a), open(t, b)
			sameTree(t, a, b, image.allowed)
			if image.check != nil {
				image.check(t, a, b)
			}
		})
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// outputs lists a directory of outputs: names, modes and what links point to.
func outputs(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		target, _ := os.Readlink(filepath.Join(dir, e.Name()))
		list = append(list, fmt.Sprintf("%s %v %s", e.Name(), fi.Mode(), target))
	}
	return list
}

// isDisk reports whether a file begins like a disk image with a protective MBR.
func isDisk(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	var b [2]byte
	_, err = f.ReadAt(b[:], sector-2)
	return err == nil && b == [2]byte{0x55, 0xaa}
}

// open makes what is in an output readable as a tree.
func open(t *testing.T, output string) string {
	t.Helper()
	fi, err := os.Stat(output)
	if err != nil {
		t.Fatal(err)
	}
	if fi.IsDir() {
		return output
	}
	output, err = filepath.EvalSymlinks(output)
	if err != nil {
		t.Fatal(err)
	}
	if isDisk(output) {
		return mountPartition(t, output, partitions(t, output)[0].Start*sector)
	}
	// Everything else that is built here is a cpio archive.
	dir, err := os.MkdirTemp(sharedDir, "cpio-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	unpack := `cd "$0"; if zstd -tq "$1" 2>/dev/null; then zstd -dc "$1"; else cat "$1"; fi | cpio -idm --quiet`
	must(t, reference(sharedDir, "sh", "-c", unpack, dir, output))
	return dir
}

// sameTree compares the reference's tree with ours. What is allowed to differ must differ.
func sameTree(t *testing.T, theirs, ours string, allowed []allowance) {
	t.Helper()
	diffs, err := tree.Compare(t.Context(), theirs, ours, tree.CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	used := map[allowance]bool{}
	for _, d := range diffs {
		allows := func(a allowance) bool {
			ok, err := path.Match(a.path, d.Path)
			return err == nil && ok && slices.Contains(strings.Fields(a.what), d.What)
		}
		if slices.ContainsFunc(everywhere, allows) {
			continue
		}
		if i := slices.IndexFunc(allowed, allows); i >= 0 {
			used[allowed[i]] = true
			continue
		}
		t.Errorf("the reference's and ours: %s", d)
	}
	for _, a := range allowed {
		if !used[a] {
			t.Errorf("%s of %s does not differ, so it need not be allowed", a.what, a.path)
		}
	}
}

// samePartitions compares the partition tables of two disk images: types, names, where they start and in which order.
// Sizes are not the same byte for byte: mkosi packs file systems with its own writers.
func samePartitions(t *testing.T, theirs, ours string) {
	t.Helper()
	if !isDisk(theirs) || !isDisk(ours) {
		return
	}
	table := func(image string) []partition {
		image, err := filepath.EvalSymlinks(image)
		if err != nil {
			t.Fatal(err)
		}
		if r := run(t, reference(sharedDir, "sfdisk", "--verify", image)); r.code != 0 {
			t.Errorf("sfdisk --verify %s: %s%s", image, r.stdout, r.stderr)
		}
		var table struct {
			PartitionTable struct{ Partitions []partition }
		}
		if err := json.Unmarshal([]byte(must(t, reference(sharedDir, "sfdisk", "--json", image))), &table); err != nil {
			t.Fatal(err)
		}
		return table.PartitionTable.Partitions
	}
	if diff := cmp.Diff(table(theirs), table(ours)); diff != "" {
		t.Errorf("the reference's partitions (-) and ours (+) differ:\n%s", diff)
	}
}
