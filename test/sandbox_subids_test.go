//go:build integration

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSandboxSubordinateIDs runs a session as an ordinary user who has a range
// of subordinate IDs. It needs root, to write down that range where only its own
// processes see it, and newuidmap(1) and newgidmap(1).
func TestSandboxSubordinateIDs(t *testing.T) {
	for _, tool := range []string{"newuidmap", "newgidmap", "unshare", "setpriv", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "sandbox-subids-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	probe := filepath.Join(dir, "probe")
	build := exec.Command("go", "build", "-o", probe, "./testdata/sandboxprobe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ids, files := filepath.Join(dir, "subids"), filepath.Join(dir, "files")
	if err := os.WriteFile(ids, []byte("65534:500000:65536\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(files, 0o755); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534 // newuidmap wants a user that has a name
	for name, id := range map[string]int{dir: 0, files: nobody} {
		if err := os.Chmod(name, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(name, id, id); err != nil {
			t.Fatal(err)
		}
	}
	const script = `set -e
for f in /etc/subuid /etc/subgid; do mount --bind "$0" $f; done
shift; exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"`
	testStaleStaging(t, files, func(how string) error {
		return exec.Command("unshare", "--mount", "sh", "-c", script, ids, "-", probe, files, how).Run()
	})
	out, err := exec.Command("unshare", "--mount", "sh", "-c", script, ids, "-", probe, files).CombinedOutput()
	want := "user namespace true, single user false\n1:65534\n1:65534"
	if err != nil || strings.TrimSpace(string(out)) != want {
		t.Fatalf("got %s and %v, want %s", out, err, want)
	}
	// Outside, these are the range's first and second to last IDs.
	for _, name := range []string{"own", "cmd"} {
		info, err := os.Stat(filepath.Join(files, name))
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		if st.Uid != 500000 || st.Gid != 500000+65533 {
			t.Errorf("%s belongs to %d:%d outside", name, st.Uid, st.Gid)
		}
	}
}

// testStaleStaging looks whether what a killed process staged, with files of the
// user's subordinate IDs in it, is removed by the next one.
func testStaleStaging(t *testing.T, dir string, probe func(how string) error) {
	t.Helper()
	for _, step := range []struct {
		how  string
		left int
		ok   bool
	}{{"die", 1, false}, {"die", 1, false}, {"stage", 0, true}} {
		if err := probe(step.how); (err == nil) != step.ok {
			t.Errorf("%s: %v", step.how, err)
		}
		if left, err := filepath.Glob(filepath.Join(dir, ".mkosi-*")); err != nil || len(left) != step.left {
			t.Errorf("%s leaves %v, %v, want %d", step.how, left, err, step.left)
		}
	}
}
