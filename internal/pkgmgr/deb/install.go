// Package deb installs .deb packages into a tree without packages faster
// than dpkg does: it unpacks the archives side by side, writes dpkg's
// database as dpkg would have, and leaves configuring them to dpkg.
//
// Choosing, downloading and verifying the packages is the caller's business.
package deb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// ErrUnsuitable is wrapped by the error for packages that only dpkg itself
// can unpack, such as two with the same file. The tree and dpkg's database
// are then as they were before the wave that failed: packages of earlier
// waves are installed.
var ErrUnsuitable = errors.New("not suited to parallel unpacking")

// Group is a set of packages that are installed together.
type Group struct {
	// Archives are paths of .deb files in the order in which apt wants them
	// unpacked.
	Archives []string
	// Bootstrap tells that the group is the minimal system: maintainer
	// scripts can only run when all of it is unpacked, so that preinst
	// scripts run after unpacking.
	Bootstrap bool
	// Configure are names of packages, with ":" and the architecture, that
	// are to be configured in this order before all others. Users and groups
	// get their numbers in the order of configuration.
	Configure []string
	// Last tells that no other group will follow, so that triggers are
	// processed.
	Last bool
}

// Options say where and how to install. All fields but Rules, IgnoreOwners
// and Workers are required to install; Extract needs Root alone.
type Options struct {
	// Root is the tree, a directory on the host.
	Root string
	// Rules are dpkg's path filters.
	Rules []Rule
	// IgnoreOwners leaves all files to the caller.
	IgnoreOwners bool
	// Workers is how many packages are unpacked at the same time; 0 for one
	// a processor.
	Workers int
	// Shell runs a script with the image's /bin/sh in the image.
	Shell func(ctx context.Context, script string) error
	// Configure runs "dpkg --configure" on the image, for the named packages
	// or, when there are none, for all that are pending; without triggers
	// when more will follow.
	Configure func(ctx context.Context, names []string, triggers bool) error
	// Version is the version of the dpkg that Configure runs, for the
	// environment of maintainer scripts.
	Version string
}

// Installer installs groups of packages into a tree. It must be closed.
// Nothing else may change the tree meanwhile.
type Installer struct {
	Options
	root    *os.Root
	tree    *tree
	db      *database
	started bool // a wave has been unpacked
}

// NewInstaller opens the tree.
func NewInstaller(o Options) (*Installer, error) {
	root, err := os.OpenRoot(o.Root)
	if err != nil {
		return nil, fmt.Errorf("opening the image's tree: %w", err)
	}
	t, err := openTree(o.Root, o.IgnoreOwners)
	if err != nil {
		root.Close()
		return nil, err
	}
	return &Installer{Options: o, root: root, tree: t, db: &database{root}}, nil
}

// Close closes the tree.
func (in *Installer) Close() {
	in.tree.close()
	in.root.Close()
}

// Install installs groups of packages, one after another, and configures
// them. When the first groups have been installed alone, it can be called
// again with others.
func (in *Installer) Install(ctx context.Context, groups ...Group) error {
	if err := in.db.create(); err != nil {
		return fmt.Errorf("creating dpkg's database: %w", err)
	}
	var waves []wave
	defer func() {
		for _, w := range waves {
			w.close()
		}
	}()
	for _, g := range groups {
		w, err := plan(g)
		waves = append(waves, w...)
		if err != nil {
			return err
		}
		if g.Last && len(waves) > 0 {
			waves[len(waves)-1].triggers = true
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for k, w := range waves {
		if err := in.wave(ctx, w); err != nil {
			return err
		}
		if k == 0 {
			// Configuring keeps one processor busy at best; the others
			// decompress what comes next.
			done := prefetch(ctx, waves[1:])
			defer func() { cancel(); <-done }()
		}
		if err := in.configure(ctx, w); err != nil {
			return fmt.Errorf("configuring packages: %w", err)
		}
		in.tree.forget()
	}
	return nil
}

// configure lets dpkg configure what the wave calls for.
func (in *Installer) configure(ctx context.Context, w wave) error {
	if len(w.configure) > 0 {
		if err := in.Configure(ctx, w.configure, false); err != nil {
			return err
		}
	}
	if w.rest {
		return in.Configure(ctx, nil, w.triggers)
	}
	return nil
}

// prefetchLimit is how many bytes of decompressed archives are kept in memory
// at most.
const prefetchLimit = 512 << 20

// prefetch decompresses the waves' archives in order until the limit is
// reached. The channel is closed when it has stopped.
func prefetch(ctx context.Context, waves []wave) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		left := int64(prefetchLimit)
		for _, w := range waves {
			for _, a := range w.archives {
				n, err := a.prefetch(ctx, left)
				if left -= n; err != nil || left <= 0 {
					return
				}
			}
		}
	}()
	return done
}

