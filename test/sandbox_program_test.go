//go:build integration

package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// sandboxLine is a command line of mkosi-sandbox, which both programs run in the same root. What it writes to standard
// output, its exit code and the files that it leaves have to agree, unless why says why they do not.
type sandboxLine struct {
	line string
	why  string
	code int // our exit code, where that differs
}

// foreignLines need services of systemd, for which there are stand-ins.
var foreignLines = []sandboxLine{
	{line: `--bind / / --map-foreign ` + show},
	{line: `--bind / / --map-delegate 2 ` + show},
	{line: `--bind / / --map-foreign --map-delegate 1 --become-root ` + show},
	{line: `--bind / / --tmpfs /mnt --bind-foreign sub /mnt/a --ro-bind-foreign other /mnt/b sh -c 'id -u; cat /proc/self/uid_map; cat /mnt/*/*; grep -o " /mnt/[ab] r[ow]" /proc/self/mountinfo; grep ^Cap /proc/self/status'`},
	{line: `--bind / / --map-delegate 1 --bind-foreign sub /mnt --become-root ` + show},
	{line: `--bind / / --bind-foreign sub /mnt sh -c 'exit 77'`},
	{line: `--bind / / --bind-foreign sub /mnt sh -c 'kill -9 $$'`},
	{line: `--bind / / --map-delegate 1 --pack-fds sh -c 'echo $LISTEN_FDS; [ $$ = $LISTEN_PID ] && cat <&3' 7<file`},
	{line: `--bind / / --bind-foreign none /mnt true`},
}

// show is what a command sees of itself.
const show = `sh -c 'id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; grep -E "^Cap" /proc/self/status; umask; pwd'`

