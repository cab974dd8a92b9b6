//go:build integration

package test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// How many kills TestKills makes unless MKOSI_TEST_KILLS says so, and the seed of their moments, which are others with
// another MKOSI_TEST_SEED.
const (
	defaultKills = 20
	defaultSeed  = 4
)

// A project with everything that is kept between builds, on a base tree that is there: packages, build packages, what
// prepare scripts make, and what build scripts do. It makes a disk and a directory, side by side, in less than a second.
const (
	killedProject = `[Distribution]
Distribution=debian
Release=trixie
[Output]
Format=disk
Output=disk
OutputDirectory=mkosi.output
[Content]
BaseTrees=@BASE@
Packages=less
BuildPackages=make
[Build]
Incremental=yes
CacheDirectory=mkosi.cache
BuildDirectory=mkosi.builddir
WorkspaceDirectory=mkosi.workspace
`
	killedExtension = "[Output]\nFormat=directory\nOverlay=yes\n[Content]\nBaseTrees=@BASE@\nPackages=patch\n"
	killedPrepare   = "#!/bin/sh -eu\necho \"$1\" >\"$BUILDROOT/opt/$1\"\n"
	killedBuild     = `#!/bin/sh -eu
mkosi-chroot make --version >"$BUILDDIR/version"
mkdir -p "$DESTDIR/opt"
for i in $(seq 200); do echo $i >"$DESTDIR/opt/$i"; done
`
)