// Extract unpacks an archive's files and tells dpkg nothing of it. What is in
// the way is replaced.
func (in *Installer) Extract(ctx context.Context, archive string) error {
	a, err := Open(archive)
	if err != nil {
		return err
	}
	defer a.Close()
	t := in.tree
	clear(t.owners)
	defer t.forget()
	a.Files["conffiles"] = ControlFile{}
	a.Files["md5sums"] = ControlFile{}
	j := unpackJob{tree: t, rules: in.Rules}
	if _, err := j.run(ctx, a); err != nil {
		return err
	}
	return t.finish()
}

// wave is a run of packages between two runs of dpkg --configure.
type wave struct {
	archives []*Archive
	early    bool // preinst scripts come after unpacking

	needs     []string // packages that the next wave's scripts pre-depend on
	configure []string // packages to configure by name, those among them
	rest      bool     // configure everything else too
	triggers  bool     // and process triggers
}

// plan opens the group's archives and cuts it into waves such that what a
// package's preinst script pre-depends on is configured when it runs. The
// waves are to be closed even after an error.
func plan(g Group) ([]wave, error) {
	var waves []wave
	cur := wave{early: g.Bootstrap}
	here := map[string]string{} // packages in cur by their and provided names
	for _, name := range g.Archives {
		a, err := Open(name)
		if errors.Is(err, unix.EMFILE) {
			err = fmt.Errorf("%w: more packages than files may be open at the same time", ErrUnsuitable)
		}
		if err != nil {
			return append(waves, cur), err
		}
		_, script := a.Files["preinst"]
		needs := among(relations(a.Control.Get("Pre-Depends")), here)
		if !g.Bootstrap && script && len(needs) > 0 {
			cur.needs = needs
			waves = append(waves, cur)
			cur = wave{}
			clear(here)
		}
		cur.archives = append(cur.archives, a)
		for _, n := range append(relations(a.Control.Get("Provides")), a.Control.Get("Package")) {
			here[n] = a.fullName()
		}
	}
	if len(cur.archives) > 0 {
		cur.rest = true
		waves = append(waves, cur)
	}
	if !g.Bootstrap {
		// The minimal system has to be configured as a whole.
		assign(waves, g.Configure)
	}
	return waves, nil
}

// assign has each of the named packages configured by the first wave that
// ends with it unpacked and with those named before it configured.
func assign(waves []wave, names []string) {
	unpacked := map[string]int{} // by name, number of the wave
	for k, w := range waves {
		for _, a := range w.archives {
			unpacked[a.Control.Get("Package")] = k
		}
	}
	at := 0
	for _, n := range names {
		name, _, _ := strings.Cut(n, ":")
		k, ok := unpacked[name]
		if !ok {
			continue
		}
		at = max(at, k)
		waves[at].configure = append(waves[at].configure, n)
	}
	for k := range waves {
		w := &waves[k]
		for _, n := range w.needs {
			if !slices.Contains(w.configure, n) {
				w.configure = append(w.configure, n)
			}
		}
	}
}

func (w *wave) close() {
	for _, a := range w.archives {
		a.Close()
	}
}

