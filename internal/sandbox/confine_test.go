package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	helpers["capability"] = helperCapability
	helpers["nested"] = helperNested
}

// confined is shell with Confine, and with this binary at /helper.
func confined(t testing.TB, script string, ops ...Op) *Cmd {
	t.Helper()
	dir, err := helperDir()
	if err != nil {
		t.Fatal(err)
	}
	c := shell(script, append(ops, BindReadOnly(filepath.Join(dir, "helper"), "/helper"))...)
	c.Confine = true
	return c
}

func TestConfine(t *testing.T) {
	c := confined(t, `id -u; awk '$1 ~ /^Cap(Inh|Amb|Eff)/ {print $2}' /proc/self/status; cat /proc/self/uid_map; cat /proc/sys/kernel/hostname
		hostname changed && cat /proc/sys/kernel/hostname; read x <&3; echo $x; tail -n +3 /proc/net/dev | cut -d: -f1 | xargs`)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fmt.Fprintln(w, "through the extra file")
	w.Close()
	c.ExtraFiles = []*os.File{r}
	got := strings.Split(output(t, c), "\n")
	uids, _, err := identityMaps()
	if err != nil {
		t.Fatal(err)
	}
	if !mayMount() {
		uids = []byte("0 0 1") // that of the user namespace made for the command
	}
	maps := len(got) - 7 - 1
	if maps < 1 {
		t.Fatalf("got %q", got)
	}
	var m []string
	for _, line := range got[4 : 4+maps] {
		m = append(m, strings.Join(strings.Fields(line), " "))
	}
	if want := strings.TrimSpace(string(uids)); strings.Join(m, "\n") != want {
		t.Errorf("the map is %q, want %q", m, want)
	}
	all := fmt.Sprintf("%016x", uint64(1)<<(lastCapability(t)+1)-1)
	got = append(got[:4], got[4+maps:]...)
	want := []string{"0", strings.Repeat("0", 16), all, strings.Repeat("0", 16), "localhost", "changed", "through the extra file", "lo"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// lastCapability is the highest one that the kernel knows.
func lastCapability(t *testing.T) (n int) {
	data, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err == nil {
		_, err = fmt.Sscan(string(data), &n)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestConfineLocksMounts also sees the same attempts succeed without Confine, so
// that they are known to fail for this reason.
func TestConfineLocksMounts(t *testing.T) {
	dir := t.TempDir()
	for _, attempt := range []string{"mount -o remount,bind,rw /x", "umount /usr/share/doc"} {
		ops := []Op{BindReadOnly(dir, "/x"), Tmpfs("/usr/share/doc")}
		if err := shell(attempt, ops...).Run(t.Context()); err != nil {
			t.Errorf("%s without Confine: %v", attempt, err)
		}
		c := confined(t, attempt, ops...)
		var exit *ExitError
		if err := c.Run(t.Context()); !errors.As(err, &exit) {
			t.Errorf("%s: got %v, want a failure", attempt, err)
		}
	}
}

func TestConfineErrors(t *testing.T) {
	c := confined(t, "exit 7")
	var exit *ExitError
	if err := c.Run(t.Context()); !errors.As(err, &exit) || exit.Code != 7 {
		t.Errorf("got %v, want exit code 7", err)
	}
	c = confined(t, "kill -9 $$")
	if err := c.Run(t.Context()); !errors.As(err, &exit) || exit.Signal != unix.SIGKILL {
		t.Errorf("got %v, want to be killed", err)
	}
	for name, want := range map[string]error{"no-such-program": fs.ErrNotExist, "/usr": fs.ErrPermission} {
		c := confined(t, "")
		c.Args = []string{name}
		if err := c.Run(t.Context()); !errors.Is(err, want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	c = &Cmd{Args: []string{"true"}, Confine: true, Ops: []Op{BindReadOnly("/usr", "/usr")}}
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "needs a Proc at /proc") {
		t.Errorf("got %v", err)
	}
	c = confined(t, "true")
	c.DropCapabilities = []int{1000}
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "dropping capability 1000") {
		t.Errorf("got %v", err)
	}
}

func TestConfineDropsCapabilities(t *testing.T) {
	c := confined(t, "awk '/^Cap(Eff|Bnd)/ {print $2}' /proc/self/status; mount -t tmpfs x /tmp 2>/dev/null || echo cannot mount")
	c.DropCapabilities = []int{unix.CAP_SYS_ADMIN}
	want := fmt.Sprintf("%016x", (uint64(1)<<(lastCapability(t)+1)-1)&^(1<<unix.CAP_SYS_ADMIN))
	if got := output(t, c); got != want+"\n"+want+"\ncannot mount" {
		t.Errorf("got %s, want %s twice", got, want)
	}
}

// TestConfineFiles looks whether what scripts do to files comes out as usual.
func TestConfineFiles(t *testing.T) {
	dirs := makeDirs(t, "plain", "lower", "upper", "work")
	c := confined(t, `set -e
		for d in /x /o; do
			cd $d
			echo hello > f; chmod 6755 f; cp -a f copy; tar -c f | tar -x -C $(mkdir t; echo t)
			SANDBOX_TEST_HELPER=capability /helper $d/f
			[ "$(stat -c %a copy t/f | xargs)" = "6755 6755" ]
		done
		rm /o/old; mkfifo /o/fifo`,
		Bind(dirs[0], "/x"), Overlay(OverlayLayers{Lower: []string{dirs[1]}, Upper: dirs[2], Work: dirs[3]}, "/o"))
	writeFile(t, filepath.Join(dirs[1], "old"), "old")
	if got := output(t, c); got != "" {
		t.Errorf("got %q", got)
	}
	if info, err := os.Lstat(filepath.Join(dirs[2], "old")); err != nil || !IsWhiteout(info) {
		t.Errorf("the removed file: %v, %v", info, err)
	}
	if os.Geteuid() != 0 {
		return // a file capability of a user's namespace is no other's
	}
	for _, file := range []string{filepath.Join(dirs[0], "f"), filepath.Join(dirs[2], "f")} {
		value := make([]byte, 64)
		n, err := unix.Lgetxattr(file, "security.capability", value)
		if err != nil || string(value[:n]) != string(capNetRaw) {
			t.Errorf("%s: got capabilities %x and %v, want %x", file, value[:n], err, capNetRaw)
		}
	}
}

func TestConfineOwners(t *testing.T) {
	dir := t.TempDir()
	c := confined(t, "touch /x/f && chown 12:34 /x/f && stat -c %u:%g /x/f", Bind(dir, "/x"))
	want := "12:34"
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if os.Chown(filepath.Join(dir, "f"), 12, 34) != nil { // no such user here
		c.SuppressChown, want = true, "0:0"
	}
	if got := output(t, c); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// capNetRaw is struct vfs_cap_data, revision 2, with cap_net_raw=ep.
var capNetRaw = []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

// helperCapability gives a file a capability.
func helperCapability() error {
	return unix.Lsetxattr(os.Args[1], "security.capability", capNetRaw, 0)
}

// helperNested runs sandboxes inside of one, the second one confined again.
func helperNested() error {
	for _, confine := range []bool{false, true} {
		c := &Cmd{
			Args:    []string{"sh", "-c", `echo $(id -u) $(ls /) > /x/out; echo > /o/new; mount -t tmpfs none /tmp`},
			Env:     []string{"PATH=/usr/bin:/bin"},
			Ops:     append(HostUsr(), Bind("/x", "/x"), Overlay(OverlayLayers{Lower: []string{"/usr/share"}, Upper: "/x/upper", Work: "/x/work"}, "/o")),
			Stdout:  os.Stdout,
			Stderr:  os.Stderr,
			Confine: confine,
		}
		if err := c.Run(context.Background()); err != nil {
			return err
		}
	}
	return nil
}

func TestConfineNested(t *testing.T) {
	dirs := makeDirs(t, "x/upper", "x/work")
	x := filepath.Dir(dirs[0])
	c := confined(t, "SANDBOX_TEST_HELPER=nested exec /helper", Bind(x, "/x"))
	c.Stdout = io.Discard
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(filepath.Join(x, "out"))
	if err != nil || !strings.HasPrefix(string(out), "0 ") || !strings.Contains(string(out), " o ") || strings.Contains(string(out), "helper") {
		t.Errorf("got %q, %v", out, err)
	}
	if _, err := os.Stat(filepath.Join(x, "upper/new")); err != nil {
		t.Error(err)
	}
}
