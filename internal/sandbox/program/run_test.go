package program

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// TestMain makes the test binary the program when it is called so.
func TestMain(m *testing.M) {
	if !Invoked(os.Args[0]) {
		// What the tests were started with is not for the commands.
		files, err := inheritedFiles()
		if err != nil {
			panic(err)
		}
		for _, fd := range files {
			unix.CloseOnExec(fd)
		}
		os.Exit(m.Run())
	}
	dir, err := Directory(os.Args)
	var o *Options
	var code int
	if err == nil {
		o, err = Parse(Arguments(os.Args), dir)
	}
	if err == nil {
		code, err = Run(os.Args, o, nil)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
		if command := (*CommandError)(nil); errors.As(err, &command) {
			code = command.Code
		}
	}
	os.Exit(code)
}

// users are those that tests run the program as: the caller and, if that is root, an ordinary user.
func users() []string {
	if os.Geteuid() == 0 {
		return []string{"root", "user"}
	}
	return []string{"user"}
}

// program is the program with the host's files and a script for sh.
func program(t testing.TB, user string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = Name
	if user == "user" && os.Geteuid() == 0 {
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// host shows the host's files.
var host = []string{"--bind", "/", "/"}

// script runs a script in the sandbox and returns what it wrote.
func script(t *testing.T, user string, options []string, script string) string {
	t.Helper()
	cmd := program(t, user, append(append(append([]string{}, host...), options...), "sh", "-c", script)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", user, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestRunUsers(t *testing.T) {
	for _, user := range users() {
		self := script(t, user, nil, "id -u")
		outside := map[string]string{"root": "0", "user": fmt.Sprint(os.Geteuid())}[user]
		if user == "user" && os.Geteuid() == 0 {
			outside = "65534"
		}
		if self != outside {
			t.Errorf("%s is %s inside", user, self)
		}
		if got := script(t, user, []string{"--become-root"}, "id -u; id -g"); got != "0\n0" {
			t.Errorf("%s becomes %q", user, got)
		}
		// The capability to mount is there, and what is mounted stays inside.
		dir := t.TempDir()
		open(t, dir)
		script(t, user, nil, "mount -t tmpfs tmpfs "+dir+" && touch "+dir+"/x")
		if entries, _ := os.ReadDir(dir); len(entries) != 0 {
			t.Errorf("%s: a mount is visible outside", user)
		}
	}
}

// TestRunNested runs the program in itself.
func TestRunNested(t *testing.T) {
	nested := installed(t)
	for _, user := range users() {
		if got := script(t, user, nil, nested+" --bind / / --become-root sh -c 'id -u; ls -d /..'"); got != "0\n/.." {
			t.Errorf("%s: got %q", user, got)
		}
	}
}

// open lets everybody through to a directory that t.TempDir made.
func open(t *testing.T, dir string) {
	t.Helper()
	for _, dir := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRunExitCodes(t *testing.T) {
	for _, user := range users() {
		for _, tt := range []struct {
			args []string
			want int
		}{
			{[]string{"--bind", "/", "/", "sh", "-c", "exit 77"}, 77},
			{[]string{"--bind", "/", "/", "nonexistent-command"}, ExitNotFound},
			{[]string{"--bind", "/", "/", "/nonexistent/command"}, ExitNotFound},
			{[]string{"--bind", "/", "/", "/etc/passwd"}, ExitNotRun},
			{[]string{"--bind", "/nonexistent", "/", "true"}, 1},
			{[]string{"--bind", "/", "/", "--chdir", "/nonexistent", "true"}, 1},
			{[]string{"true"}, ExitNotFound},
		} {
			cmd := program(t, user, tt.args...)
			out, err := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != tt.want {
				t.Errorf("%s %q: exit code %d, want %d (%v: %s)", user, tt.args, got, tt.want, err, out)
			}
			if tt.want != 77 && len(bytes.Split(bytes.TrimSpace(out), []byte("\n"))) != 1 {
				t.Errorf("%s %q: not one line of explanation: %s", user, tt.args, out)
			}
		}
	}
}

// TestRunSignals has the command killed by a signal, directly and through the program.
func TestRunSignals(t *testing.T) {
	for _, user := range users() {
		for _, s := range []syscall.Signal{unix.SIGKILL, unix.SIGTERM, unix.SIGQUIT, unix.SIGSEGV} {
			cmd := program(t, user, append(host, "sh", "-c", fmt.Sprintf("kill -%d $$", s))...)
			cmd.Run()
			if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != s {
				t.Errorf("%s: the program ended with %v, not by %v", user, cmd.ProcessState, s)
			}
		}
		cmd := program(t, user, append(host, "sh", "-c", "trap 'exit 5' TERM; echo; while :; do sleep 0.01; done")...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		out.Read(make([]byte, 1))
		cmd.Process.Signal(unix.SIGTERM)
		cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != 5 {
			t.Errorf("%s: the command did not get the signal: %v", user, cmd.ProcessState)
		}
	}
}

// TestRunParentKilled kills the program; the command has to go as well.
func TestRunParentKilled(t *testing.T) {
	for _, user := range users() {
		cmd := program(t, user, append(host, "sh", "-c", "echo; exec sleep 60")...)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		cmd.Stdout = w
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		r.Read(make([]byte, 1))
		cmd.Process.Kill()
		cmd.Wait()
		// The command has the other end.
		r.SetReadDeadline(time.Now().Add(5 * time.Second))
		if n, err := r.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the command lives on: %v", user, err)
		}
	}
}

// TestRunStops stops the command and has it go on: the program does the same.
func TestRunStops(t *testing.T) {
	for _, user := range users() {
		cmd := program(t, user, append(host, "sh", "-c", "kill -STOP $$; exit 3")...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(cmd.Process.Pid, &status, unix.WUNTRACED, nil); err != nil || !status.Stopped() {
			t.Errorf("%s: the program is not stopped: %v, %v", user, status, err)
		}
		cmd.Process.Signal(unix.SIGCONT)
		cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != 3 {
			t.Errorf("%s: ended with %v", user, cmd.ProcessState)
		}
	}
}

// TestRunPackFiles passes files with gaps between their numbers.
func TestRunPackFiles(t *testing.T) {
	for _, user := range users() {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := program(t, user, append(host, "--pack-fds", "sh", "-c", "echo $LISTEN_FDS; [ $LISTEN_PID = $$ ] && echo mine >&3; [ ! -e /proc/self/fd/7 ] && [ ! -e /proc/self/fd/8 ] && echo packed")...)
		cmd.ExtraFiles = []*os.File{nil, nil, nil, nil, w}
		out, err := cmd.CombinedOutput()
		w.Close()
		if got := string(out); err != nil || got != "1\npacked\n" {
			t.Errorf("%s: got %q, %v", user, got, err)
		}
		buf := make([]byte, 16)
		if n, _ := r.Read(buf); string(buf[:n]) != "mine\n" {
			t.Errorf("%s: the file got %q", user, buf[:n])
		}
		r.Close()
	}
}

// TestRunWithoutProc runs a command that has nothing but /usr.
func TestRunWithoutProc(t *testing.T) {
	for _, user := range users() {
		args := []string{"--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
			"--tmpfs", "/tmp", "--become-root", "--suppress-chown", "--pack-fds", "sh", "-c", "touch /tmp/f && chown 5:5 /tmp/f && { [ -e /proc ] || echo none; }"}
		if out, err := program(t, user, args...).CombinedOutput(); err != nil || string(out) != "none\n" {
			t.Errorf("%s: %v: %s", user, err, out)
		}
	}
}

func TestRunNamespaces(t *testing.T) {
	for _, user := range users() {
		for option, ns := range map[string]string{"--unshare-net": "net", "--unshare-ipc": "ipc"} {
			outside, err := os.Readlink("/proc/self/ns/" + ns)
			if err != nil {
				t.Fatal(err)
			}
			if got := script(t, user, nil, "readlink /proc/self/ns/"+ns); got != outside {
				t.Errorf("%s: %s differs without %s", user, ns, option)
			}
			if got := script(t, user, []string{option}, "readlink /proc/self/ns/"+ns); got == outside || got == "" {
				t.Errorf("%s: %s is %q with %s", user, ns, got, option)
			}
		}
	}
}

func TestRunSuppress(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	os.Chmod(dir, 0o777)
	for _, user := range users() {
		got := script(t, user, []string{"--suppress-chown", "--suppress-sync", "--chdir", dir}, "touch f; chown 5:5 f && stat -c %u f; sync; rm f")
		// Root needs no help with giving files away, where there is somebody to give them to.
		if gave := user == "root" && !sandbox.HasOneUser(); (got == "5") != gave {
			t.Errorf("%s: the owner is %q", user, got)
		}
	}
}
