package program

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// option is one option of the program.
type option struct {
	name      string
	arguments []string
	help      string
	take      func(p *parser, words []string) error
}

// find returns the option called name, or nil.
func find(name string) *option {
	if name == "-h" {
		name = "--help"
	}
	all := options()
	for i := range all {
		if all[i].name == name {
			return &all[i]
		}
	}
	return nil
}

// options are all options in the order of the help.
func options() []option {
	both := []string{"SRC", "DST"}
	dst := []string{"DST"}
	dir := []string{"DIR"}
	flag := func(set func(p *parser)) func(*parser, []string) error {
		return func(p *parser, _ []string) error { set(p); return nil }
	}
	try, noFollow := sandbox.Op.Try, sandbox.Op.NoFollow
	return []option{
		{"--help", nil, "show this help (also -h)", flag(func(p *parser) { p.Help = true })},
		{"--version", nil, "show the version", flag(func(p *parser) { p.Version = true })},
		{"--tmpfs", dst, "mount an empty tmpfs at DST", func(p *parser, w []string) error { return p.add(w[0], sandbox.Tmpfs) }},
		{"--dev", dst, "make a private /dev at DST", func(p *parser, w []string) error { return p.dev(w[0]) }},
		{"--dir", dst, "create the directory DST", func(p *parser, w []string) error { return p.add(w[0], makeDir) }},
		{"--bind", both, "show SRC at DST; +SRC is a path in the sandbox", func(p *parser, w []string) error { return p.bind(w, false, nil) }},
		{"--bind-try", both, "the same, if SRC exists", func(p *parser, w []string) error { return p.bind(w, false, try) }},
		{"--ro-bind", both, "show SRC at DST, read-only", func(p *parser, w []string) error { return p.bind(w, true, nil) }},
		{"--ro-bind-try", both, "the same, if SRC exists", func(p *parser, w []string) error { return p.bind(w, true, try) }},
		{"--bind-foreign", both, "show a tree of the foreign UID range, mapped", func(p *parser, w []string) error { return p.bindForeign(w, false) }},
		{"--ro-bind-foreign", both, "the same, read-only", func(p *parser, w []string) error { return p.bindForeign(w, true) }},
		{"--bind-nofollow", both, "show SRC at DST, itself if it is a symbolic link", func(p *parser, w []string) error { return p.bind(w, false, noFollow) }},
		{"--ro-bind-nofollow", both, "the same, read-only", func(p *parser, w []string) error { return p.bind(w, true, noFollow) }},
		{"--symlink", both, "create the symbolic link DST to SRC", func(p *parser, w []string) error {
			return p.add(w[1], func(target string) sandbox.Op { return sandbox.Symlink(w[0], target).Lasting() })
		}},
		{"--write", []string{"DATA", "DST"}, "write DATA to the file DST", func(p *parser, w []string) error {
			return p.add(w[1], func(target string) sandbox.Op { return writeFile(w[0], target) })
		}},
		{"--overlay-lowerdir", dir, "add a layer, on top of those before, to the next overlay", func(p *parser, w []string) error {
			p.layers.Lower = append(p.layers.Lower, p.path(w[0]))
			return nil
		}},
		{"--overlay-upperdir", dir, "where changes in the next overlay go; tmpfs: to memory", func(p *parser, w []string) error {
			p.layers.Upper, p.layers.Ephemeral = "", w[0] == "tmpfs"
			if !p.layers.Ephemeral {
				p.layers.Upper = p.path(w[0])
			}
			return nil
		}},
		{"--overlay-workdir", dir, "the working directory of the next overlay", func(p *parser, w []string) error { p.layers.Work = p.path(w[0]); return nil }},
		{"--overlay", dst, "mount an overlay of these at DST", func(p *parser, w []string) error { return p.overlay(w[0]) }},
		{"--unsetenv", []string{"NAME"}, "remove a variable of the environment", func(p *parser, w []string) error { p.unset = append(p.unset, w[0]); return nil }},
		{"--setenv", []string{"NAME", "VALUE"}, "set a variable of the environment", func(p *parser, w []string) error { return p.setVariable(w[0], w[1]) }},
		{"--chdir", dir, "run the command in DIR", func(p *parser, w []string) error { p.dir = p.path(w[0]); return nil }},
		{"--same-dir", nil, "run the command in the current directory", flag(func(p *parser) { p.dir = p.cwd })},
		{"--become-root", nil, "be root in the sandbox", flag(func(p *parser) { p.becomeRoot = true })},
		{"--map-foreign", nil, "map the foreign UID range", flag(func(p *parser) { p.mapForeign = true })},
		{"--map-delegate", []string{"N"}, "map N more ranges of 65536 users", func(p *parser, w []string) error { return p.setDelegate(w[0]) }},
		{"--suppress-chown", nil, "let chown() succeed and do nothing", flag(func(p *parser) { p.chown = true })},
		{"--suppress-sync", nil, "let sync() and the like succeed and do nothing", flag(func(p *parser) { p.sync = true })},
		{"--unshare-net", nil, "use a network of the sandbox's own", flag(func(p *parser) { p.network = true })},
		{"--unshare-ipc", nil, "use an IPC namespace of the sandbox's own", flag(func(p *parser) { p.ipc = true })},
		{"--pack-fds", nil, "number inherited files from 3 on, see sd_listen_fds(3)", flag(func(p *parser) { p.packFiles = true })},
		{"--debug", nil, "tell each step before it is taken", flag(func(p *parser) { p.Debug = true })},
	}
}

