package script

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/pkgmgr"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// probe is what this binary is called in the tests' images.
const probe = "probe"

func TestMain(m *testing.M) {
	if sandbox.Reexecuted() {
		sandbox.Main()
	}
	if name, ok := Invoked(); ok {
		err := Run(context.Background(), name, os.Args[1:])
		var exit *sandbox.ExitError
		if err != nil && !errors.As(err, &exit) {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(ExitCode(err))
	}
	if filepath.Base(os.Args[0]) == probe {
		os.Exit(runProbe(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// runProbe is a program of an image: it tells what it sees, or ends as it is told.
func runProbe(args []string) int {
	switch {
	case len(args) == 2 && args[0] == "exit":
		code, _ := strconv.Atoi(args[1])
		return code
	case len(args) == 1 && args[0] == "kill":
		unix.Kill(os.Getpid(), unix.SIGKILL)
	case len(args) == 2 && args[0] == "overwrite":
		return overwrite(args[1])
	}
	dir, _ := os.Getwd()
	fmt.Printf("args %q\ndir %s\nBUILDROOT %s\ncontainer %s\nSRCDIR %s\n",
		args, dir, os.Getenv("BUILDROOT"), os.Getenv("container"), os.Getenv("SRCDIR"))
	for _, name := range []string{"/etc/image", "/work/config.json", "/proc/self", "/dev/null", "/run/host/container-manager", "/scripts", "/etc/host-only"} {
		_, err := os.Stat(name)
		fmt.Printf("%s %t\n", name, err == nil)
	}
	return 0
}

// overwrite tries with all means to write a file that is mounted read-only.
func overwrite(path string) int {
	fmt.Println("remount:", unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND, ""))
	fmt.Println("attributes:", unix.MountSetattr(unix.AT_FDCWD, path, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}))
	if err := os.WriteFile(path, []byte("overwritten"), 0o644); err == nil {
		fmt.Println("written")
	}
	if err := unix.Unmount(path, unix.MNT_DETACH); err == nil {
		fmt.Println("unmounted: <nil>")
	}
	return 0
}

// newView returns a view of an image whose only program is probe.
func newView(t *testing.T) *View {
	t.Helper()
	dir := t.TempDir()
	v := &View{
		Image:  &config.Image{Distribution: "debian", Release: "trixie", Architecture: "x86-64"},
		Config: []byte("{}\n"), Root: filepath.Join(dir, "root"), OutputDir: filepath.Join(dir, "out"),
	}
	for _, d := range []string{v.OutputDir, filepath.Join(v.Root, "usr/bin"), filepath.Join(v.Root, "etc")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(v.Root, "etc/image"), "", 0o644)
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(v.Root, "usr/bin", probe), string(program), 0o755)
	for _, file := range libraries(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(v.Root, filepath.Dir(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(v.Root, file), string(text), 0o755)
	}
	return v
}

// libraries are the files that this binary wants to run: none, unless it was built with cgo.
func libraries(t *testing.T) []string {
	t.Helper()
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var files []string
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := io.ReadAll(p.Open())
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, strings.TrimRight(string(name), "\x00"))
		}
	}
	names, err := f.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		for _, pattern := range []string{"/lib*/", "/lib/*/", "/usr/lib*/", "/usr/lib/*/"} {
			found, _ := filepath.Glob(pattern + name)
			files = append(files, found...)
		}
	}
	return files
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// runScript runs a script of this text and returns what it printed.
func runScript(t *testing.T, v *View, kind Kind, name, text string, args ...string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	write(t, path, text, 0o755)
	cmd, err := v.Command(kind, path, args...)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run(t.Context())
	return out.String(), err
}

func TestChroot(t *testing.T) {
	v := newView(t)
	out, err := runScript(t, v, PostInstallation, "mkosi.postinst",
		"#!/bin/sh\ncd /tmp\necho script in $BUILDROOT\nmkosi-chroot probe a b\n")
	if err != nil {
		t.Fatal(err, out)
	}
	want := `script in /buildroot
args ["a" "b"]
dir /work/src
BUILDROOT /
container mkosi
SRCDIR /work/src
/etc/image true
/work/config.json true
/proc/self true
/dev/null true
/run/host/container-manager true
/scripts false
/etc/host-only false
`
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	for _, name := range []string{"work", "dev", "proc", "run", "tmp", "var"} {
		if _, err := os.Lstat(filepath.Join(v.Root, name)); err == nil {
			t.Errorf("the image has /%s afterwards", name)
		}
	}
}

