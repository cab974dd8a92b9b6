package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	helpers["exit"] = func() error { os.Exit(37); return nil }
	helpers["die"] = func() error { unix.Kill(os.Getpid(), unix.SIGKILL); select {} }
	helpers["show"] = helperShow
	helpers["tree"] = helperTree
	helpers["signals"] = helperSignals
	helpers["forbidden"] = helperForbidden
	helpers["orphans"] = helperOrphans
}

// helperShow prints what a program finds in a session.
func helperShow() error {
	s := Current()
	// Nobody but root can own a file where there is nobody else.
	err := unix.Fchownat(unix.AT_FDCWD, os.Getenv("FILE"), 1, 1, 0)
	if errors.Is(err, unix.EINVAL) != s.SingleUser || s.SingleUser != (s.Reason != "") {
		return fmt.Errorf("%+v, but changing an owner gives %v", s, err)
	}
	fmt.Printf("active %t user %t\n", s.Active, s.UserNamespace)
	fmt.Printf("uid %d pid %d\n", os.Getuid(), os.Getpid())
	fmt.Printf("args %q\n", os.Args[1:])
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "MKOSI_") {
			fmt.Println("leaked", e)
		}
	}
	_, err = io.Copy(os.Stdout, os.Stdin)
	if extra := os.NewFile(3, "extra"); extra != nil {
		io.Copy(os.Stdout, extra)
	}
	return errors.Join(err, EnterSession()) // which does nothing
}

// pidLine is what differs from run to run.
var pidLine = regexp.MustCompile(`pid \d+\n`)

func TestSession(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fmt.Fprintln(w, "from descriptor 3")
	w.Close()
	outside, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "")
	cmd := helper(t, "show", testSession+"=1", "FILE="+file)
	cmd.Args = append(cmd.Args, "a b", "--c")
	cmd.Stdin = strings.NewReader("from standard input\n")
	cmd.ExtraFiles = []*os.File{r}
	out, err := cmd.CombinedOutput()
	user := !mayMount()
	want := fmt.Sprintf("active true user %t\nuid 0 pid 2\n", user)
	if !user {
		want = strings.Replace(want, "uid 0", fmt.Sprintf("uid %d", os.Getuid()), 1)
	}
	got := pidLine.ReplaceAllString(string(out), "pid 2\n")
	if !strings.HasPrefix(got, want+"args [\"a b\" \"--c\"]\nfrom standard input\nfrom descriptor 3\n") || err != nil {
		t.Errorf("got %s and %v, want %s", out, err, want)
	}
	after, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || !bytes.Equal(outside, after) {
		t.Errorf("mounts changed outside: %v", err)
	}
}

func TestSessionExitCode(t *testing.T) {
	for name, want := range map[string]int{"exit": 37, "die": 128 + 9} {
		var exit *exec.ExitError
		err := helper(t, name, testSession+"=1").Run()
		if !errors.As(err, &exit) || exit.ExitCode() != want {
			t.Errorf("%s: got %v, want %d", name, err, want)
		}
	}
}

// helperTree runs a command in a sandbox and, in a session, another process,
// which all hold the write end of the pipe on standard output.
func helperTree() error {
	c := shell("setsid sleep 100 & echo up; wait")
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if Current().Active {
		direct := exec.Command("setsid", "sleep", "100")
		direct.Stdout = os.Stdout
		if err := direct.Start(); err != nil {
			return err
		}
	}
	return c.Run(context.Background())
}

// TestKill kills the outermost process of a sandbox or session, alone or with
// its group, and finds nothing left of the rest.
func TestKill(t *testing.T) {
	for _, group := range []bool{false, true} {
		for _, session := range []string{"", "1"} {
			testKill(t, group, session)
		}
	}
}

func testKill(t *testing.T, group bool, session string) {
	cmd := helper(t, "tree", testSession+"="+session)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 3)
	if _, err := io.ReadFull(stdout, line); err != nil || string(line) != "up\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	pid := cmd.Process.Pid
	if group {
		pid = -pid
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// The pipe ends when the last process that could write to it is gone.
	stdout.(*os.File).SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadAll(stdout); err != nil {
		t.Errorf("group %t, session %q: processes are left: %v", group, session, err)
	}
	cmd.Wait()
}

// helperSignals prints the signals it gets, until SIGTERM.
func helperSignals() error {
	c := make(chan os.Signal, 8)
	signal.Notify(c, unix.SIGINT, unix.SIGHUP, unix.SIGTERM)
	fmt.Println("up")
	for s := range c {
		fmt.Println(s)
		if s == unix.SIGTERM {
			// One too many would still be on its way.
			time.Sleep(3 * groupSignalWait)
			fmt.Println(len(c), "more")
			os.Exit(5)
		}
	}
	return nil
}

func TestSessionSignals(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(pid int, s syscall.Signal) error{
		"process": func(pid int, s syscall.Signal) error { return unix.Kill(pid, s) },
		"group":   func(pid int, s syscall.Signal) error { return unix.Kill(-pid, s) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := helper(t, "signals", testSession+"=1")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			checkSignals(t, cmd, stdout, func(s syscall.Signal) error { return send(cmd.Process.Pid, s) })
		})
	}
}

