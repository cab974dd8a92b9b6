package pkgmgr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/mkosi-go/mkosi/internal/pkgmgr/deb"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// Bootstrap installs the essential packages and then the given ones into
// root, a tree without packages. A tree without any file takes the fast path,
// package deb.
func (a *Apt) Bootstrap(ctx context.Context, root string, packages []string) error {
	pristine, err := empty(root)
	if err != nil {
		return fmt.Errorf("looking for files in the image's tree: %w", err)
	}
	if err := a.prepareRoot(root); err != nil {
		return err
	}
	arch, err := a.Distribution.Architecture(a.Architecture)
	if err != nil {
		return err
	}
	// The same two requests as the reference makes: what is chosen for the
	// second depends on what the first has installed.
	essential := []string{"?essential ?architecture(" + arch + ")", "base-files"}
	s, err := a.solveCached(ctx, "", essential)
	if err != nil {
		return err
	}
	if len(s.Packages) == 0 && a.Offline && !a.Synced() {
		return &Error{Msg: "the package metadata is not in the cache", hint: offlineHint}
	}
	if len(s.Packages) == 0 {
		return fmt.Errorf("no package of %s %s is essential; check the repositories", a.Distribution.PrettyName, a.Release)
	}
	return a.withPolicy(root, func() error {
		if pristine && s.Plain && !a.NoFastPath {
			done, err := a.fast(ctx, root, essential, s, packages)
			if done || err != nil {
				return err
			}
		}
		return a.slow(ctx, root, s, packages)
	})
}

// solveCached solves requests, each after the packages of the ones before
// have been installed into root, or remembers the solution of the last.
func (a *Apt) solveCached(ctx context.Context, root string, requests ...[]string) (*solution, error) {
	key := a.solutionKey(requests...)
	if s := a.remembered(ctx, key); s != nil {
		return s, nil
	}
	s, err := a.solve(ctx, root, requests[len(requests)-1])
	if err != nil {
		return nil, err
	}
	a.remember(ctx, key, s, requests...)
	return s, nil
}

// fast installs the solution of the essential packages and then the packages
// by package deb. done is false when nothing but a part of the packages could
// be installed, and the slow path has to do the rest.
func (a *Apt) fast(ctx context.Context, root string, essential []string, s *solution, packages []string) (done bool, err error) {
	arch, err := a.Distribution.Architecture(a.Architecture)
	if err != nil {
		return false, err
	}
	in, err := a.installer(ctx, root)
	if err != nil {
		return false, err
	}
	defer in.Close()
	var next *solution
	if len(packages) > 0 {
		// Known already when nothing has changed since an earlier build.
		next = a.remembered(ctx, a.solutionKey(essential, packages))
	}
	groups, err := a.groups(s, next)
	if err != nil {
		return false, err
	}
	a.logf("installing %d essential packages", len(s.Packages))
	if next != nil && next.Plain {
		a.logf("and then %d more", len(next.Packages))
	}
	if err := in.Install(ctx, groups...); err != nil {
		return a.unsuitable(err)
	}
	switch {
	case len(packages) == 0:
		return true, writeAuto(root, nil, arch)
	case next == nil:
		if next, err = a.solveCached(ctx, root, essential, packages); err != nil {
			return false, err
		}
		if groups, err = a.groups(nil, next); err != nil {
			return false, err
		}
		if !next.Plain {
			break
		}
		a.logf("installing %d packages", len(next.Packages))
		if err := in.Install(ctx, groups...); err != nil {
			return a.unsuitable(err)
		}
	}
	if !next.Plain {
		a.logf("installing the packages with apt, because some replace others")
		return false, nil
	}
	return true, writeAuto(root, next, arch)
}

// installer opens root for package deb. The caller closes it.
func (a *Apt) installer(ctx context.Context, root string) (*deb.Installer, error) {
	version, err := a.dpkgVersion(ctx)
	if err != nil {
		return nil, err
	}
	return deb.NewInstaller(deb.Options{
		Root:         root,
		Rules:        a.rules(),
		IgnoreOwners: a.IgnoreOwners,
		Version:      version,
		Shell:        func(ctx context.Context, script string) error { return a.shell(ctx, root, script) },
		Configure: func(ctx context.Context, names []string, triggers bool) error {
			return a.configure(ctx, root, names, triggers)
		},
	})
}