var sandboxLines = []sandboxLine{
	{line: `--bind / / ` + show},
	{line: `--bind / / --become-root ` + show},
	{line: `--bind / / --same-dir ` + show},
	{line: `--bind / / --chdir sub/../sub ` + show},
	{line: `--bind / / --chdir /usr --same-dir pwd`},
	{line: `--bind / / --unshare-net sh -c 'grep -E "^Cap" /proc/self/status'`},
	{line: `--bind / / --setenv A 1 --setenv A 2 --unsetenv B --setenv B x --unsetenv HOME sh -c 'echo $A $B $HOME'`},
	{line: `--bind / / sh -c 'exit 77'`},
	{line: `--bind / / sh -c 'kill -9 $$'`},
	{line: `--bind / / sh -c 'kill -TERM $$'`},
	{line: `--bind / / nonexistent-command`},
	{line: `--bind / / -- echo --help`},
	{line: `--bind / / <<<'echo $0'`},
	{line: `true`},
	{line: `--ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 --dev /dev --bind /proc /proc --tmpfs /tmp --dir /var/tmp --dir /a/b --write x /a/c sh -c 'ls / /a /dev; stat -c "%n %a %U" /tmp /var /var/tmp /a /a/b /a/c /dev/shm /dev/null; readlink /dev/* | grep -v dev/pts/; touch /usr/x 2>&1 || echo no'`},
	{line: `--bind / / --same-dir --tmpfs t --tmpfs /mnt --bind sub t/a --bind-try none t/b --ro-bind-try none t/c --ro-bind sub t/d sh -c 'ls t t/a; touch t/a/new; touch t/d/new 2>&1 || echo no'`},
	{line: `--dir /mnt/a/z --bind "$PWD/sub" /mnt/a --tmpfs /mnt --bind / / ls /mnt /mnt/a`},
	{line: `--bind / / --bind sub /mnt --tmpfs /mnt ls /mnt`},
	{line: `--bind / / --bind other /mnt --bind sub /mnt ls /mnt`},
	{line: `--bind / / --tmpfs /mnt --bind +/mnt/y /mnt/x --bind sub /mnt/y ls /mnt /mnt/x`},
	{line: `--bind / / --same-dir --tmpfs /mnt --bind-nofollow link /mnt/a --bind link /mnt/b --ro-bind-nofollow dangling /mnt/c sh -c 'readlink /mnt/a /mnt/c; ls /mnt/b'`},
	{line: `--bind / / --same-dir --symlink target "$PWD/file" --symlink target "$PWD/dangling" --symlink target "$PWD/new" sh -c 'readlink file dangling new'`},
	{line: `--bind / / --same-dir --write one file --write two dangling --write three deep/er/file sh -c 'cat file nowhere deep/er/file; stat -c "%n %a" deep deep/er deep/er/file'`},
	{line: `--bind / / --same-dir --bind file dangling --bind sub dirlink sh -c 'cat dangling; ls dirlink/; readlink dirlink'`},
	{line: `--bind / / --same-dir --bind sub made/by/bind --bind file made/file ls made/by/bind`},
	{line: `--bind / / --tmpfs /mnt --overlay-lowerdir sub --overlay-lowerdir other --overlay-upperdir upper --overlay-workdir work --overlay /mnt/o sh -c 'ls /mnt/o; cat /mnt/o/both; echo changed >/mnt/o/both; rm /mnt/o/sub; ls /mnt/o'`},
	{line: `--bind / / --overlay-lowerdir sub --overlay-upperdir tmpfs --overlay /mnt sh -c 'echo x >/mnt/new; stat -c %a /mnt; ls /mnt'`},
	{line: `--bind / / --overlay-lowerdir sub --overlay-lowerdir other --overlay /mnt sh -c 'ls /mnt; echo x >/mnt/new || echo no'`},
	{line: `--bind / / --same-dir --suppress-chown --suppress-sync sh -c 'chown 5:5 mine; echo $?; stat -c %u mine; sync; echo $?'`},
	{line: `--bind / / --same-dir --become-root --suppress-chown sh -c 'chown 5:5 mine; echo $?; stat -c %u mine'`},
	{line: `--bind / / --same-dir --pack-fds sh -c 'echo $LISTEN_FDS; [ $$ = $LISTEN_PID ] && cat <&3' 7<file 9<sub/sub`},
	{line: `--bind / / --pack-fds sh -c 'echo ${LISTEN_FDS-none}'`},
	{line: `--bind / / mkosi-sandbox --bind / / --become-root id -u`},
	{line: `--bind / / sh -c 'mount -t tmpfs tmpfs /mnt && touch /mnt/x && grep -c " /mnt " /proc/self/mountinfo'`},
	{line: `--bind /nonexistent /x true`},
	{line: `--bind / / --chdir /nonexistent true`},
	{line: `--bind / / --map-delegate 0 ` + show},
	{line: `--bind / / --map-delegate 1 true`},
	{line: `--bind / / --bind-foreign sub /mnt true`},

	{line: `--nosuch`, why: "wrong options have a code of their own", code: 2},
	{line: `--bind /usr`, why: "wrong options have a code of their own", code: 2},
	{line: `--bind=/usr /usr true`, why: "wrong options have a code of their own", code: 2},
	{line: `--bind / / --setenv A=B c true`, why: "wrong options have a code of their own", code: 2},
	{line: `--bind / / --map-delegate x true`, why: "wrong options have a code of their own", code: 2},
	{line: `--bind / / /etc/passwd`, why: "as shells and env(1) say that a command cannot be run", code: 126},
	{line: `--bind / / --same-dir --symlink target "$PWD/dirlink" readlink dirlink`, why: "a link to a directory is covered as well"},
	{line: `--bind / / --tmpfs /mnt --bind /dev/null /mnt/null sh -c 'echo x >/mnt/null; ls /mnt'`, why: "devices can be bound"},
	{line: `--bind / / --overlay-lowerdir sub --overlay /mnt ls /mnt`, why: "one layer is shown read-only"},
	{line: `--bind / / --unshare-net bash -c 'echo >/dev/tcp/127.0.0.1/1' 2>&1`, why: "the loopback device is up", code: 1},
}

// sandboxScript runs all lines, each in a directory of its own, with the program called mkosi-sandbox, and leaves what
// they wrote, their exit codes and the list of the files in the directory out. Its arguments are the directory of the
// program ("" for the reference's), and the program that changes the user ("" for root).
const sandboxScript = `
out=$1 user=$3
[ -z "$2" ] || PATH=$2:$PATH
mkdir -p "$out" w
mount -t tmpfs -o mode=1777 tmpfs w
top=$PWD/w
n=0
while IFS= read -r line; do
    mkdir $top/$n && cd $top/$n && mkdir sub other upper work
    echo sub >sub/sub; echo sub >sub/both; echo other >other/both; echo file >file; echo mine >mine
    ln -s nowhere dangling; ln -s sub link; ln -s sub dirlink
    [ -z "$user" ] || chown -R 1000:1000 .
    $user bash -c "mkosi-sandbox $line" >"$out/$n" 2>"$out/$n.err" </dev/null
    echo "exit code $?" >>"$out/$n"
    find . -printf '%P %y %m %u %l\n' | grep -v ^work | sort >>"$out/$n"
    find . -type f -exec grep -H . {} + | sort >>"$out/$n"
    n=$((n + 1))
done
`