// Help is the text of --help.
func Help() string {
	var b strings.Builder
	b.WriteString("Run a command, by default a shell, in a custom sandbox.\n\nUsage:\n  mkosi-sandbox [OPTION...] [COMMAND [ARGUMENT...]]\n\nOptions:\n")
	for _, o := range options() {
		fmt.Fprintf(&b, "  %-30s %s\n", strings.Join(append([]string{o.name}, o.arguments...), " "), o.help)
	}
	b.WriteString(`
Exit codes:
  1    the sandbox could not be set up
  2    the command line is wrong
  126  the command could not be run
  127  there is no such command
  else the command's own; 128 and the number of the signal that killed it

mkosi documentation mkosi-sandbox shows the manual.
`)
	return b.String()
}

// makeDir creates a directory, one for everybody's files if it is called so.
func makeDir(target string) sandbox.Op {
	if path.Base(target) == "tmp" {
		return sandbox.Dir(target, 0o777|fs.ModeSticky)
	}
	return sandbox.Dir(target, 0o755)
}

// writeFile writes a file with the permissions that the umask leaves.
func writeFile(data, target string) sandbox.Op {
	umask := unix.Umask(0)
	unix.Umask(umask)
	return sandbox.WriteFile(target, []byte(data), fs.FileMode(0o666&^umask)).Lasting()
}

// dev makes a /dev that has, beside what every sandbox's has, FUSE, and the
// terminal on which the command runs as the console: its name in the host's
// /dev/pts means nothing in there.
func (p *parser) dev(target string) error {
	target = p.path(target)
	ops := []sandbox.Op{
		sandbox.Dev(target),
		sandbox.Symlink("/proc/kcore", path.Join(target, "core")),
		sandbox.Bind("/dev/fuse", path.Join(target, "fuse")).Try(),
	}
	if name := terminal(); name != "" {
		ops = append(ops, sandbox.Bind(name, path.Join(target, "console")))
	}
	p.steps = append(p.steps, step{target: target, ops: ops})
	return nil
}

// terminal is the terminal that standard output is, or "".
func terminal() string {
	if !term.IsTerminal(unix.Stdout) {
		return ""
	}
	name, err := os.Readlink("/proc/self/fd/1")
	if err != nil {
		return ""
	}
	if _, err := os.Lstat(name); err != nil {
		return "" // of another mount namespace
	}
	return name
}
