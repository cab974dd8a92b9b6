//go:build integration

package test

import (
	"path/filepath"
	"strings"
	"testing"
)

// packageLeftovers are the traces of how packages were installed, which is where the reference and mkosi differ; that
// they are all there is, TestDebFastPath proves file by file.
var packageLeftovers = []allowance{
	{"**", "mtime", "mkosi gives directories the times of the packages, dpkg those of the last file that it put there"},
	{"etc/.pwd.lock", "existence", "a lock that nobody holds any more"},
	{"var/lib/dpkg/status-old", "size content", "dpkg's copy from before its last change"},
	{"var/lib/dpkg/diversions-old", "existence", "likewise"},
	{"var/cache/debconf/*-old", "size content existence", "debconf's copy from before its last change"},
	{"var/cache/ldconfig", "existence", "mkosi removes the cache of inode numbers"},
	{"var/cache/ldconfig/aux-cache", "size content existence", "holds inode numbers"},
	{"var/log/alternatives.log", "size content", "holds the time of day"},
	{"var/lib/apt/extended_states", "size content", "apt writes packages in the order of its hash table"},
}

// What is installed into an empty root and removed from it again.
func TestStepsPackages(t *testing.T) {
	t.Parallel()
	const begin = "[Output]\nFormat=directory\n[Content]\n"
	has := func(name string, want bool) func(*testing.T, string, string) {
		return func(t *testing.T, _, ours string) {
			matches, err := filepath.Glob(filepath.Join(ours, name))
			if err != nil || (len(matches) > 0) != want {
				t.Errorf("%s: %v, %v", name, matches, err)
			}
		}
	}
	s := &steps{
		universal: "[Output]\nOutputDirectory=mkosi.output\n",
		images: map[string]stepsImage{
			"remove": {conf: begin + "Packages=less,hostname\nRemovePackages=less\n", check: has("usr/bin/less", false)},
			"docs":   {conf: begin + "WithDocs=no\nPackages=less\n", check: has("usr/share/man/man1/*", false)},
			"recommends": {conf: begin + "WithRecommends=yes\nPackages=bash\n", allowed: []allowance{
				{"etc/apt/sources.list.d/trixie.sources", "size content", "mkosi writes this machine's mirrors, the reference those of Debian with its debug packages"},
			}},
		},
	}
	for name, image := range s.images {
		image.traces = packageLeftovers
		s.images[name] = image
	}
	s.run(t)
}

// A package of PackageDirectories=, and apt's configuration from a sandbox tree, that of images included.
func TestStepsPackageDirectories(t *testing.T) {
	t.Parallel()
	s := &steps{
		universal: "[Output]\nOutputDirectory=mkosi.output\n",
		images: map[string]stepsImage{
			"local": {
				conf:   "[Output]\nFormat=sysext\nOverlay=yes\n[Content]\nBaseTrees=@BASE@\nPackages=mkosi-steps-test\n",
				output: "local.raw",
			},
		},
		setup: func(t *testing.T, dir string) {
			control := "Package: mkosi-steps-test\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: a test\n"
			writeFile(t, filepath.Join(dir, "package/DEBIAN/control"), []byte(control), 0o644)
			writeFile(t, filepath.Join(dir, "package/usr/share/mkosi-steps-test/file"), []byte("local\n"), 0o644)
			writeFile(t, filepath.Join(dir, "mkosi.packages/.keep"), nil, 0o644)
			must(t, reference(sharedDir, "dpkg-deb", "--root-owner-group", "--build", filepath.Join(dir, "package"), filepath.Join(dir, "mkosi.packages/mkosi-steps-test_1.0_all.deb")))
		},
	}
	s.run(t)
}

// apt obeys a configuration in mkosi.sandbox: here it forbids a package, so that no installation can succeed.
func TestStepsSandboxTree(t *testing.T) {
	t.Parallel()
	s := &steps{
		files: map[string]string{"mkosi.sandbox/etc/apt/preferences.d/never": "Package: less\nPin: release *\nPin-Priority: -1\n"},
		images: map[string]stepsImage{
			"forbidden": {conf: onBase + "Packages=less\n"},
		},
	}
	mirror, err := hostMirror()
	if err != nil {
		t.Fatal(err)
	}
	for _, side := range []string{"theirs", "ours"} {
		dir := filepath.Join(sharedDir, "steps", t.Name(), side)
		s.write(t, dir)
		cmd := mkosi(dir, "--force", "--local-mirror", mirror)
		if side == "theirs" {
			cmd = reference(sharedDir, "mkosi", "-C", dir, "--force", "--local-mirror", mirror)
		}
		r := run(t, cmd)
		if r.code == 0 || !strings.Contains(r.stderr, "ackage less ") && !strings.Contains(r.stderr, "'less'") {
			t.Errorf("%s: exit code %d\n%s", side, r.code, r.stderr[max(0, len(r.stderr)-1000):])
		}
	}
}
