package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

func TestCmdExitCode(t *testing.T) {
	for _, code := range []int{0, 1, 42, 255} {
		err := shell(fmt.Sprintf("exit %d", code)).Run(t.Context())
		var exit *ExitError
		switch {
		case code == 0 && err != nil:
			t.Errorf("exit 0: %v", err)
		case code != 0 && (!errors.As(err, &exit) || exit.Code != code || exit.Signal != 0):
			t.Errorf("exit %d: got %v", code, err)
		}
	}
}

func TestCmdSignal(t *testing.T) {
	err := shell("kill -SEGV $$").Run(t.Context())
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Signal != syscall.SIGSEGV || exit.Code != -1 {
		t.Errorf("got %v, want a segmentation fault", err)
	}
}

func TestCmdTail(t *testing.T) {
	err := shell("seq 1000; echo last >&2; exit 3").Run(t.Context())
	var exit *ExitError
	if !errors.As(err, &exit) || !strings.HasSuffix(exit.Tail, "999\n1000\nlast") || strings.Contains(exit.Tail, "500") {
		t.Errorf("got %v", err)
	}
	var out, errs bytes.Buffer
	c := shell("echo out; echo err >&2; exit 3")
	c.Stdout, c.Stderr = &out, &errs
	err = c.Run(t.Context())
	if !errors.As(err, &exit) || exit.Tail != "err" || out.String() != "out\n" || errs.String() != "err\n" {
		t.Errorf("got %v, %q, %q", err, out.String(), errs.String())
	}
	if want := "sh failed with exit code 3:\nerr"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestCmdNotFound(t *testing.T) {
	c := shell("")
	c.Args = []string{"no-such-program"}
	err := c.Run(t.Context())
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("got %v", err)
	}
}

