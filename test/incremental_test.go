//go:build integration

package test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// incrementalProject is a configuration with everything that is cached, on top of a base tree that is there: packages, a
// prepare script and build packages. A few seconds build it.
func incrementalProject(t *testing.T) string {
	t.Helper()
	dir := newProject(t, map[string]string{
		"mkosi.conf": withBase(t, debianDirectory+"[Content]\nBaseTrees=@BASE@\nPackages=less\nBuildPackages=make\n"+
			"[Build]\nCacheDirectory=mkosi.cache\nIncremental=yes\n"),
		"mkosi.skeleton/etc/skeleton": "one\n",
	})
	for name, script := range map[string]string{
		"mkosi.prepare": "#!/bin/sh -e\necho \"$1\" >\"$BUILDROOT/etc/prepared-$1\"\n",
		"mkosi.build":   "#!/bin/sh -e\nmkosi-chroot make --version >\"$DESTDIR/made\"\n",
	} {
		writeFile(t, filepath.Join(dir, name), []byte(script), 0o755)
	}
	return dir
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