// groups turns solutions into groups of archives; the one after a solution
// may be unknown yet. Only plain ones are taken.
func (a *Apt) groups(s, next *solution) ([]deb.Group, error) {
	var groups []deb.Group
	for i, x := range []*solution{s, next} {
		if x == nil || !x.Plain {
			continue
		}
		g := deb.Group{Bootstrap: i == 0, Configure: x.Configure}
		for _, p := range x.Packages {
			file, err := a.hostPath(p.File)
			if err != nil {
				return nil, err
			}
			g.Archives = append(g.Archives, file)
		}
		groups = append(groups, g)
	}
	if len(groups) > 0 {
		groups[len(groups)-1].Last = true
	}
	return groups, nil
}

// unsuitable sorts out errors that only mean that apt has to go on.
func (a *Apt) unsuitable(err error) (done bool, _ error) {
	if errors.Is(err, deb.ErrUnsuitable) {
		a.logf("installing packages with apt: %v", err)
		return false, nil
	}
	return false, err
}

// slow installs the solution of the essential packages, and then the others,
// with apt and dpkg. The essential packages' files are unpacked beforehand,
// because their maintainer scripts need each other.
func (a *Apt) slow(ctx context.Context, root string, s *solution, packages []string) error {
	x, err := deb.NewInstaller(deb.Options{Root: root, Rules: a.rules(), IgnoreOwners: a.IgnoreOwners})
	if err != nil {
		return err
	}
	defer x.Close()
	var names []string
	begun, err := hasPackages(root)
	if err != nil {
		return fmt.Errorf("reading dpkg's database: %w", err)
	}
	for _, p := range s.Packages {
		names = append(names, p.Name)
		if begun {
			continue // the fast path came that far
		}
		file, err := a.hostPath(p.File)
		if err != nil {
			return err
		}
		if err := x.Extract(ctx, file); err != nil {
			return err
		}
	}
	for _, request := range [][]string{names, packages} {
		if len(request) == 0 {
			continue
		}
		if err := a.aptGet(ctx, aptRun{
			args: append([]string{"install"}, request...),
			root: root, scripts: true, network: true,
		}); err != nil {
			return err
		}
	}
	return nil
}

// hasPackages reports whether dpkg's database in the tree has any package.
func hasPackages(root string) (bool, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return false, err
	}
	defer r.Close()
	f, err := deb.OpenRegular(r, statusFile, os.O_RDONLY, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	st, err := f.Stat()
	return err == nil && st.Size() > 0, err
}

// shell runs a script with the image's shell.
func (a *Apt) shell(ctx context.Context, root, script string) error {
	return a.inImage(ctx, root, strings.NewReader(script), "chroot", BuildRoot, "/bin/sh")
}

// configure lets dpkg configure the named packages, or all that are unpacked.
func (a *Apt) configure(ctx context.Context, root string, names []string, triggers bool) error {
	args := append([]string{"dpkg"}, a.dpkgOptions()...)
	if !triggers {
		args = append(args, "--no-triggers")
	}
	args = append(args, "--configure")
	if len(names) == 0 {
		names = []string{"--pending"}
	}
	args = append(args, names...)
	return a.inImage(ctx, root, nil, args...)
}

// inImage runs a tool that runs programs of the image.
func (a *Apt) inImage(ctx context.Context, root string, stdin io.Reader, args ...string) error {
	t := &transcript{output: a.Output}
	stdout, stderr := t.writers(nil, nil)
	return a.explain(t, a.run(ctx, &sandbox.Cmd{
		Args: args,
		// Nobody else uses the tree, so that no lock file is to be left in it.
		Env:    []string{"DPKG_FRONTEND_LOCKED=true"},
		Ops:    a.ops(root, true),
		Stdin:  stdin,
		Stdout: stdout,
		Stderr: stderr,
	}))
}