func TestCmdErrorsNameTheOp(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for want, op := range map[string]Op{
		"binding " + missing + " to /x": Bind(missing, "/x"),
		"mounting an overlay at /o":     Overlay(OverlayLayers{Lower: []string{missing}}, "/o"),
		`"relative" is not an absolute`: Dir("relative", 0o755),
		"taking an unknown step":        {},
	} {
		err := shell("true", op).Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if err := shell("test ! -e /x", Bind(missing, "/x").Try()).Run(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCmdHostIsInvisible(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`
for f in /etc/passwd /etc/hostname /etc/machine-id /home /root /boot /sys /var/lib /dev/vda /dev/kmsg %s; do
	test ! -e $f || { echo $f is visible; exit 1; }
done
for d in /tmp /run /var/tmp; do ls -A $d | grep . && exit 1; done; true`, secret)
	if err := shell(script).Run(t.Context()); err != nil {
		t.Error(err)
	}
	for _, file := range []string{"/usr/x", "/bin/x", "/etc/alternatives/x"} {
		wantFailure(t, ": 2>/dev/null > "+file)
	}
}

func TestCmdEnvironment(t *testing.T) {
	t.Setenv("SANDBOX_SECRET", "1")
	c := shell("")
	c.Args, c.Env = []string{"env"}, []string{"PATH=/usr/bin", "A=b c"}
	if got := output(t, c); got != "PATH=/usr/bin\nA=b c" {
		t.Errorf("got %q", got)
	}
	c = shell(`echo $(pwd) $(umask) $(cat /proc/sys/kernel/hostname) $$ $(id -u):$(id -g)`)
	c.Dir = "/usr/share"
	if got := output(t, c); !regexp.MustCompile(`^/usr/share 0022 localhost \d+ 0:0$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
}

func TestCmdProcesses(t *testing.T) {
	// Only the first process, the shell and what it runs are there.
	got := output(t, shell(`ls -d /proc/[0-9]* | wc -l; ls -ld /proc/1 | wc -l; tr '\0' ' ' < /proc/1/cmdline`))
	lines := strings.Split(got, "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[2], cmdRole) {
		t.Fatalf("got %q", got)
	}
	if lines[0] > "5" || len(lines[0]) > 1 {
		t.Errorf("%s processes are visible", lines[0])
	}
}

func TestCmdDescriptors(t *testing.T) {
	leak, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0) // not closed on exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	c := shell(`echo hello >&3; ls -l /proc/self/fd | sed -n 's/.*\(.\) -> .*/\1/p' | xargs`)
	c.ExtraFiles = []*os.File{w}
	if got := output(t, c); got != "0 1 2 3 4" { // 4 is the directory that ls reads
		t.Errorf("the command has %s", got)
	}
	if target := output(t, shell("for f in /proc/1/fd/*; do readlink $f; done; true")); strings.Contains(target, "passwd") {
		t.Errorf("the first process has %s", target)
	}
	buf := make([]byte, 16)
	if n, _ := r.Read(buf); string(buf[:n]) != "hello\n" {
		t.Errorf("got %q through the extra file", buf[:n])
	}
}

func TestCmdStreams(t *testing.T) {
	c := shell("cat; test ! -t 0")
	c.Stdin = strings.NewReader("from a reader")
	if got := output(t, c); got != "from a reader" {
		t.Errorf("got %q", got)
	}
	if got := output(t, shell("cat; wc -c < /dev/null; head -c 3 /dev/zero | wc -c; readlink /dev/stdin")); got != "0\n3\n/proc/self/fd/0" {
		t.Errorf("got %q", got)
	}
}

func TestCmdNetwork(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, network := range []bool{false, true} {
		c := shell("cat /proc/net/dev | tail -n +3 | wc -l; ls -l /proc/self/ns/net")
		c.Network = network
		c.Args = []string{"bash", "-c", fmt.Sprintf("exec 2>/dev/null; (: < /dev/tcp/127.0.0.1/%d) && echo connected; true", l.Addr().(*net.TCPAddr).Port)}
		if got := output(t, c) == "connected"; got != network {
			t.Errorf("network %t: connected is %t", network, got)
		}
	}
	if got := output(t, shell(`tail -n +3 /proc/net/dev | cut -d: -f1`)); got != "lo" {
		t.Errorf("devices %q", got)
	}
}

func TestCmdSuppress(t *testing.T) {
	dir := t.TempDir()
	c := shell("touch /x/f; chown 12:34 /x/f && chown -h 5:6 /x/f && chgrp 7 /x && sync /x/f && stat -c %u:%g /x/f", Bind(dir, "/x"))
	c.SuppressChown, c.SuppressSync = true, true
	if got := output(t, c); got != "0:0" {
		t.Errorf("owner is %s after suppressed chown", got)
	}
}

func TestCmdDropCapabilities(t *testing.T) {
	c := shell("grep -E 'Cap(Eff|Bnd)' /proc/self/status; hostname x 2>/dev/null && echo renamed; readlink /proc/1/root && echo traced; mount -o remount,bind,rw /usr 2>/dev/null && echo remounted; true")
	c.DropCapabilities = []int{unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_MKNOD}
	got := output(t, c)
	if strings.Count(got, "\n") != 1 {
		t.Fatal(got)
	}
	for line := range strings.SplitSeq(got, "\n") {
		var caps uint64
		if _, err := fmt.Sscanf(strings.Fields(line)[1], "%x", &caps); err != nil {
			t.Fatal(err)
		}
		for _, n := range c.DropCapabilities {
			if caps&(1<<n) != 0 {
				t.Errorf("%s has capability %d", line, n)
			}
		}
	}
}

// A link may lead up to the root directory and down again, as /etc/resolv.conf does where systemd-resolved runs.
func TestCmdBindOfRelativeLink(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(strings.Repeat("../", strings.Count(dir, "/"))+"etc/passwd", link); err != nil {
		t.Fatal(err)
	}
	if got := output(t, shell("head -c 5 /x", BindReadOnly(link, "/x"))); got != "root:" {
		t.Errorf("got %q", got)
	}
}

// Signals of a terminal go to processes of its session.
func TestCmdDetached(t *testing.T) {
	c := shell("read -r pid name state parent group session rest < /proc/$$/stat; [ $session = $$ ] && echo own; true")
	for _, detached := range []bool{false, true} {
		c.Detached = detached
		if got := output(t, c) == "own"; got != detached {
			t.Errorf("detached %t: a session of its own is %t", detached, got)
		}
	}
}

func TestCmdCancel(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"ends at once": "trap 'exit 0' TERM; sleep 60 & wait",
		"the child":    "sleep 60; sleep 60",
		"refuses":      "trap '' TERM; sleep 60; sleep 60",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cause := errors.New("enough")
			time.AfterFunc(100*time.Millisecond, func() { cancel(cause) })
			c := shell(script)
			c.Grace = 20 * time.Second
			if name == "refuses" {
				c.Grace = 200 * time.Millisecond
			}
			begin := time.Now()
			err := c.Run(ctx)
			if name != "ends at once" && !errors.Is(err, cause) {
				t.Errorf("got %v", err)
			}
			if d := time.Since(begin); d > 10*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestCmdKernelSettings(t *testing.T) {
	// Writing back what is there changes nothing even if it succeeds.
	wantFailure(t, "n=$(cat /proc/sys/kernel/core_pattern) && echo \"$n\" > /proc/sys/kernel/core_pattern")
	wantFailure(t, "test -w /proc/sysrq-trigger && echo h > /proc/sysrq-trigger")
}

func TestCmdParallel(t *testing.T) {
	var group errgroup.Group
	for i := range 16 {
		group.Go(func() error {
			var out bytes.Buffer
			c := shell(fmt.Sprint("echo ", i))
			c.Stdout = &out
			if err := c.Run(t.Context()); err != nil {
				return err
			}
			if got := strings.TrimSpace(out.String()); got != fmt.Sprint(i) {
				return fmt.Errorf("got %q from number %d", got, i)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

func TestCmdLeavesNoProcess(t *testing.T) {
	// The pipe's end is seen only when the last process that has it is gone.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := shell("(setsid sleep 60 >&3 &); (sleep 61 &); exit 0")
	c.ExtraFiles = []*os.File{w}
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Close()
	r.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := r.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a process is left")
	}
}

// TestCmdParentOfRoot looks for the caller's root directory above that of a
// sandbox whose root directory was replaced, once and twice.
func TestCmdParentOfRoot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/mine", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for n, ops := range [][]Op{nil, {Bind(dir, "/")}, {Bind(dir, "/"), Bind(dir, "/")}, {Bind("/", "/"), Tmpfs("/run")}} {
		c := &Cmd{
			Args: []string{"sh", "-c", "ls -a /.. | wc -l; ls -a / | wc -l; cut -d' ' -f5 /proc/self/mountinfo | grep -cx /"},
			Env:  []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin"},
			Ops:  append(ops, HostUsr()...),
		}
		lines := strings.Fields(output(t, c))
		if len(lines) != 3 || lines[0] != lines[1] || lines[2] != "1" {
			t.Errorf("%d: %q are above, inside and the root mounts", n, lines)
		}
	}
}
