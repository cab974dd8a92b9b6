package sandbox

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// prey is what attempts to break out of a sandbox are after, made outside.
type prey struct {
	Dir      string // a directory of the caller's, absent inside, with a file "secret"
	Tree     string // a tree whose link "link" and "up" point at Dir
	Process  int    // a process of the same user
	Address  string // a TCP server on the host's loopback device
	Abstract string // a socket in the abstract namespace
	Segment  int    // System V shared memory
	Queue    string // POSIX message queue
	Key      int    // a key in the session keyring
	Handle   []byte // of Dir, for open_by_handle_at(2)
	Type     int32  // of Handle
	Host     bool   // this is outside, so the attempt should succeed
}

const breakoutEnv = "SANDBOX_TEST_PREY"

func init() { helpers["breakout"] = helperBreakout }

// helperBreakout makes the one attempt that it is told.
func helperBreakout() error {
	runtime.LockOSThread()
	var p prey
	if err := json.Unmarshal([]byte(os.Getenv(breakoutEnv)), &p); err != nil {
		return err
	}
	for _, a := range attempts {
		if a.name == os.Args[1] {
			err := a.try(&p)
			if err == nil {
				fmt.Println("out")
				return nil
			}
			var errno unix.Errno
			errors.As(err, &errno)
			fmt.Printf("%d %v\n", int(errno), err)
			return nil
		}
	}
	return fmt.Errorf("there is no attempt %q", os.Args[1])
}

// newPrey makes everything that attempts are after.
func newPrey(t *testing.T) *prey {
	t.Helper()
	dirs := makeDirs(t, "host", "tree/out")
	p := &prey{Dir: dirs[0], Tree: filepath.Dir(dirs[1]), Process: sleeper(t), Abstract: "@mkosi-test-" + rand.Text()}
	writeFile(t, filepath.Join(p.Dir, "secret"), "secret")
	for name, link := range map[string]string{"link": p.Dir, "up": strings.Repeat("../", 20) + p.Dir[1:]} {
		if err := os.Symlink(link, filepath.Join(p.Tree, name)); err != nil {
			t.Fatal(err)
		}
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close() })
	p.Address = tcp.Addr().String()
	abstract, err := net.Listen("unix", p.Abstract)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { abstract.Close() })
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, p.Dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	p.Handle, p.Type = handle.Bytes(), handle.Type()
	newIPC(t, p)
	return p
}

// sleeper starts a process that has a secret in its environment, and a number
// that no process in a sandbox has, even if this is a session with few processes.
func sleeper(t *testing.T) int {
	t.Helper()
	for {
		cmd := exec.Command("sleep", "600")
		cmd.Env = []string{"SECRET=secret"}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		end := func() { cmd.Process.Kill(); cmd.Wait() }
		if cmd.Process.Pid > 200 {
			t.Cleanup(end)
			return cmd.Process.Pid
		}
		end()
	}
}

// newIPC makes a shared memory segment, a message queue, and a key in the session
// keyring of this thread, to which the test has to stay locked.
func newIPC(t *testing.T, p *prey) {
	t.Helper()
	var err error
	if p.Segment, err = unix.SysvShmGet(unix.IPC_PRIVATE, 4096, unix.IPC_CREAT|0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.SysvShmCtl(p.Segment, unix.IPC_RMID, nil) })
	p.Queue = "mkosi-test-" + rand.Text()
	fd, err := openQueue(p.Queue, unix.O_CREAT|unix.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	t.Cleanup(func() { unlinkQueue(p.Queue) })
	if _, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	if p.Key, err = unix.AddKey("user", "mkosi-test", []byte("secret"), unix.KEY_SPEC_SESSION_KEYRING); err != nil {
		t.Fatal(err)
	}
}

// TestBreakout tries to get out of the kind of sandbox that scripts get, in many
// ways. What can do no harm outside is tried there first and has to succeed;
// everything has to fail inside, with the error that tells that it failed for the
// expected reason.
func TestBreakout(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p := newPrey(t)
	for _, a := range attempts {
		if a.harmless {
			p.Host = true
			if got := tryOutside(t, p, a); got != "out" {
				t.Errorf("%s: outside: got %s, want success", a.name, got)
			}
			p.Host = false
		}
		got := tryInside(t, p, a)
		var errno int
		if _, err := fmt.Sscan(got, &errno); err != nil || !slices.Contains(a.want, unix.Errno(errno)) {
			t.Errorf("%s: inside: got %s, want one of %v", a.name, got, a.want)
		}
	}
	left, err := filepath.Glob(filepath.Join(p.Dir, "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("outside there are %v, %v", left, err)
	}
	wantFile(t, filepath.Join(p.Dir, "secret"), "secret")
	if err := unix.Kill(p.Process, 0); err != nil {
		t.Errorf("the process outside: %v", err)
	}
}

func tryOutside(t *testing.T, p *prey, a attempt) string {
	t.Helper()
	cmd := helper(t, "breakout", breakoutEnv+"="+p.json(t), testSession+"=")
	cmd.Args = append(cmd.Args, a.name)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: outside: %v: %s", a.name, err, out)
	}
	return strings.TrimSpace(string(out))
}

func tryInside(t *testing.T, p *prey, a attempt) string {
	t.Helper()
	c := confined(t, "", Bind(p.Tree, "/buildroot"), BindReadOnly(p.Tree, "/work/src"), Bind(filepath.Join(p.Tree, "out"), "/work/out"))
	c.Args = []string{"/helper", a.name}
	c.Env = append(c.Env, testHelper+"=breakout", breakoutEnv+"="+p.json(t))
	c.SuppressSync, c.Grace = true, time.Second
	return output(t, c)
}

func (p *prey) json(t *testing.T) string {
	t.Helper()
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestBreakoutSetup is about links in a tree that lead what is mounted for a
// script astray.
func TestBreakoutSetup(t *testing.T) {
	dirs := makeDirs(t, "host", "tree", "source")
	writeFile(t, filepath.Join(dirs[2], "planted"), "")
	for name, link := range map[string]string{"work": dirs[0], "etc": strings.Repeat("../", 20) + dirs[0][1:]} {
		if err := os.Symlink(link, filepath.Join(dirs[1], name)); err != nil {
			t.Fatal(err)
		}
	}
	c := &Cmd{
		Args: []string{"true"},
		// Inside, the links lead to a directory of the sandbox's own.
		Ops: append(HostUsr(), Dir(dirs[0], 0o755), Bind(dirs[1], "/buildroot"), Bind(dirs[2], "/buildroot/work/src"), Dir("/buildroot/work/made", 0o755),
			WriteFile("/buildroot/etc/resolv.conf", []byte("planted"), 0o644), Symlink("x", "/buildroot/etc/mtab")),
		Confine: true,
	}
	if err := c.Run(t.Context()); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dirs[0]); err != nil || len(left) != 0 {
		t.Errorf("outside the tree there are %v, %v", left, err)
	}
}

// wantErrors are the reasons for which an attempt may fail.
func wantErrors(errs ...unix.Errno) []unix.Errno { return errs }

// readSecret reads a file that only the host has.
func readSecret(name string) error {
	data, err := os.ReadFile(name)
	if err == nil && !strings.Contains(string(data), "secret") {
		return fs.ErrInvalid
	}
	return err
}
