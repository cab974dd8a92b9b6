//go:build integration

package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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
	// conf is its mkosi.conf. @BASE@ in it is the tutorial's base tree, @SMALL@ that of smallTree.
	conf string
	// files are more files of the image's configuration.
	files map[string]string
	// output is the name of its output, the image's own name unless set.
	output string
	// allowed are the differences that there may and must be.
	allowed []allowance
	// traces are differences that there may be.
	traces []allowance
	// check looks into the two trees.
	check func(t *testing.T, theirs, ours string)
}

// allowance is a difference between the reference's tree and ours that is meant to be.
type allowance struct {
	path   string // pattern of path.Match; ** is any path
	what   string // words of tree.Difference.What
	reason string
}

// everywhere are the allowances that may turn up in any tree of a whole system.
var everywhere = []allowance{
	{"usr/lib/udev/hwdb.bin", "size content", "the reference makes it with the systemd of its tools, mkosi with the image's own"},
}

// stepsHeader makes the outputs of both comparable.
const stepsHeader = "[Output]\nSeed=" + testSeed + "\n"

// small is a tree of a few files, which is built upon much faster than a whole Debian.
var small = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(sharedDir, "small")
	for name, content := range map[string]string{
		"usr/lib/os-release":          "ID=debian\nVERSION_ID=\"13\"\n# a comment\nPRETTY_NAME='Small'\n",
		"usr/bin/sh":                  "#!/bin/sh\n",
		"usr/lib/x/already":           "here before\n",
		"etc/passwd":                  "daemon:*:1:1:daemon:/:/bin/false\nroot::0:0:root:/root:/bin/bash\n",
		"etc/shadow":                  "root:*:20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\n",
		"etc/.pwd.lock":               "",
		"var/lib/dpkg/status":         "Package: none\n",
		"var/lib/dpkg/info/none.list": "/.\n",
		"var/lib/apt/extended_states": "",
		"var/cache/apt/pkgcache.bin":  "cache",
		"var/cache/debconf/x.dat":     "cache",
		"var/log/dpkg.log":            "log\n",
		"var/log/apt/history.log":     "log\n",
		"var/cache/ldconfig/aux":      "cache",
	} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o755)); err != nil {
			return "", err
		}
	}
	for _, name := range []string{"bin", "lib", "sbin"} {
		if err := os.Symlink("usr/"+name, filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	return dir, errors.Join(os.MkdirAll(filepath.Join(dir, "usr/sbin"), 0o755), os.MkdirAll(filepath.Join(dir, "boot"), 0o755))
})

func smallTree(t *testing.T) string {
	t.Helper()
	dir, err := small()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// diskForReference is what makes the reference write a disk without a boot partition: it takes every disk for an optical
// one and then misses that.
const diskForReference = "Format=disk\nElTorito=no\n"

// write lays the configuration down in dir.
func (s *steps) write(t *testing.T, dir string) {
	t.Helper()
	put := func(name, content string) {
		t.Helper()
		if filepath.Base(dir) == "theirs" {
			content = strings.ReplaceAll(content, "Format=disk\n", diskForReference)
		}
		if strings.Contains(content, "@BASE@") {
			content = strings.ReplaceAll(content, "@BASE@", filepath.Join(tutorialDir(t), "mkosi.output/base"))
		}
		if strings.Contains(content, "@SMALL@") {
			content = strings.ReplaceAll(content, "@SMALL@", smallTree(t))
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
	if r := run(t, reference(sharedDir, "mkosi", "-C", theirs, "--force", "--local-mirror", mirror)); r.code != 0 {
		t.Fatalf("the reference: %s", r.stderr[max(0, len(r.stderr)-1000):])
	}
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
			sameTree(t, a, b, image.allowed, image.traces)
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
	must(t, reference(sharedDir, "bsdtar", "-x", "-p", "--numeric-owner", "-f", output, "-C", dir))
	// The archive does not have this directory itself.
	if err := os.Chtimes(dir, time.Time{}, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sameTree compares the reference's tree with ours. What is allowed to differ must differ; traces may.
func sameTree(t *testing.T, theirs, ours string, allowed, traces []allowance) {
	t.Helper()
	diffs, err := tree.Compare(t.Context(), theirs, ours, tree.CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	used := map[allowance]bool{}
	for _, d := range diffs {
		allows := func(a allowance) bool {
			ok, err := path.Match(a.path, d.Path)
			return err == nil && (ok || a.path == "**") && slices.Contains(strings.Fields(a.what), d.What)
		}
		// What overlayfs notes for itself the reference keeps; it is of no use in an image and differs from build to build.
		if overlayNotes := d.What == "xattr" && strings.HasPrefix(d.A, "{user.overlay.") && d.B == "{}"; overlayNotes || slices.ContainsFunc(everywhere, allows) || slices.ContainsFunc(traces, allows) {
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

// samePartitions compares the partition tables of two disk images. The identifiers of partitions with a root hash are
// that hash, and differ because mkosi writes erofs itself. How small an ext4 file system may be is an estimate of
// mke2fs, whose version differs; it has to be the same within five percent.
func samePartitions(t *testing.T, theirs, ours string) {
	t.Helper()
	if !isDisk(theirs) || !isDisk(ours) {
		return
	}
	near := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Size" },
		cmp.Comparer(func(a, b int64) bool { return max(a, b)-min(a, b) <= max(a, b)/20 }))
	if diff := cmp.Diff(partitionTable(t, theirs), partitionTable(t, ours), near); diff != "" {
		t.Errorf("the reference's partitions (-) and ours (+) differ:\n%s", diff)
	}
}

// partitionTable has sfdisk check a disk image and returns its partitions, the first two, if there are more than one,
// without their identifiers.
func partitionTable(t *testing.T, image string) []partition {
	t.Helper()
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
	parts := table.PartitionTable.Partitions
	if len(parts) > 1 {
		parts[0].UUID, parts[1].UUID = "", ""
	}
	return parts
}