// killable is the project that builds are killed in, built once and undisturbed.
func killable(t *testing.T) string {
	t.Helper()
	dir := newProject(t, map[string]string{
		"mkosi.conf":                        withBase(t, killedProject),
		"mkosi.images/extension/mkosi.conf": withBase(t, killedExtension),
	})
	for name, script := range map[string]string{"mkosi.prepare": killedPrepare, "mkosi.build": killedBuild} {
		writeFile(t, filepath.Join(dir, name), []byte(script), 0o755)
	}
	for _, name := range []string{"mkosi.output", "mkosi.cache", "mkosi.builddir", "mkosi.workspace"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	must(t, killableBuild(dir))
	return dir
}

func killableBuild(dir string, args ...string) *exec.Cmd {
	cmd := mkosi(dir, append([]string{"--force", "--seed", testSeed, "--source-date-epoch", testEpoch}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// setting is a number that the environment may change.
func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// took runs a command that has to succeed and tells how long it ran.
func took(t *testing.T, cmd *exec.Cmd) time.Duration {
	t.Helper()
	start := time.Now()
	must(t, cmd)
	return time.Since(start)
}

// footprint is what a project's directories hold: for each their entries at the top, and the number and size of all below.
type footprint struct {
	top   map[string][]string
	count map[string]int
	bytes map[string]int64
}

func footprintOf(t *testing.T, dir string) footprint {
	t.Helper()
	f := footprint{map[string][]string{}, map[string]int{}, map[string]int64{}}
	for _, name := range names(t, dir) {
		path := filepath.Join(dir, name)
		if info, err := os.Lstat(path); err != nil {
			t.Fatal(err)
		} else if info.IsDir() {
			f.top[name] = names(t, path)
		}
		err := filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			f.count[name]++
			if info.Mode().IsRegular() {
				f.bytes[name] += info.Size()
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// noLarger checks that a project's directories hold no more than after an undisturbed build. The repositories may have
// changed since, and with them the size of their metadata.
func (f footprint) noLarger(t *testing.T, clean footprint) {
	t.Helper()
	for name, count := range f.count {
		if count > clean.count[name] || f.bytes[name] > clean.bytes[name]+clean.bytes[name]/50 {
			t.Errorf("%s has %d files of %d bytes, after an undisturbed build %d of %d; at the top: %q and %q",
				name, count, f.bytes[name], clean.count[name], clean.bytes[name], f.top[name], clean.top[name])
		}
	}
}

// kill is one kill of TestKills.
type kill struct {
	args  []string      // what the build is told
	delay time.Duration // after which it is killed
}

// nextKills returns a function that chooses the next kill: of builds that take everything from the cache, which take
// warm, and one in five times of one that makes it anew, which takes cold, because it is empty or does not fit any more.
func nextKills(random *rand.Rand, warm, cold time.Duration) func() kill {
	n, environment := 0, 0
	return func() kill {
		n++
		k, within := kill{}, warm
		switch n % 10 {
		case 3:
			environment, within = environment+1, cold
		case 8:
			k.args, within = []string{"--force"}, cold
		}
		k.args = append(k.args, "--environment=ROUND="+strconv.Itoa(environment))
		k.delay = time.Duration(random.Int64N(int64(within)))
		return k
	}
}

// Whenever an incremental build is killed with all of its process group, no process and no mount stays and the outputs
// are whole, the next build makes the images that an undisturbed one makes, and what the killed one left is gone.
func TestKills(t *testing.T) {
	kills, seed := setting(t, "MKOSI_TEST_KILLS", defaultKills), setting(t, "MKOSI_TEST_SEED", defaultSeed)
	dir := killable(t)
	cold, warm := took(t, killableBuild(dir, "--environment=ROUND=0")), took(t, killableBuild(dir, "--environment=ROUND=0"))
	t.Logf("%d kills with seed %d, of builds that take %v and %v", kills, seed, warm, cold)
	output, good := filepath.Join(dir, "mkosi.output"), filepath.Join(filepath.Dir(dir), "good")
	must(t, exec.Command("cp", "-a", output, good))
	clean := footprintOf(t, dir)
	nothingLeft := leavesNothing(t)
	next := nextKills(rand.New(rand.NewPCG(uint64(seed), 0)), warm, cold)
	for i := range kills {
		k := next()
		killAfter(t, killableBuild(dir, k.args...), k.delay)
		nothingLeft()
		undisturbed(t, "a kill", good, output)
		must(t, killableBuild(dir, k.args[len(k.args)-1]))
		nothingLeft()
		footprintOf(t, dir).noLarger(t, clean)
		undisturbed(t, "a kill and a build", good, output)
		if t.Failed() {
			t.Fatalf("kill %d, after %v, of a build with %q", i+1, k.delay, k.args)
		}
	}
}

// killAfter starts a command and kills its process group a while later.
func killAfter(t *testing.T, cmd *exec.Cmd, delay time.Duration) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(delay)
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, or done a moment before
}

// undisturbed checks that outputs are the same to the byte as those of an undisturbed build.
func undisturbed(t *testing.T, after, want, got string) {
	t.Helper()
	diffs, err := tree.Compare(t.Context(), want, got, tree.CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range diffs {
		// Of the output directory's own entries the times are now, and some are the workspace of a killed build.
		top := !strings.Contains(d.Path, "/")
		if top && d.What == "mtime" || after == "a kill" && strings.HasPrefix(d.Path, ".mkosi-") {
			continue
		}
		t.Errorf("%s: %s: %s undisturbed, %s after %s", d.Path, d.What, d.A, d.B, after)
	}
}

// A signal ends a build within two seconds, with all that it started, even if a build script takes no notice of any.
func TestSignals(t *testing.T) {
	const patience = 2 * time.Second
	dir := killable(t)
	untouched := names(t, filepath.Join(dir, "mkosi.output"))
	script := "#!/bin/sh\ntrap '' INT TERM HUP QUIT\ntouch \"$BUILDDIR/started\"\nsleep 300 & sleep 300\n"
	writeFile(t, filepath.Join(dir, "mkosi.build"), []byte(script), 0o755)
	nothingLeft := leavesNothing(t)
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			cmd := killableBuild(dir)
			stderr := &watcher{}
			cmd.Stderr = stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			awaitFile(t, filepath.Join(dir, "mkosi.builddir/*/started"), stderr)
			start := time.Now()
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // how it ended is in the state
			if ended := time.Since(start); ended > patience {
				t.Errorf("took %v to end", ended)
			}
			oneMessage(t, result{code: cmd.ProcessState.ExitCode(), stderr: stderr.String()}, 128+int(signal))
			nothingLeft()
			if left := names(t, filepath.Join(dir, "mkosi.output")); fmt.Sprint(left) != fmt.Sprint(untouched) {
				t.Errorf("the output directory has %q, had %q", left, untouched)
			}
		})
	}
}

// awaitFile waits for a file that a build makes, and removes it.
func awaitFile(t *testing.T, pattern string, stderr *watcher) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) > 0 {
			if err := os.Remove(found[0]); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no %s came:\n%s", filepath.Base(pattern), strings.TrimSpace(stderr.String()))
}
