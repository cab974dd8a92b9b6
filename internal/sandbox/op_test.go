package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOpBind(t *testing.T) {
	dirs := makeDirs(t, "src", "src/sub")
	writeFile(t, filepath.Join(dirs[0], "file"), "content")
	if err := os.Symlink("file", filepath.Join(dirs[0], "link")); err != nil {
		t.Fatal(err)
	}
	got := output(t, shell("cat /new/dir/file /new/f; readlink /new/l; cat /again/file; : > /new/dir/made; touch /ro/made 2>/dev/null || echo read-only",
		Bind(dirs[0], "/new/dir"),
		BindReadOnly(dirs[0], "/ro"),
		Bind(filepath.Join(dirs[0], "link"), "/new/f"),
		Bind(filepath.Join(dirs[0], "link"), "/new/l").NoFollow(),
		Bind("/new/dir", "/again").Inside(),
	))
	if want := "contentcontentfile\ncontentread-only"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := os.Stat(filepath.Join(dirs[0], "made")); err != nil {
		t.Error(err)
	}
}

func TestOpTargetsStayInside(t *testing.T) {
	dirs := makeDirs(t, "tree", "outside")
	for link, to := range map[string]string{"abs": dirs[1], "rel": "../outside", "up": "../../../../../.."} {
		if err := os.Symlink(to, filepath.Join(dirs[0], link)); err != nil {
			t.Fatal(err)
		}
	}
	ops := append(HostUsr(), Bind(dirs[0], "/tree"))
	for _, target := range []string{"/tree/abs/x", "/tree/rel/x", "/tree/up/x", "/../../x"} {
		c := &Cmd{Args: []string{"true"}, Ops: append(ops, WriteFile(target, []byte("x"), 0o644), Dir(target+".d", 0o755))}
		if err := c.Run(t.Context()); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EEXIST) {
			t.Errorf("%s: %v", target, err)
		}
	}
	if left, err := os.ReadDir(dirs[1]); err != nil || len(left) != 0 {
		t.Errorf("%v is outside, %v", left, err)
	}
	if _, err := os.Lstat("/x"); err == nil {
		t.Error("/x exists")
	}
}

func TestOpFiles(t *testing.T) {
	dir := makeDirs(t, "dir")[0]
	covered := filepath.Join(dir, "covered")
	writeFile(t, covered, "original")
	got := output(t, shell("cat /a/b/file; stat -c %a /a/b /a/b/file /d/tmp /own; readlink /l; ls /d/tmp; cat /dir/*; readlink /dir/new-link",
		Bind(dir, "/dir"),
		WriteFile("/a/b/file", []byte("with \x00 zero"), 0o640),
		Dir("/own", 0o700),
		Tmpfs("/d/tmp"),
		Symlink("to nowhere", "/l"),
		Symlink("to nowhere", "/l"),
		WriteFile("/dir/covered", []byte("covered,"), 0o644),
		WriteFile("/dir/new", []byte("new,"), 0o644),
		Symlink("new", "/dir/new-link"),
	))
	if want := "with \x00 zero755\n640\n1777\n700\nto nowhere\ncovered,new,new,new"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	wantFile(t, covered, "original")
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v is left, %v", left, err)
	}
}

func TestOpDev(t *testing.T) {
	got := output(t, shell(`cd /dev; echo *; test -c null && test -c tty && test -w shm && head -c 2 urandom | wc -c; test -c ptmx && test -d pts && echo pts`))
	want := "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero\n2\npts"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOpOverlay(t *testing.T) {
	lower := overlayLayers(t)
	dirs := makeDirs(t, "upper", "work")
	layers := OverlayLayers{Lower: lower, Upper: dirs[0], Work: dirs[1]}
	output(t, shell("cd /o && rm -r removed dir && mkdir dir && printf inner > dir/inner && printf new > both && mv file renamed", Overlay(layers, "/o")))
	checkUpper(t, dirs[0])
	many := OverlayLayers{Lower: manyLayers(t)}
	if got := output(t, shell("ls /o | wc -l; touch /o/x 2>/dev/null || echo read-only", Overlay(many, "/o"))); got != "101\nread-only" {
		t.Errorf("got %q", got)
	}
}

func TestOpString(t *testing.T) {
	for want, op := range map[string]Op{
		"bind /a to /b, read-only, if it exists":          BindReadOnly("/a", "/b").Try(),
		"bind /a to /b, not following links, from inside": Bind("/a", "/b").Inside().NoFollow(),
		"overlay of /1, /2 at /o with changes in /u":      Overlay(OverlayLayers{Lower: []string{"/1", "/2"}, Upper: "/u", Work: "/w"}, "/o"),
		"file /secret":          WriteFile("/secret", []byte("content"), 0o600),
		"symbolic link /l to a": Symlink("a", "/l"),
		"unknown operation":     {},
	} {
		if got := op.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestChroot(t *testing.T) {
	tree := makeDirs(t, "tree", "tree/usr", "tree/etc")[0]
	// As there is no program in it, it gets the host's in a place that is not
	// there either.
	ops := append(Chroot(tree), BindReadOnly("/usr", "/usr"), WriteFile("/etc/resolv.conf", []byte("x"), 0o644))
	if err := os.Symlink("../run/resolv.conf", filepath.Join(tree, "etc/resolv.conf")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bin", "lib", "lib64"} {
		if link, err := os.Readlink("/" + name); err == nil {
			if err := os.Symlink(link, filepath.Join(tree, name)); err != nil {
				t.Fatal(err)
			}
		} else {
			ops = append(ops, BindReadOnly("/"+name, "/"+name).Try())
		}
	}
	c := &Cmd{
		Args: []string{"sh", "-c", "cat /etc/resolv.conf; test -c /dev/null && test -d /proc/self && : > /tmp/x && : > /run/x && : > /var-made && mkdir /proc-made"},
		Ops:  append(ops, Bind(tree, "/opt/deep/er")),
	}
	if got := output(t, c); got != "x" {
		t.Errorf("got %q", got)
	}
	var left []string
	entries, err := os.ReadDir(tree)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "lib64" && e.Name() != "lib" && e.Name() != "bin" {
			left = append(left, e.Name())
		}
	}
	if got := strings.Join(left, " "); got != "etc proc-made usr var-made" {
		t.Errorf("the tree has %s", got)
	}
	if link, err := os.Readlink(filepath.Join(tree, "etc/resolv.conf")); err != nil || link != "../run/resolv.conf" {
		t.Errorf("resolv.conf: %q, %v", link, err)
	}
}

func TestHostNetwork(t *testing.T) {
	for _, op := range HostNetwork() {
		if !op.readOnly || strings.Contains(op.source, "private") {
			t.Errorf("%+v", op)
		}
	}
	c := shell("test -e /etc/resolv.conf", HostNetwork()...)
	if _, err := os.Stat("/etc/resolv.conf"); err == nil {
		output(t, c)
	}
}