// checkSignals sends signals to helperSignals and looks whether each arrives
// exactly once.
func checkSignals(t *testing.T, cmd *exec.Cmd, stdout io.Reader, send func(syscall.Signal) error) {
	lines := bufio.NewScanner(stdout)
	expect := func(want string) {
		t.Helper()
		if !lines.Scan() || strings.TrimPrefix(lines.Text(), "^C") != want {
			t.Errorf("got %q, want %q", lines.Text(), want)
		}
	}
	expect("up")
	for _, s := range []syscall.Signal{unix.SIGINT, unix.SIGHUP, unix.SIGTERM} {
		if err := send(s); err != nil {
			t.Fatal(err)
		}
		expect(s.String())
	}
	expect("0 more")
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 5 {
		t.Error(err)
	}
}

// TestSessionTerminal is about Ctrl-C at a real terminal.
func TestSessionTerminal(t *testing.T) {
	t.Parallel()
	ptmx, tty := newPty(t)
	cmd := helper(t, "signals", testSession+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	checkSignals(t, cmd, ptmx, func(s syscall.Signal) error {
		if s == unix.SIGINT {
			_, err := ptmx.Write([]byte{3})
			return err
		}
		return unix.Kill(cmd.Process.Pid, s)
	})
}

// helperOrphans leaves orphans behind and looks whether they stay as zombies.
func helperOrphans() error {
	for range 5 {
		if err := exec.Command("sh", "-c", "sh -c 'sleep 0.05' & exit 0").Run(); err != nil {
			return fmt.Errorf("waiting: %w", err)
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		stats, err := filepath.Glob("/proc/[0-9]*/stat")
		if err != nil {
			return err
		}
		zombies := slices.DeleteFunc(stats, func(name string) bool {
			data, err := os.ReadFile(name)
			return err != nil || !bytes.Contains(data, []byte(") Z "))
		})
		if len(stats) <= 2 && len(zombies) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes are left, zombies %v", len(stats), zombies)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestSessionReapsOrphans(t *testing.T) {
	if out, err := helper(t, "orphans", testSession+"=1").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// helperForbidden forbids user namespaces in the one it is in and tries to
// make another.
func helperForbidden() error {
	const limit = "/proc/sys/user/max_user_namespaces"
	old, err := os.ReadFile(limit)
	if err != nil {
		return err
	}
	if err := os.WriteFile(limit, []byte("0"), 0); err != nil {
		return err
	}
	defer os.WriteFile(limit, old, 0)
	if err := dropCapabilities([]int{unix.CAP_SYS_ADMIN}); err != nil {
		return err
	}
	current = Session{}
	return EnterSession()
}

func TestSessionForbidden(t *testing.T) {
	cmd := asUser(t, helper(t, "forbidden", testSession+"=1"))
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "sysctl -w user.max_user_namespaces=") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestExplainForbidden(t *testing.T) {
	for setting, want := range map[string]string{
		"user/max_user_namespaces=0":                     "user.max_user_namespaces=65536",
		"kernel/unprivileged_userns_clone=0":             "kernel.unprivileged_userns_clone=1",
		"kernel/apparmor_restrict_unprivileged_userns=1": "kernel.apparmor_restrict_unprivileged_userns=0",
		"kernel/something_else=0":                        "",
	} {
		dir := t.TempDir()
		name, value, _ := strings.Cut(setting, "=")
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name), value+"\n")
		err := explainForbidden(fmt.Errorf("making namespaces: %w", unix.EPERM), dir)
		if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), want) || want == "" && strings.Contains(err.Error(), "sysctl") {
			t.Errorf("%s: got %v", setting, err)
		}
		if err := explainForbidden(unix.ENOENT, dir); err != unix.ENOENT {
			t.Errorf("got %v", err)
		}
	}
}

func TestSubordinateRange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "subuid")
	writeFile(t, file, "# comment\nother:100000:65536\nsmall:1:1000\nme:200000:1000\nme:300000:65536\n1234:400000:65535\n")
	for _, test := range []struct {
		names []string
		want  int64
	}{
		{[]string{"1000", "me"}, 300000},
		{[]string{"1234", "unlisted"}, 400000},
		{[]string{"1000", "small"}, 0},
		{[]string{"1000"}, 0},
	} {
		got, err := subordinateRange(file, test.names)
		if got != test.want || (err == nil) != (test.want != 0) {
			t.Errorf("%v: got %d, %v", test.names, got, err)
		}
	}
	if _, err := subordinateRange(file+".missing", []string{"1"}); err == nil {
		t.Error("found a range in a missing file")
	}
}

func TestSessionEnv(t *testing.T) {
	for _, s := range []Session{{Active: true}, {Active: true, UserNamespace: true, SingleUser: true, Reason: "because: a,b"}} {
		name, value, _ := strings.Cut(s.env(), "=")
		t.Setenv(name, value)
		if got := takeSession(); got != s {
			t.Errorf("got %+v, want %+v", got, s)
		}
		if _, ok := os.LookupEnv(name); ok {
			t.Error("still in the environment")
		}
	}
}
