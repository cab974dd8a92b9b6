//go:build integration

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What a user with subordinate IDs built has files of these IDs, and the user can remove them nevertheless.
func TestCleanSubordinateIDs(t *testing.T) {
	const nobody, subordinate = 65534, 500001 // newuidmap wants a user that has a name
	dir, err := os.MkdirTemp(sharedDir, "clean-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "mkosi.output/image/var/lib/state")
	if err := os.MkdirAll(state, 0o755); err != nil {
		t.Fatal(err)
	}
	file, conf, ids := filepath.Join(state, "file"), filepath.Join(dir, "mkosi.conf"), filepath.Join(dir, "subids")
	for name, content := range map[string]string{file: "", conf: debianDirectory, ids: "65534:500000:65536\n"} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name := state; name != filepath.Dir(dir); name = filepath.Dir(name) {
		if err := os.Chown(name, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{state, file} {
		if err := os.Chown(name, subordinate, subordinate); err != nil {
			t.Fatal(err)
		}
	}
	const script = `for f in /etc/subuid /etc/subgid; do mount --bind "$0" $f; done
exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"`
	must(t, exec.Command("unshare", "--mount", "sh", "-euc", script, ids, binary, "-C", dir, "clean"))
	if left := names(t, filepath.Join(dir, "mkosi.output")); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}
