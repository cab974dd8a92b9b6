//go:build integration

package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hostImage writes a configuration with an image whose programs are this machine's, so that nothing has to be built.
func hostImage(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "p")
	image := filepath.Join(dir, "image")
	for _, d := range []string{"root", "etc", "usr"} {
		if err := os.MkdirAll(filepath.Join(image, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		if link, err := os.Readlink("/" + d); err == nil {
			if err := os.Symlink(link, filepath.Join(image, d)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Below what is mounted there, but it tells which shell the image has.
	if err := os.MkdirAll(filepath.Join(image, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(image, "usr/bin/bash"), nil, 0o755)
	writeFile(t, filepath.Join(dir, "mkosi.conf"), []byte("[Output]\nFormat=directory\n[Runtime]\nRuntimeTrees=/usr:/usr\n"), 0o644)
	return dir
}

// interactive is a shell with a prompt that tests can wait for.
func interactive(t *testing.T, term *terminal) {
	t.Helper()
	term.enter("PS1='rea''dy> '; export PS1")
	term.await("ready> ")
	term.enter("stty size; test -t 0 && echo termi''nal")
	term.await("24 77")
	term.await("terminal")
	// Ctrl-C ends what the shell runs, and not the shell.
	term.enter("echo beg''un; sleep 100")
	term.await("begun")
	term.pressUntil("\x03", "ready> ")
	// Ctrl-Z stops it.
	term.enter("echo beg''un; sleep 100")
	term.await("begun")
	term.pressUntil("\x1a", "topped")
	term.enter("kill -9 %1; fg; exit 9")
}

// A shell on a terminal controls its jobs, in the image and in the box.
func TestShellsOnATerminal(t *testing.T) {
	for _, user := range []int{0, ordinaryUser} {
		for _, args := range [][]string{{"shell"}, {"box", "--", "bash", "--norc", "-i"}} {
			t.Run(fmt.Sprintf("%s as user %d", args[0], user), func(t *testing.T) {
				dir := hostImage(t)
				cmd := exec.Command(binary, append([]string{"-C", dir}, args...)...)
				if user != 0 {
					makeReachable(t, dir)
					giveAway(t, dir)
					cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "TERM=xterm"}
					cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}}
				}
				term := onTerminal(t, cmd)
				interactive(t, term)
				if code := term.code(); code != 9 {
					t.Errorf("exit code %d, want 9", code)
				}
			})
		}
	}
}

// makeReachable lets everybody into a test's directory.
func makeReachable(t *testing.T, dir string) {
	t.Helper()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// The debug shell is in the sandbox of the script that failed, and the build fails as it would have.
func TestDebugShell(t *testing.T) {
	dir := newProject(t, map[string]string{"mkosi.conf": "[Output]\nFormat=directory\n[Config]\nConfigureScripts=fail\n"})
	writeFile(t, filepath.Join(dir, "fail"), []byte("#!/bin/sh\necho it went wrong >&2\nexit 3\n"), 0o755)
	term := onTerminal(t, mkosi(dir, "--debug-shell", "build"))
	term.await("failed with exit code 3")
	term.enter("PS1='rea''dy> '; export PS1")
	term.await("ready> ")
	term.enter("test -x /work/configure && test -f /work/src/mkosi.conf && ! test -e /root && echo in''side")
	term.await("inside")
	term.enter("exit 0")
	term.await("configure script")
	if code := term.code(); code != 3 {
		t.Errorf("exit code %d, want the script's, 3", code)
	}
}

// boxProbes are commands that the box of both programs runs, with the same output and exit code.
var boxProbes = []string{
	`sh -c 'exit 7'`,
	`false`,
	`env FOO=x sh -c 'echo $FOO $MKOSI_IN_BOX $MKOSI_HOST_DISTRIBUTION $MKOSI_HOST_RELEASE $SYSTEMD_OFFLINE "$SHELL_PROMPT_PREFIX"'`,
	`pwd`,
	`id`,
	`sh -c 'readlink /proc/self/ns/pid /proc/self/ns/net /proc/self/ns/ipc /proc/self/ns/uts'`,
	`ls /home /root /var/lib`,
	`ls -l /proc/self/fd/5`,
	`echo -- --json -f`,
	`nothing-by-this-name`,
}

func TestBoxAgreesWithTheReference(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "mkosi.conf"), []byte("[Output]\nFormat=directory\n"), 0o644)
	ours, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "ours"), ours, 0o755)
	results := map[string][]string{}
	for _, program := range []string{"mkosi", "./ours"} {
		script := "exec 5</etc/passwd\n"
		for _, probe := range boxProbes {
			script += fmt.Sprintf("%s box -- %s 2>/dev/null; echo \"code $?\"\n", program, probe)
		}
		out := must(t, reference(dir, "bash", "-c", script))
		results[program] = slices.DeleteFunc(strings.Split(out, "\n"), func(l string) bool { return l == "" })
		for i, l := range results[program] {
			if strings.Contains(l, "-> /etc/passwd") {
				results[program][i] = "-> /etc/passwd" // the time before it differs
			}
		}
	}
	if diff := cmp.Diff(results["mkosi"], results["./ours"]); diff != "" {
		t.Errorf("the reference (-) and we (+) differ:\n%s", diff)
	}
	if n := len(results["mkosi"]); n < len(boxProbes)+5 {
		t.Errorf("only %d lines came", n)
	}
}

// An ordinary user with subordinate IDs sees in the shell to whom the image's files belong, and can give them away.
func TestShellWithSubordinateIDs(t *testing.T) {
	const nobody, first = 65534, 500000 // newuidmap wants a user that has a name
	dir := hostImage(t)
	makeReachable(t, dir)
	for name, id := range map[string]int{"": nobody, "image": nobody, "image/root": nobody, "image/etc": first + 32} {
		if err := os.Chown(filepath.Join(dir, name), id, id); err != nil {
			t.Fatal(err)
		}
	}
	ids := filepath.Join(dir, "subids")
	writeFile(t, ids, []byte(fmt.Sprintf("%d:%d:65536\n", nobody, first)), 0o644)
	const script = `set -e
for f in /etc/subuid /etc/subgid; do mount --bind "$0" $f; done
exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"`
	got := must(t, exec.Command("unshare", "--mount", "sh", "-c", script, ids, binary, "-C", dir,
		"shell", "--", "sh", "-c", "stat -c %u /etc; touch /root/mail; chown 8:8 /root/mail; chown 0:0 /etc || echo no"))
	if got != "33\n" {
		t.Errorf("got %q, want 33 alone", got)
	}
	info, err := os.Stat(filepath.Join(dir, "image/root/mail"))
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != first+7 || st.Gid != first+7 {
		t.Errorf("the file belongs to %d:%d outside, want %d", st.Uid, st.Gid, first+7)
	}
}