func TestChrootScript(t *testing.T) {
	v := newView(t)
	text := "#!/usr/bin/probe\n"
	out, err := runScript(t, v, Finalize, "mkosi.finalize.chroot", text, "x")
	if err != nil || !strings.Contains(out, `args ["/work/finalize" "x"]`) || !strings.Contains(out, "BUILDROOT /\n") {
		t.Errorf("got %s, %v", out, err)
	}
	// What sees no image runs outside, as with mkosi 27.1.
	out, err = runScript(t, v, Sync, "mkosi.sync.chroot", "#!/bin/sh\necho $0\n")
	if err != nil || out != "/work/sync\n" {
		t.Errorf("a sync script: got %s, %v", out, err)
	}
}

// A script is root, and still cannot write what is shown to it for reading: neither itself nor, in the image's root
// directory, anything below /work.
func TestScriptCannotWriteWhatItReads(t *testing.T) {
	v := newView(t)
	v.BuildDir = t.TempDir()
	file := filepath.Join(v.BuildDir, "file")
	write(t, file, "original", 0o644)
	v.Image.ExtraSearchPaths = []string{filepath.Join(v.Root, "usr/bin")}
	for _, by := range []string{"", "mkosi-chroot "} {
		for _, path := range []string{"/work/build/file", "/work/build", "/work/postinst"} {
			out, err := runScript(t, v, PostInstallation, "mkosi.postinst", "#!/bin/sh\n"+by+"probe overwrite "+path+"\n")
			if err != nil || !strings.HasPrefix(out, "remount: ") || strings.Contains(out, ": <nil>") || strings.Contains(out, "written") {
				t.Errorf("%sprobe %s: %v\n%s", by, path, err, out)
			}
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "original" {
		t.Errorf("the file says %q, %v", text, err)
	}
}

func TestChrootExitCode(t *testing.T) {
	v := newView(t)
	for command, want := range map[string]int{"probe exit 7": 7, "probe kill": 137, "nosuch": 127, "/etc/image": 126} {
		_, err := runScript(t, v, Build, "mkosi.build", "#!/bin/sh\nmkosi-chroot "+command+"\n")
		var exit *sandbox.ExitError
		if !errors.As(err, &exit) || exit.Code != want {
			t.Errorf("%s: got %v, want exit code %d", command, err, want)
		}
	}
}

func TestFailingScript(t *testing.T) {
	v := newView(t)
	for _, test := range []struct {
		text, want, hint string
		code             int
	}{
		{"#!/bin/sh\necho first; echo last >&2; exit 5\n", "sync script x.sync failed with exit code 5:\nfirst\nlast", "", 5},
		{"#!/bin/sh\nkill -9 $$\n", "sync script x.sync was killed by signal 9 (killed)", "", 137},
		{"#!/no/such/program\n", "sync script x.sync: running /work/sync in a sandbox: starting /work/sync: no such file", "its first line names", 1},
		{"echo\n", "sync script x.sync: running /work/sync in a sandbox: starting /work/sync: exec format error", "#!/bin/sh", 1},
	} {
		_, err := runScript(t, v, Sync, "mkosi.sync", test.text)
		e := &Error{Kind: Sync, Script: "x.sync", Err: err}
		if !strings.HasPrefix(e.Error(), test.want) || e.ExitCode() != test.code || !strings.Contains(e.Hint(), test.hint) || (e.Hint() == "") != (test.hint == "") {
			t.Errorf("%q: got %v, hint %q, exit code %d", test.text, e, e.Hint(), e.ExitCode())
		}
	}
}

func TestExecutable(t *testing.T) {
	v := newView(t)
	path := filepath.Join(t.TempDir(), "mkosi.clean")
	write(t, path, "#!/bin/sh\n", 0o640)
	_, err := v.Command(Clean, path)
	var not *NotExecutableError
	if !errors.As(err, &not) || !strings.Contains(not.Hint(), "chmod +x "+path) || !strings.Contains(not.Hint(), "MakeScriptsExecutable=yes") {
		t.Fatalf("got %v", err)
	}
	v.Image.MakeScriptsExecutable = true
	if _, err := v.Command(Clean, path); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o740 {
		t.Errorf("got %v, %v", fi.Mode(), err)
	}
	if _, err := v.Command(Clean, v.Root); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("a directory: %v", err)
	}
}

func TestCommands(t *testing.T) {
	v := newView(t)
	dir := t.TempDir()
	for _, name := range []string{"git", "apt-get", "useradd"} {
		write(t, filepath.Join(dir, name), "#!/bin/sh\necho "+name+` "$@" "$X" "$HOME"`+"\npwd\ntest -e /buildroot/dev/null && echo api\nexit 3\n", 0o755)
	}
	v.Image.ExtraSearchPaths = []string{dir}
	v.Image.Environment = map[string]string{"HOME": "/home", "X": "x"}
	v.Tools = &pkgmgr.Tools{Ops: userOps(), Commands: []pkgmgr.Command{
		{Name: "mkosi-install", Args: []string{"apt-get", "-o", "A=1", "install"}, Env: []string{"X=y", "PATH=" + dir + ":/usr/bin:/bin"}, Image: true},
		{Name: "absent", Args: []string{"absent-program"}},
	}}
	for _, name := range []string{"passwd", "group", "shadow", "gshadow"} {
		write(t, filepath.Join(v.Root, "etc", name), "", 0o644)
		v.Tools.Ops = append(v.Tools.Ops, sandbox.WriteFile("/etc/"+name, nil, 0o644))
	}
	out, err := runScript(t, v, Prepare, "mkosi.prepare", `#!/bin/sh
cd /tmp
git status; echo $?
useradd -r u; echo $?
mkosi-install p; echo $?
type absent >/dev/null 2>&1 || echo none
`)
	if err != nil {
		t.Fatal(err, out)
	}
	want := `git -c safe.directory=* status x /home
/tmp
3
useradd --root /buildroot -r u x /home
/tmp
3
apt-get -o A=1 install p y /home
/tmp
api
3
none
`
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

func TestScriptSeesOnlyItsOwn(t *testing.T) {
	v := newView(t)
	v.BuildDir, v.DestDir, v.PackageDir, v.ArtifactDir = t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	v.Sources = []sandbox.Op{sandbox.Bind(t.TempDir(), SourceDir)}
	text := "#!/bin/sh\ncd ..; echo *; cd src; pwd; echo $#; touch /work/build/x 2>/dev/null && echo written; exit 0\n"
	for kind, want := range map[Kind]string{
		Configure:        "configure src\n/work/src\n0\n",
		Clean:            "clean config.json out src\n/work/src\n0\n",
		Sync:             "config.json src sync\n/work/src\n0\n",
		Prepare:          "artifacts config.json packages prepare src\n/work/src\n0\n",
		Build:            "artifacts build build-script config.json dest packages src\n/work/src\n0\nwritten\n",
		PostInstallation: "artifacts build config.json out packages postinst src\n/work/src\n0\n",
		Finalize:         "artifacts build config.json finalize out packages src\n/work/src\n0\n",
		PostOutput:       "config.json out postoutput src\n/work/src\n0\n",
	} {
		if out, err := runScript(t, v, kind, "script", text); err != nil || out != want {
			t.Errorf("%s: got\n%s%v\nwant\n%s", kind, out, err, want)
		}
	}
}

func TestKinds(t *testing.T) {
	v := newView(t)
	if _, err := v.Command("nosuch", "/bin/sh"); err == nil {
		t.Error("a kind that does not exist is taken")
	}
	v.Root = ""
	if _, err := v.Command(Build, "/bin/sh"); err == nil {
		t.Error("a build script runs without an image")
	}
	var network []string
	for kind := range kinds {
		if kind.Network(&config.Image{}) {
			network = append(network, string(kind))
		}
	}
	slices.Sort(network)
	if !slices.Equal(network, []string{"prepare", "sync"}) {
		t.Errorf("without WithNetwork=, %v have the network", network)
	}
	for _, kind := range []Kind{Build, PostInstallation, Finalize} {
		if !kind.Network(&config.Image{WithNetwork: true}) {
			t.Errorf("%s has no network with WithNetwork=", kind)
		}
	}
}
