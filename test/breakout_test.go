//go:build integration

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBreakout makes the attempts of internal/sandbox to get out of a script's sandbox as root, as an ordinary user, and
// as one with a range of subordinate IDs, each with and without a session.
func TestBreakout(t *testing.T) {
	dir, err := os.MkdirTemp("", "breakout-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program, ids, files := filepath.Join(dir, "sandbox.test"), filepath.Join(dir, "subids"), filepath.Join(dir, "files")
	build := exec.Command("go", "test", "-c", "-o", program, "../internal/sandbox")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	must(t, build)
	writeFile(t, ids, []byte("65534:500000:65536\n"), 0o644)
	for name, mode := range map[string]os.FileMode{dir: 0o755, files: 0o777} {
		if err := os.MkdirAll(name, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	const user = "exec setpriv --reuid=65534 --regid=65534 --clear-groups "
	for name, script := range map[string]string{
		"root":         `exec "$@"`,
		"user":         user + `"$@"`,
		"subordinates": `for f in /etc/subuid /etc/subgid; do mount --bind ` + ids + ` $f || exit; done; ` + user + `"$@"`,
	} {
		for _, session := range []string{"", "1"} {
			t.Run(name+session, func(t *testing.T) {
				cmd := exec.Command("unshare", "--mount", "sh", "-c", script, "sh", program, "-test.run=^TestBreakout", "-test.v")
				cmd.Dir = files
				cmd.Env = append(os.Environ(), "SANDBOX_TEST_SESSION="+session, "TMPDIR="+files)
				if out := must(t, cmd); !strings.Contains(out, "--- PASS: TestBreakout (") {
					t.Errorf("no attempts were made:\n%s", out)
				}
			})
		}
	}
}