// foreignServices are commands that start the stand-ins.
const foreignServices = `
mount -t tmpfs tmpfs /run && mkdir /run/systemd
python3 services.py /run/systemd >"$1.log" 2>&1 &
trap "kill $!" EXIT
while [ ! -S /run/systemd/io.systemd.NamespaceResource ] || [ ! -S /run/systemd/io.systemd.MountFileSystem ]; do sleep 0.02; done
`

// TestSandboxProgram runs each line with the reference's mkosi-sandbox and with ours, as root and as an ordinary user.
func TestSandboxProgram(t *testing.T) {
	t.Parallel()
	compareSandboxes(t, "", sandboxLines)
}

// TestSandboxForeign does the same for the options that need services.
func TestSandboxForeign(t *testing.T) {
	t.Parallel()
	compareSandboxes(t, foreignServices, foreignLines)
}

// compareSandboxes runs lines with both programs after the commands of prelude.
func compareSandboxes(t *testing.T, prelude string, all []sandboxLine) {
	dir := t.TempDir()
	openDirectory(t, dir)
	bin := filepath.Join(dir, "bin")
	data, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(bin, "mkosi-sandbox"), data, 0o755)
	writeFile(t, filepath.Join(dir, "services.py"), readFile(t, "testdata/foreign/services.py"), 0o644)
	writeFile(t, filepath.Join(dir, "script"), []byte(prelude+sandboxScript), 0o644)
	var lines strings.Builder
	for _, l := range all {
		fmt.Fprintln(&lines, l.line)
	}
	for user, change := range map[string]string{"root": "", "user": "setpriv --reuid 1000 --regid 1000 --clear-groups"} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			for side, path := range map[string]string{"ours": bin, "reference": ""} {
				result := filepath.Join(dir, user, side)
				writeFile(t, result+".log", nil, 0o644)
				cmd := reference(dir, "bash", filepath.Join(dir, "script"), result, path, change)
				cmd.Stdin = strings.NewReader(lines.String())
				must(t, cmd)
			}
			succeeded := 0
			for n, l := range all {
				ours, theirs := filepath.Join(dir, user, "ours", strconv.Itoa(n)), filepath.Join(dir, user, "reference", strconv.Itoa(n))
				compareSandbox(t, user, l, ours, theirs)
				if strings.Contains(string(readFile(t, theirs)), "exit code 0\n") {
					succeeded++
				}
			}
			// Two that fail in the same way prove nothing.
			if succeeded < len(all)/2 {
				t.Errorf("as %s: the reference succeeds with %d of %d lines only", user, succeeded, len(all))
			}
		})
	}
}

// openDirectory lets everybody into a directory that t.TempDir made.
func openDirectory(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func compareSandbox(t *testing.T, user string, l sandboxLine, oursFile, referenceFile string) {
	t.Helper()
	text := func(name string) string { return string(readFile(t, name)) }
	ours, theirs, said := text(oursFile), text(referenceFile), text(oursFile+".err")
	switch {
	case l.why == "" && ours != theirs:
		t.Errorf("as %s: mkosi-sandbox %s\nours:\n%s%s\nreference:\n%s%s", user, l.line, ours, said, theirs, text(referenceFile+".err"))
	case l.why != "" && ours == theirs:
		t.Errorf("as %s: mkosi-sandbox %s\nboth do the same, although %s", user, l.line, l.why)
	case l.why != "" && !strings.Contains(ours, fmt.Sprintf("exit code %d\n", l.code)):
		t.Errorf("as %s: mkosi-sandbox %s\nhas not the exit code %d:\n%s%s", user, l.line, l.code, ours, said)
	}
	if strings.Contains(said, "goroutine") || strings.Contains(said, "panic") {
		t.Errorf("as %s: mkosi-sandbox %s\n%s", user, l.line, said)
	}
}
