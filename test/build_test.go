//go:build integration

package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// bareProject makes a configuration upon a base tree that holds next to nothing, so that its builds need no repository
// and take no time but the scripts'. Files that begin with "#!" are for running.
func bareProject(t *testing.T, conf string, files map[string]string) string {
	t.Helper()
	all := map[string]string{
		"mkosi.conf": "[Distribution]\nDistribution=debian\nRelease=trixie\n[Output]\nFormat=directory\nOutputDirectory=mkosi.output\n" +
			"[Content]\nBaseTrees=base\n[Build]\nCacheOnly=always\nWorkspaceDirectory=work\n" + conf,
		"base/usr/lib/os-release":  "ID=test\n",
		"base/usr/bin/README":      "",
		"base/var/lib/dpkg/status": "",
		"work/README":              "",
	}
	for name, content := range files {
		all[name] = content
	}
	dir := newProject(t, all)
	for name, content := range all {
		if strings.HasPrefix(content, "#!") {
			if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// contents are the files below a directory by their names, which may be patterns; a directory has no content.
func contents(t *testing.T, dir string, patterns ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			name, err := filepath.Rel(dir, path)
			if err != nil {
				t.Fatal(err)
			}
			if fi, err := os.Stat(path); err == nil && fi.IsDir() {
				found[name] = ""
				continue
			}
			found[name] = string(readFile(t, path))
		}
	}
	return found
}

// makePackage is shell code that puts a package with one file into $PACKAGEDIR.
func makePackage(name string) string {
	return strings.ReplaceAll(`mkdir -p /tmp/NAME/DEBIAN /tmp/NAME/usr/share/made
printf 'Package: NAME\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: x\n' >/tmp/NAME/DEBIAN/control
echo NAME >/tmp/NAME/usr/share/made/NAME
dpkg-deb -b /tmp/NAME "$PACKAGEDIR/NAME.deb"
`, "NAME", name)
}

// TestBuildDirectories tells which directories of scripts are whose: packages are for the same image and the next ones,
// artifacts for later scripts of the same image, outputs for the output directory, and all sources are where the
// configuration wants them.
func TestBuildDirectories(t *testing.T) {
	nothingLeft := leavesNothing(t)
	dir := bareProject(t, "BuildSources=sources/one:first,sources/two:second\n[Content]\nVolatilePackages=early,late\n[Config]\nDependencies=sub\n", map[string]string{
		"sources/one/file":                 "1\n",
		"sources/two/file":                 "2\n",
		"mkosi.images/sub/mkosi.conf":      "[Output]\nFormat=none\n[Content]\nBaseTrees=../../base\n",
		"mkosi.images/sub/mkosi.build":     "#!/bin/sh -e\necho sub >\"$ARTIFACTDIR/sub\"\n" + makePackage("early"),
		"mkosi.build":                      "#!/bin/sh -e\necho main \"$@\" >\"$ARTIFACTDIR/main\"\ncd /work/src\necho * */* >\"$DESTDIR/sources\"\n" + makePackage("late"),
		"mkosi.postinst":                   "#!/bin/sh -e\nmkdir \"$OUTPUTDIR/more\"\ncp -r \"$ARTIFACTDIR\" \"$OUTPUTDIR/more/artifacts\"\n",
		"mkosi.output/more/of/last/time":   "old\n",
		"mkosi.output/image.notes":         "mine\n",
		"mkosi.output/image.manifest":      "of another build\n",
		"mkosi.extra/usr/share/made/early": "of the extra tree\n",
	})
	must(t, mkosi(dir, "--force", "build", "--", "one", "two"))
	nothingLeft()
	want := map[string]string{
		"image/sources":              "first second first/file second/file\n",
		"image/usr/share/made/early": "of the extra tree\n",
		"image/usr/share/made/late":  "late\n",
		"image.notes":                "mine\n",
		"more/artifacts":             "",
		"more/artifacts/main":        "main one two\n",
	}
	got := contents(t, filepath.Join(dir, "mkosi.output"), "image/sources", "image/usr/share/made/*", "image.*", "more/*", "more/*/*")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestBuildSourcesEphemeral builds twice with each value, and tells where changes to the sources go. An image without
// output does for that.
func TestBuildSourcesEphemeral(t *testing.T) {
	const buildScript = "#!/bin/sh -e\ncd /work/src\necho * >>\"$BUILDDIR/seen\"\ntouch new\n"
	for _, test := range []struct {
		ephemeral string
		args      []string
		want      map[string]string
	}{
		{"no", nil, map[string]string{"source/file": "", "source/new": "", "builds/debian~trixie~x86-64/seen": "file\nfile new\n"}},
		{"yes", nil, map[string]string{"source/file": "", "builds/debian~trixie~x86-64/seen": "file\nfile\n"}},
		{"buildcache", []string{"--build-key=-"}, map[string]string{
			"source/file": "", "builds/seen": "file\nfile new\n", "builds/mkosi.buildovl.source": "", "builds/mkosi.buildovl.source/new": "",
		}},
		{"no", []string{"--wipe-build-dir", "--build-key=key"}, map[string]string{"source/file": "", "source/new": "", "builds/key/seen": "file new\n"}},
	} {
		t.Run(strings.Join(append(test.args, test.ephemeral), " "), func(t *testing.T) {
			dir := bareProject(t, "BuildSources=source\nBuildDirectory=builds\n", map[string]string{
				"source/file": "", "mkosi.build": buildScript, "builds/README": "",
			})
			if err := os.Remove(filepath.Join(dir, "builds/README")); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				must(t, mkosi(dir, append(test.args, "--format=none", "--build-sources-ephemeral="+test.ephemeral)...))
			}
			got := contents(t, dir, "source/*", "builds/seen", "builds/*/seen", "builds/mkosi.buildovl.source", "builds/mkosi.buildovl.source/*")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if left := names(t, filepath.Join(dir, "mkosi.output")); len(left) > 0 {
				t.Errorf("an image without output made %v", left)
			}
		})
	}
}

// TestBuildRerun runs build scripts again on what an earlier build kept, and clean scripts when there is something to
// clean.
func TestBuildRerun(t *testing.T) {
	note := func(what string) string { return "#!/bin/sh -e\necho " + what + " $CACHED >>/work/src/log\n" }
	dir := bareProject(t, "Incremental=yes\nCacheDirectory=mkosi.cache\n", map[string]string{
		"mkosi.sync": note("sync"), "mkosi.build": note("build"), "mkosi.postinst": note("postinst"), "mkosi.clean": note("clean"),
	})
	check := func(want string, args ...string) {
		t.Helper()
		must(t, mkosi(dir, args...))
		log := filepath.Join(dir, "log")
		if got := strings.ReplaceAll(string(readFile(t, log)), "\n", ","); got != want {
			t.Errorf("mkosi %v ran %s, want %s", args, got, want)
		}
		if err := os.Remove(log); err != nil {
			t.Fatal(err)
		}
	}
	oneMessage(t, run(t, mkosi(dir, "-R")), exitUsage, "--rerun-build-scripts: the image is not built yet", "hint:")
	check("clean,sync 0,build,postinst,")
	check("sync 1,build,", "-R")
	check("clean,sync 1,build,postinst,", "-f")
	check("clean,sync 0,build,postinst,", "-f", "--incremental=no")
	check("clean,", "clean")
	check("sync 0,build,postinst,", "--incremental=no")
}

// TestBuildFailingScript tells how scripts that fail, or cannot run, end a build: with one message, no output, and
// nothing left.
func TestBuildFailingScript(t *testing.T) {
	for _, test := range []struct {
		name, script string
		mode         os.FileMode
		code         int
		words        []string
	}{
		{"mkosi.build", "#!/bin/sh\nexit 3\n", 0o755, 3, []string{"build script mkosi.build", "3"}},
		{"mkosi.postinst", "#!/bin/sh\nkill -9 $$\n", 0o755, 137, []string{"postinst script mkosi.postinst", "kill"}},
		{"mkosi.build", "#!/bin/sh\n", 0o644, exitUsage, []string{"mkosi.build", "chmod +x"}},
		{"mkosi.finalize", "#!/no/such/shell\n", 0o755, exitFailed, []string{"finalize script mkosi.finalize", "hint: the program that its first line names"}},
		{"mkosi.postinst.chroot", "#!/bin/sh\n", 0o755, 127, []string{"postinst script mkosi.postinst.chroot", "no such file"}},
	} {
		t.Run(test.name+" "+test.words[len(test.words)-1], func(t *testing.T) {
			nothingLeft := leavesNothing(t)
			dir := bareProject(t, "", nil)
			writeFile(t, filepath.Join(dir, test.name), []byte(test.script), test.mode)
			oneMessage(t, run(t, mkosi(dir)), test.code, test.words...)
			nothingLeft()
			if left := names(t, filepath.Join(dir, "work")); len(left) > 1 {
				t.Errorf("the workspace directory has %v", left)
			}
			if _, err := os.Stat(filepath.Join(dir, "mkosi.output/image")); err == nil {
				t.Error("there is an output")
			}
		})
	}
}
