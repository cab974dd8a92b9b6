//go:build integration

package test

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// incrementalProject is a configuration with everything that is cached, on top of a base tree that is there: packages, a
// prepare script and build packages. A few seconds build it.
func incrementalProject(t *testing.T) string {
	t.Helper()
	const debian = "[Distribution]\nDistribution=debian\nRelease=trixie\n[Output]\nFormat=directory\n"
	dir := newProject(t, map[string]string{
		"base/mkosi.conf": debian + "Output=base\n",
		"mkosi.conf": debian + "OutputDirectory=mkosi.output\n[Content]\nBaseTrees=base/base\nPackages=less\nBuildPackages=make\n" +
			"[Build]\nCacheDirectory=mkosi.cache\nWorkspaceDirectory=work\nIncremental=yes\n",
		"mkosi.skeleton/etc/skeleton": "one\n",
		"mkosi.prepare":               "#!/bin/sh -e\necho \"$ROUND\" >\"$BUILDROOT/etc/prepared-$1\"\n",
		"mkosi.build":                 "#!/bin/sh -e\nmkosi-chroot make --version >\"$DESTDIR/made\"\n",
		"work/README":                 "",
	})
	for _, name := range []string{"mkosi.prepare", "mkosi.build"} {
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	must(t, mkosi(filepath.Join(dir, "base")))
	return dir
}

var cacheKey = regexp.MustCompile(`^[0-9a-f]{16}$`)

// cacheShape lists what is in a cache directory down to the cached images, whose keys are left out, and its size.
func cacheShape(t *testing.T, dir string) (shape []string, size int64) {
	t.Helper()
	err := tree.Walk(t.Context(), dir, func(e *tree.Entry) error {
		parent, name := filepath.Split(e.Path)
		if cacheKey.MatchString(name) {
			shape = append(shape, parent+"KEY")
			return fs.SkipDir
		}
		shape = append(shape, e.Path)
		return nil
	})
	if err == nil {
		size, err = tree.Size(t.Context(), dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	return shape, size
}

// planOf is what mkosi plan prints.
func planOf(t *testing.T, dir string, args ...string) string {
	t.Helper()
	return must(t, mkosi(dir, append(args, "--force", "plan")...))
}

// TestIncremental tells that a second build takes everything from the cache, that its image is the same, and that each
// change is named and built.
func TestIncremental(t *testing.T) {
	dir := incrementalProject(t)
	check := func(want string, args ...string) {
		t.Helper()
		if diff := cmp.Diff(want, planOf(t, dir, args...)); diff != "" {
			t.Errorf("the plan: %s", diff)
		}
	}
	check(`IMAGE main
  miss  system          nothing is cached yet
  miss  build packages  the system below it is made anew
  run   build scripts
  run   image
`)
	must(t, mkosi(dir))
	first := filepath.Join(dir, "first")
	if err := os.Rename(filepath.Join(dir, "mkosi.output/image"), first); err != nil {
		t.Fatal(err)
	}
	check(`IMAGE main
  hit  system
  hit  build packages
  run  build scripts
  run  image
`)
	check(`IMAGE main
  hit   system          unless the repositories have changed
  miss  build packages  BuildPackages= gained patch
  run   build scripts
  run   image
`, "--build-package=patch")
	must(t, mkosi(dir, "--incremental=strict"))
	found, err := tree.Compare(t.Context(), first, filepath.Join(dir, "mkosi.output/image"), tree.CompareOptions{IgnoreTimes: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range found {
		t.Errorf("an image from the cache differs: %s", d)
	}

	writeFile(t, filepath.Join(dir, "mkosi.skeleton/etc/skeleton"), []byte("two\n"), 0o644)
	check(`IMAGE main
  miss  system          SkeletonTrees=mkosi.skeleton changed: etc/skeleton differs
  miss  build packages  the system below it is made anew
  run   build scripts
  run   image
`)
	oneMessage(t, run(t, mkosi(dir, "--force", "--incremental=strict")), exitFailed, "etc/skeleton differs", "hint:")
	must(t, mkosi(dir, "--force"))
	if got := string(readFile(t, filepath.Join(dir, "mkosi.output/image/etc/skeleton"))); got != "two\n" {
		t.Errorf("the skeleton tree is %q", got)
	}
}

// TestIncrementalKill kills incremental builds at random moments, each followed by one that is left alone and must make
// a good image and leave nothing of the killed one. MKOSI_TEST_KILLS says how often, 20 times without it.
func TestIncrementalKill(t *testing.T) {
	rounds := 20
	if text := os.Getenv("MKOSI_TEST_KILLS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	nothingLeft := leavesNothing(t)
	dir := incrementalProject(t)
	build := func(args ...string) time.Duration {
		t.Helper()
		start := time.Now()
		must(t, mkosi(dir, append(args, "--force")...))
		return time.Since(start)
	}
	build("--environment=ROUND=0") // downloads
	makes, uses := build("--environment=ROUND=1"), build("--environment=ROUND=1")
	shape, size := cacheShape(t, filepath.Join(dir, "mkosi.cache"))
	t.Logf("making the cached images takes %v, using them %v", makes, uses)

	value := 1
	for round := range rounds {
		limit := uses
		if round%2 == 0 {
			value, limit = value+1, makes
		}
		environment := "--environment=ROUND=" + strconv.Itoa(value)
		killBuild(t, mkosi(dir, "--force", environment), rand.N(limit))
		nothingLeft()
		build(environment)
		checkRound(t, dir, value, shape, size)
		if t.Failed() {
			t.Fatalf("after the kill of round %d", round)
		}
	}
	nothingLeft()
}

// killBuild starts a build and kills its process group after a while. It may have ended by then.
func killBuild(t *testing.T, cmd *exec.Cmd, after time.Duration) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the signal, mostly
}

// checkRound checks the image of a round, and what is left in the directories of its build.
func checkRound(t *testing.T, dir string, value int, shape []string, size int64) {
	t.Helper()
	image := filepath.Join(dir, "mkosi.output/image")
	if got, want := string(readFile(t, filepath.Join(image, "etc/prepared-final"))), strconv.Itoa(value)+"\n"; got != want {
		t.Errorf("the prepare script saw %q, want %q", got, want)
	}
	for _, name := range []string{"made", "usr/bin/less", "etc/skeleton"} {
		if fi, err := os.Stat(filepath.Join(image, name)); err != nil || fi.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"usr/bin/make", "etc/prepared-build"} {
		if _, err := os.Stat(filepath.Join(image, name)); err == nil {
			t.Errorf("%s is in the image", name)
		}
	}
	got, now := cacheShape(t, filepath.Join(dir, "mkosi.cache"))
	if diff := cmp.Diff(shape, got); diff != "" {
		t.Errorf("the cache directory: %s", diff)
	}
	if now > size+size/50 {
		t.Errorf("the cache directory has %d bytes, and %d after a clean run", now, size)
	}
	if diff := cmp.Diff([]string{"image"}, names(t, filepath.Join(dir, "mkosi.output"))); diff != "" {
		t.Errorf("the output directory: %s", diff)
	}
	if diff := cmp.Diff([]string{"README"}, names(t, filepath.Join(dir, "work"))); diff != "" {
		t.Errorf("the workspace directory: %s", diff)
	}
}
