// Package program is mkosi-sandbox: it runs a command in a view of the file
// system that is put together from options.
//
// Unlike a command of package sandbox, one that this program runs keeps what it
// was started with: the terminal, open files, the environment, the umask, and
// the host's processes. Where no user namespace is needed the program becomes
// the command. A Go program cannot move into a user namespace, since it has
// threads; where one is needed the program starts itself in it, waits, and
// passes signals on.
package program

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// Options are what a command line asks for.
type Options struct {
	Help, Version bool
	// Debug wants each step to be told before it is taken.
	Debug bool
	// Args is the command. It is never empty.
	Args []string

	steps        []step
	env          []variable
	unset        []string
	dir          string // "": the root directory
	becomeRoot   bool
	mapForeign   bool
	delegate     int
	chown, sync  bool // to suppress
	network, ipc bool // to unshare
	packFiles    bool
	layers       sandbox.OverlayLayers // for the next overlay
	cwd          string
	oneUser      bool // root has nobody to give files to
}

// step is one thing that a directory tree is made of.
type step struct {
	target string
	ops    []sandbox.Op
	source string // of a bind mount
	bind   bool
	inside bool // the source is a path in the sandbox
	// foreign has a service map the owners of source.
	foreign, readOnly bool
	tree              *os.File // source of a foreign tree, once it is open
}

type variable struct{ name, value string }

// UsageError is what is wrong with a command line.
type UsageError struct{ msg, hint string }

func (e *UsageError) Error() string { return e.msg }

// Hint says what to do instead; it may be empty.
func (e *UsageError) Hint() string { return e.hint }

func usage(hint, format string, args ...any) error {
	return &UsageError{fmt.Sprintf(format, args...), hint}
}

// maxDelegated is how many ranges of users the service delegates at most.
const maxDelegated = 16

// Parse reads the arguments that follow the program's name. Relative paths are
// relative to dir, an absolute path, in the sandbox too.
func Parse(args []string, dir string) (*Options, error) {
	p := &parser{Options: &Options{cwd: dir}, args: args}
	for len(p.args) > 0 && strings.HasPrefix(p.args[0], "-") {
		name := p.args[0]
		p.args = p.args[1:]
		if name == "--" {
			break
		}
		if err := p.option(name); err != nil {
			return nil, err
		}
		if p.Help || p.Version {
			return p.Options, nil
		}
	}
	if p.Args = p.args; len(p.Args) == 0 {
		p.Args = []string{"bash"}
	}
	if p.Args[0] == "" {
		return nil, usage("", "the command is an empty word")
	}
	if p.ranges() > maxDelegated {
		return nil, usage("", "--map-delegate: %d ranges are too many, the service gives %d at most, one of them for --bind-foreign", p.delegate, maxDelegated)
	}
	p.arrange()
	return p.Options, nil
}

// parser is the state of Parse.
type parser struct {
	*Options
	args []string
}

// option takes one option with its arguments.
func (p *parser) option(name string) error {
	o := find(name)
	if o == nil {
		if long, _, ok := strings.Cut(name, "="); ok && find(long) != nil {
			return usage(fmt.Sprintf("what belongs to an option are words of their own: %s %s", long, strings.Join(find(long).arguments, " ")), "unknown option %s", name)
		}
		return usage("mkosi-sandbox --help lists all options; a command that begins with a dash goes behind --", "unknown option %s", name)
	}
	n := len(o.arguments)
	if len(p.args) < n {
		return usage("", "%s wants %s after it", name, strings.Join(o.arguments, " and "))
	}
	words := p.args[:n]
	p.args = p.args[n:]
	return o.take(p, words)
}

func (p *parser) path(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(p.cwd, path)
}

// add adds a step that is one operation.
func (p *parser) add(target string, op func(target string) sandbox.Op) error {
	target = p.path(target)
	p.steps = append(p.steps, step{target: target, ops: []sandbox.Op{op(target)}})
	return nil
}

// bind adds a bind mount; with make its variants are made of the simplest one.
func (p *parser) bind(words []string, readOnly bool, variant func(sandbox.Op) sandbox.Op) error {
	source, inside := strings.CutPrefix(words[0], "+")
	s := step{source: p.path(source), target: p.path(words[1]), bind: true, inside: inside, readOnly: readOnly}
	op := sandbox.Bind(s.source, s.target)
	if readOnly {
		op = sandbox.BindReadOnly(s.source, s.target)
	}
	if inside {
		op = op.Inside()
	}
	if variant != nil {
		op = variant(op)
	}
	s.ops = []sandbox.Op{op}
	p.steps = append(p.steps, s)
	return nil
}

// bindForeign adds a tree whose owners a service maps.
func (p *parser) bindForeign(words []string, readOnly bool) error {
	p.steps = append(p.steps, step{source: p.path(words[0]), target: p.path(words[1]), bind: true, foreign: true, readOnly: readOnly})
	return nil
}

// overlay adds an overlay of the layers collected so far.
func (p *parser) overlay(target string) error {
	layers := p.layers
	p.layers = sandbox.OverlayLayers{}
	switch {
	case len(layers.Lower) == 0:
		return usage("name its layers before it with --overlay-lowerdir", "--overlay %s has no layers", target)
	case layers.Ephemeral:
		layers.Work = "" // the service of memory needs none
	case layers.Upper != "" && layers.Work == "":
		return usage("name one on the same file system with --overlay-workdir", "--overlay %s has an upper directory and no working directory", target)
	case layers.Upper == "":
		layers.Work = ""
	}
	return p.add(target, func(target string) sandbox.Op {
		if len(layers.Lower) == 1 && layers.Upper == "" && !layers.Ephemeral {
			// The kernel makes no overlay of one layer.
			return sandbox.BindReadOnly(layers.Lower[0], target)
		}
		// The layer named last is the topmost.
		slices.Reverse(layers.Lower)
		return sandbox.Overlay(layers, target).Lasting()
	})
}

func (p *parser) setVariable(name, value string) error {
	if name == "" || strings.ContainsAny(name, "=\x00") {
		return usage("", "--setenv: %q cannot be the name of a variable", name)
	}
	p.env = append(p.env, variable{name, value})
	return nil
}

func (p *parser) setDelegate(word string) error {
	n, err := strconv.Atoi(word)
	if err != nil || n < 0 || n > maxDelegated {
		return usage("", "--map-delegate: %q is not a number from 0 to %d", word, maxDelegated)
	}
	p.delegate = n
	return nil
}

// ranges is how many ranges of users the sandbox is to be given: one is for the
// namespace in which foreign trees are shown.
func (o *Options) ranges() int {
	if o.foreign() {
		return o.delegate + 1
	}
	return o.delegate
}

// foreign reports whether a tree is to be shown with its owners mapped.
func (o *Options) foreign() bool {
	return slices.ContainsFunc(o.steps, func(s step) bool { return s.foreign })
}

// arrange puts the steps in the order in which they are taken: directories
// before what is in them, whatever the order of the options. At the same path a
// bind mount covers everything else. What has its source in the sandbox comes
// last. Else the order of the options counts.
func (o *Options) arrange() {
	order := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(o.steps, func(a, b step) int {
		if c := order(a.inside) - order(b.inside); c != 0 {
			return c
		}
		if c := slices.Compare(strings.Split(a.target, "/"), strings.Split(b.target, "/")); c != 0 {
			return c
		}
		return order(a.bind) - order(b.bind)
	})
}
