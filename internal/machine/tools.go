package machine

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/host"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// tools are where programs come from.
type tools struct {
	root  string   // of the system whose programs these are: "/", or the tools tree
	extra []string // directories of this host that are searched first
	env   map[string]string
}

// newTools finds out where the programs for an image come from.
func newTools(img *config.Image, facts host.Facts) (tools, error) {
	t := tools{root: cmp.Or(img.ToolsTree, "/"), extra: img.ExtraSearchPaths, env: facts.Environment}
	if info, err := os.Stat(filepath.Join(t.root, "usr")); err != nil || !info.IsDir() {
		return tools{}, fmt.Errorf("ToolsTree=%s is not a directory with a system in it", img.ToolsTree)
	}
	return t, nil
}

// programDirs are where a system has its programs, those included that are not meant for users.
var programDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/libexec", "/usr/lib/qemu", "/usr/lib/systemd"}

// find returns the path of the first of these programs that there is, as the sandbox sees it. The error wraps
// exec.ErrNotFound.
func (t tools) find(names ...string) (string, error) {
	root, err := unix.Open(t.root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("opening the system with the tools: %w", &os.PathError{Op: "open", Path: t.root, Err: err})
	}
	defer unix.Close(root)
	for _, name := range names {
		if program, err := host.FindIn(name, t.extra); err == nil {
			return program, nil
		}
		for _, dir := range programDirs {
			if program := path.Join(dir, name); isProgram(root, program) {
				return program, nil
			}
		}
	}
	return "", fmt.Errorf("looking for program %s: %w", strings.Join(names, " or "), exec.ErrNotFound)
}

// isProgram reports whether a path of a system is a program.
func isProgram(root int, path string) bool {
	fd, err := tree.OpenIn(root, path, unix.O_PATH)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0
}

// narrow is the view of a helper that reads and writes nothing but what ops show it.
func (t tools) narrow(argv []string, ops ...sandbox.Op) *sandbox.Cmd {
	system := sandbox.Usr(t.root)
	for _, dir := range t.extra {
		system = append(system, sandbox.BindReadOnly(dir, dir).Try())
	}
	return &sandbox.Cmd{
		Detached: true, // it is to last as long as the machine
		Args:     argv, Env: []string{"HOME=/", "LANG=C.UTF-8", "TERM=dumb", "PATH=" + t.path()}, Ops: append(system, ops...),
	}
}

// hardware are the capabilities(7) that reach the kernel and the hardware of this host, and that a virtual machine takes
// none of.
func hardware() []int {
	return []int{unix.CAP_SYS_RAWIO, unix.CAP_SYS_MODULE, unix.CAP_SYS_BOOT, unix.CAP_SYS_TIME, unix.CAP_SYS_PTRACE, unix.CAP_SYSLOG, unix.CAP_BPF, unix.CAP_PERFMON}
}

// wide is the view of a virtual machine monitor, whose arguments may name any file: that of this process, with the
// programs of the tools tree in place of the host's. files are those of this host that it needs wherever they are.
func (t tools) wide(argv []string, files ...string) *sandbox.Cmd {
	env := maps.Clone(t.env)
	if env == nil {
		env = map[string]string{}
	}
	env["PATH"] = t.path()
	cmd := &sandbox.Cmd{Args: argv, Detached: true, Network: true, DropCapabilities: hardware(), Ops: []sandbox.Op{sandbox.Bind("/", "/"), sandbox.Proc("/proc")}}
	if t.root != "/" {
		cmd.Ops = t.overHost(files)
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		cmd.Env = append(cmd.Env, name+"="+env[name])
	}
	return cmd
}

// toolSettings are what of a tools tree's /etc belongs to its programs; the rest is the host's.
var toolSettings = []string{"/etc/fonts", "/etc/pipewire", "/etc/pulse", "/etc/qemu", "/etc/crypto-policies"}

// hostSettings are what a virtual machine monitor wants to know of the host.
var hostSettings = []string{"/etc/passwd", "/etc/group", "/etc/machine-id", "/etc/localtime"}

// overHost is the host's file system with the programs of a tools tree. Of what these cover, files are there nevertheless.
func (t tools) overHost(files []string) []sandbox.Op {
	ops := sandbox.Programs(t.root)
	files = slices.DeleteFunc(slices.Clone(files), func(file string) bool { return !isCovered(file) })
	if len(files) > 0 {
		// There have to be places for them, which a tools tree does not have, and must not get.
		usr := sandbox.OverlayLayers{Lower: []string{filepath.Join(t.root, "usr")}, Ephemeral: true}
		ops = append(ops, sandbox.Overlay(usr, "/usr"))
	}
	entries, err := os.ReadDir("/")
	if err != nil {
		return ops // what is missing, programs complain about
	}
	for _, e := range entries {
		name := "/" + e.Name()
		switch {
		case name == "/usr" || name == "/etc" || name == "/proc" || isProgramDir(name):
		case e.Type()&fs.ModeSymlink != 0:
			if link, err := os.Readlink(name); err == nil {
				ops = append(ops, sandbox.Symlink(link, name))
			}
		case e.IsDir():
			ops = append(ops, sandbox.Bind(name, name))
		}
	}
	for _, name := range toolSettings {
		ops = append(ops, sandbox.BindReadOnly(filepath.Join(t.root, name), name).Try())
	}
	for _, name := range hostSettings {
		ops = append(ops, sandbox.BindReadOnly(name, name).Try())
	}
	for _, file := range files {
		ops = append(ops, sandbox.Bind(file, file))
	}
	return append(append(ops, sandbox.HostNetwork()...), sandbox.Proc("/proc"))
}

// isCovered reports whether a path of this host leads to where the sandbox has what belongs to a tools tree.
func isCovered(file string) bool {
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	top, _, _ := strings.Cut(strings.TrimPrefix(file, "/"), "/")
	return top == "usr" || top == "etc" || isProgramDir("/"+top)
}

// isProgramDir reports whether a directory beside /usr belongs to it.
func isProgramDir(name string) bool {
	return name == "/bin" || name == "/sbin" || strings.HasPrefix(name, "/lib")
}

// path is the search path of programs.
func (t tools) path() string {
	return strings.Join(append(slices.Clone(t.extra), programDirs[:6]...), ":")
}

// missing is the error that a program, or a file, of some software is not there.
func (m *Machine) missing(s software, err error) error {
	where := "this host"
	if m.tools.root != "/" {
		where = "the tools tree"
	}
	return &hintError{fmt.Errorf("%s lacks what the machine needs: %w", where, err), m.hint(s)}
}

// hint says which package to install.
func (m *Machine) hint(s ...software) string {
	facts := m.opts.Host
	if m.tools.root != "/" {
		facts = host.Facts{}
		if data, err := os.ReadFile(filepath.Join(m.tools.root, "usr/lib/os-release")); err == nil {
			release := host.ParseOSRelease(string(data))
			facts.Distribution, facts.DistributionLike = release["ID"], strings.Fields(release["ID_LIKE"])
		}
	}
	var names []string
	for _, s := range s {
		names = append(names, packageOf(s, facts, m.img.Architecture))
	}
	if m.tools.root != "/" {
		return "add to the tools tree: " + strings.Join(names, " ")
	}
	return "install: " + strings.Join(names, " ") + "; or name a tree that has them with ToolsTree="
}