// dpkgVersion asks dpkg for its version, which it tells maintainer scripts.
func (a *Apt) dpkgVersion(ctx context.Context) (string, error) {
	var out bytes.Buffer
	err := a.run(ctx, &sandbox.Cmd{
		Args:   []string{"dpkg", "--version"},
		Ops:    a.ops("", false),
		Stdout: &out,
	})
	if err != nil {
		return "", fmt.Errorf("asking dpkg for its version: %w", err)
	}
	for _, w := range strings.Fields(out.String()) {
		if w[0] >= '0' && w[0] <= '9' && strings.Trim(w, "0123456789.") == "" {
			return w, nil
		}
	}
	return "", errors.New("dpkg does not tell its version")
}

// mergedUsr lists, by dpkg's architecture name, the top-level directories
// beside bin, sbin and lib that are links into /usr.
var mergedUsr = map[string][]string{
	"amd64":    {"lib32", "lib64", "libx32"},
	"i386":     {"lib64", "libx32"},
	"loong64":  {"lib32", "lib64"},
	"mips64el": {"lib32", "lib64", "libo32"},
	"mipsel":   {"lib32", "lib64"},
	"ppc64":    {"lib32", "lib64"},
	"ppc64el":  {"lib64"},
	"s390x":    {"lib32"},
}

// prepareRoot makes the directories and files that a tree needs before its
// first package: merged /usr, and an empty dpkg database.
func (a *Apt) prepareRoot(root string) error {
	arch, err := a.Distribution.Architecture(a.Architecture)
	if err != nil {
		return err
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("opening the image's tree: %w", err)
	}
	defer r.Close()
	for _, dir := range append([]string{"bin", "sbin", "lib"}, mergedUsr[arch]...) {
		if err := r.MkdirAll("usr/"+dir, 0o755); err != nil {
			return fmt.Errorf("preparing the image's tree: %w", err)
		}
		if err := r.Symlink("usr/"+dir, dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("preparing the image's tree: %w", err)
		}
	}
	if err := r.MkdirAll("var/lib/dpkg", 0o755); err != nil {
		return fmt.Errorf("preparing dpkg's database: %w", err)
	}
	for _, name := range []string{statusFile, "var/lib/dpkg/available"} {
		f, err := deb.OpenRegular(r, name, os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return fmt.Errorf("preparing dpkg's database: %w", err)
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("preparing dpkg's database: %w", err)
		}
	}
	// Keeps systemd's postinst script from making up an identity.
	if err := r.MkdirAll("etc", 0o755); err != nil {
		return fmt.Errorf("preparing the image's tree: %w", err)
	}
	f, err := r.OpenFile(machineID, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("preparing the image's tree: %w", err)
	}
	_, err = f.WriteString("uninitialized\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("preparing the image's tree: %w", err)
	}
	return nil
}

// statusFile is dpkg's list of the packages in a tree.
const statusFile = "var/lib/dpkg/status"

// machineID is what marks an image that has not been booted, machine-id(5).
const machineID = "etc/machine-id"

// empty reports whether the tree has nothing but directories, machine-id
// aside.
func empty(root string) (bool, error) {
	found := errors.New("found")
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && p != filepath.Join(root, machineID) {
			return found
		}
		return err
	})
	if errors.Is(err, found) {
		return false, nil
	}
	return err == nil, err
}

// autoFile is where apt remembers which packages only came along.
const autoFile = "var/lib/apt/extended_states"

// writeAuto marks the packages of a solution the way apt does when it has
// installed them. Packages that were asked for by name have no mark.
func writeAuto(root string, s *solution, arch string) error {
	var text []byte
	if s != nil {
		for _, p := range s.Packages {
			if p.Architecture == "all" {
				p.Architecture = arch // as apt sees it
			}
			if p.Auto {
				text = fmt.Appendf(text, "Package: %s\nArchitecture: %s\nAuto-Installed: 1\n\n", p.Name, p.Architecture)
			}
		}
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("opening the image's tree: %w", err)
	}
	defer r.Close()
	if err := r.MkdirAll(path.Dir(autoFile), 0o755); err != nil {
		return fmt.Errorf("marking packages as automatically installed: %w", err)
	}
	if err := deb.WriteRegular(r, autoFile, text, 0o644); err != nil {
		return fmt.Errorf("marking packages as automatically installed: %w", err)
	}
	return nil
}