// relations lists the package names in a relationship field, alternatives
// included.
func relations(field string) []string {
	var names []string
	for _, r := range strings.FieldsFunc(field, func(c rune) bool { return c == ',' || c == '|' }) {
		name, _, _ := strings.Cut(strings.TrimSpace(r), " ")
		name, _, _ = strings.Cut(name, "(")
		name, _, _ = strings.Cut(name, ":")
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// among returns what the names stand for, those that are known.
func among(names []string, known map[string]string) []string {
	var all []string
	for _, n := range names {
		if p, ok := known[n]; ok && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// wave unpacks the wave's packages and runs their preinst scripts.
func (in *Installer) wave(ctx context.Context, w wave) error {
	if !w.early {
		if err := in.preinst(ctx, w.archives); err != nil {
			return err
		}
	}
	packages, err := in.unpack(ctx, w)
	if err != nil {
		in.tree.undo()
		var c *conflictError
		if errors.As(err, &c) {
			return fmt.Errorf("%w: %w", ErrUnsuitable, err)
		}
		return err
	}
	if w.early {
		if err := in.preinst(ctx, w.archives); err != nil {
			return err
		}
		if err := in.divert(); err != nil {
			return err
		}
	}
	if err := in.db.add(packages); err != nil {
		return fmt.Errorf("writing dpkg's database: %w", err)
	}
	if in.started {
		if err := in.db.activate(packages); err != nil {
			return fmt.Errorf("writing dpkg's triggers: %w", err)
		}
	}
	in.started = true
	return nil
}

// divert moves files that have been unpacked to where diversions want them
// that preinst scripts made since.
func (in *Installer) divert() error {
	diversions, err := in.db.diversions()
	if err != nil {
		return err
	}
	for from, d := range diversions {
		dir, err := in.tree.dir(path.Dir(from[1:]))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		owner, ok := in.tree.owners[place{dir.dev, dir.ino, path.Base(from)}]
		if !ok || owner == d.pkg {
			continue
		}
		if err := in.root.Rename(from[1:], d.to[1:]); err != nil {
			return fmt.Errorf("diverting %s: %w", from, err)
		}
	}
	return nil
}

// unpack unpacks the wave's archives, several at a time, the biggest first.
func (in *Installer) unpack(ctx context.Context, w wave) ([]*unpacked, error) {
	if o, err := in.db.overrides(); err != nil || o {
		return nil, errors.Join(err, conflict("the image has dpkg-statoverride entries"))
	}
	diversions, err := in.db.diversions()
	if err != nil {
		return nil, err
	}
	if !in.started {
		if err := in.tree.adopt("."); err != nil {
			return nil, err
		}
	}
	order := make([]int, len(w.archives))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(w.archives[b].size() - w.archives[a].size()) })
	packages := make([]*unpacked, len(w.archives))
	g, ctx := errgroup.WithContext(ctx)
	workers := in.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	g.SetLimit(workers)
	for _, i := range order {
		g.Go(func() error {
			j := unpackJob{tree: in.tree, order: i, rules: in.Rules, diversions: diversions, early: w.early}
			p, err := j.run(ctx, w.archives[i])
			packages[i] = p
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return packages, in.tree.finish()
}

// fullName is the package's name with its architecture.
func (a *Archive) fullName() string {
	return a.Control.Get("Package") + ":" + a.Control.Get("Architecture")
}

// size is the archive's size in bytes, a measure of the work it makes.
func (a *Archive) size() int64 {
	st, err := a.file.Stat()
	if err != nil {
		return 0
	}
	return st.Size()
}

// preinst runs the packages' preinst scripts in order, all in one shell, each
// from the place and with the environment that dpkg gives it. Debconf looks
// for templates beside the script.
func (in *Installer) preinst(ctx context.Context, archives []*Archive) error {
	var script strings.Builder
	script.WriteString("set -e\ncd /" + adminDir + "\n")
	n := 0
	for _, a := range archives {
		if _, ok := a.Files["preinst"]; !ok {
			continue
		}
		n++
		name := a.Control.Get("Package")
		if err := in.controlDir(a); err != nil {
			return fmt.Errorf("preparing preinst script of %s: %w", name, err)
		}
		// Package names and architectures are of a few plain characters only,
		// see checkControl.
		fmt.Fprintf(&script, `mv tmp.ci.%[2]s tmp.ci
(cd / && DPKG_ADMINDIR=/%[1]s DPKG_ROOT= DPKG_RUNNING_VERSION=%[4]s DPKG_MAINTSCRIPT_PACKAGE=%[2]s DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 DPKG_MAINTSCRIPT_ARCH=%[3]s DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_DEBUG=0 exec /%[1]s/tmp.ci/preinst install) || { echo "preinst script of %[2]s failed with status $?" >&2; exit 1; }
rm -rf tmp.ci
`, adminDir, name, a.Control.Get("Architecture"), in.Version)
	}
	if n == 0 {
		return nil
	}
	if err := in.Shell(ctx, script.String()); err != nil {
		return fmt.Errorf("running preinst scripts: %w", err)
	}
	return nil
}

// controlDir writes the control files of a package to a directory of its own.
func (in *Installer) controlDir(a *Archive) error {
	dir := "tmp.ci." + a.Control.Get("Package")
	if err := in.root.MkdirAll(path.Join(adminDir, dir), 0o755); err != nil {
		return err
	}
	if err := in.db.write(dir+"/control", a.Control.AppendTo(nil), 0o644); err != nil {
		return err
	}
	for name, f := range a.Files {
		if err := in.db.write(dir+"/"+name, f.Data, f.Mode); err != nil {
			return err
		}
	}
	return nil
}
