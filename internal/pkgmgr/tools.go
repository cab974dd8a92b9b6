package pkgmgr

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// Tools are the package manager as scripts use it, with the image at BuildRoot.
type Tools struct {
	// Ops add what the commands want to a script's sandbox: the prepared /etc,
	// the caches and the local repository. They come before sandbox.HostUsr, and
	// for commands with the network sandbox.HostNetwork, which cover parts of
	// /etc. The files at ProxyCA, ProxyCertificate and ProxyKey are not among
	// them.
	Ops []sandbox.Op
	// Commands act on the image.
	Commands []Command
}

// Command is a command of a package manager that acts on the image.
type Command struct {
	Name string   // what scripts call it
	Args []string // the program and its first arguments; those of the caller follow
	Env  []string // on top of the caller's environment, as NAME=value
	// Image tells that programs of the image are run, and so [CommandOps] wanted.
	Image bool
	// Lists tells that apt's lists are used.
	Lists bool
	// Network tells that the command may use the network.
	Network bool
	// Lock is a file in the sandbox to lock by flock(2) while the command runs; ""
	// for none. Other builds that use the same caches do so as well.
	Lock string
}

// toolsLock is where scripts find the lock of the caches.
const toolsLock = "/var/lib/apt/mkosi.lock"

// aptCommands are the programs of apt that take options of apt.conf(5) and so
// can be made to act on the image.
var aptCommands = []string{
	"apt", "apt-cache", "apt-cdrom", "apt-config", "apt-extracttemplates", "apt-get", "apt-mark", "apt-sortpkgs",
}

// mkosiCommands are mkosi's own names for what every package manager does.
var mkosiCommands = []struct {
	name string
	args []string // of apt-get
}{
	{"mkosi-install", []string{"install"}},
	{"mkosi-reinstall", []string{"install", "--reinstall"}},
	{"mkosi-remove", []string{"purge"}},
	{"mkosi-upgrade", []string{"upgrade"}},
}

// Tools returns the package manager for scripts, with or without the network.
// Prepare has to have been called, and the directories of a are used until the
// last script has ended.
func (a *Apt) Tools(network bool) (*Tools, error) {
	if err := a.makeCaches(); err != nil {
		return nil, err
	}
	if err := touch(a.lockFile()); err != nil {
		return nil, fmt.Errorf("creating the lock of the package cache: %w", err)
	}
	options, err := a.options()
	if err != nil {
		return nil, err
	}
	caches, err := a.privateCacheOps()
	if err != nil {
		return nil, fmt.Errorf("making a directory for the packages of scripts: %w", err)
	}
	t := &Tools{Ops: append(a.stateOps(caches...), sandbox.BindReadOnly(a.lockFile(), toolsLock))}
	var aptOptions []string
	network = network && !a.Offline
	if network {
		text, err := a.proxyConfig()
		if err != nil {
			return nil, err
		}
		t.Ops = append(t.Ops, sandbox.WriteFile(proxyFile, text, 0o600))
		aptOptions = []string{"-c", proxyFile}
	}
	for _, o := range options {
		aptOptions = append(aptOptions, "-o", o)
	}
	t.Commands = a.commands(aptOptions, network)
	return t, nil
}

// commands lists the commands; options are what every program of apt is to be
// told, and network whether these have the network.
func (a *Apt) commands(options []string, network bool) []Command {
	env := a.toolEnvironment()
	var list []Command
	add := func(name, program string, args ...string) {
		list = append(list, Command{
			Name: name, Args: slices.Concat([]string{program}, options, args), Env: env,
			Image: true, Lists: true, Network: network, Lock: toolsLock,
		})
	}
	for _, name := range aptCommands {
		add(name, name)
	}
	for _, c := range mkosiCommands {
		add(c.name, "apt-get", c.args...)
	}
	dpkg := append([]string{"dpkg", "--root=" + BuildRoot, "--force-unsafe-io"}, a.pathOptions()...)
	return append(list,
		// As for apt, no lock file is to be left in the tree.
		Command{Name: "dpkg", Args: dpkg, Env: append(env, "DPKG_FRONTEND_LOCKED=true"), Image: true},
		Command{Name: "dpkg-query", Args: []string{"dpkg-query", "--admindir=" + BuildRoot + "/var/lib/dpkg"}, Env: env},
	)
}

// CommandOps are what a [Command] with Image wants on top of the sandbox of a
// script, which has Tools.Ops: programs of the image can run, and services are
// not started. lists is the command's Lists, for which its Lock is to be held,
// and args are the caller's arguments.
func CommandOps(lists bool, args []string) []sandbox.Op {
	ops := imageOps()
	policy := filepath.Join(BuildRoot, policyFile)
	if _, err := os.Lstat(policy); os.IsNotExist(err) && isDir(filepath.Dir(policy)) {
		ops = append(ops, sandbox.WriteFile(policy, []byte(policyText), 0o755))
	}
	// Without a local repository there is no index.
	if _, err := os.Stat(filepath.Join(sandboxRepository, indexFile)); err == nil && lists {
		ops = append(ops, repositoryOps(sandboxRepository, slices.Contains(args, "update"))...)
	}
	return ops
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// touch creates a file unless there is one.
func touch(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

func (a *Apt) lockFile() string { return filepath.Join(a.PackageDir, ".lock") }

// privateCacheOps show the caches to scripts, whose changes the caches never get: other projects install from them, and apt
// checks no signature of an index a second time, and nothing but the size of a package that it has already.
func (a *Apt) privateCacheOps() ([]sandbox.Op, error) {
	// Packages may be too large for the memory. This is in the workspace, and goes with it.
	dir, err := os.MkdirTemp(filepath.Dir(a.Etc), "script-packages-")
	if err != nil {
		return nil, err
	}
	archives := sandbox.OverlayLayers{Lower: []string{a.archivesDir()}, Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work")}
	for _, d := range []string{archives.Upper, archives.Work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, err
		}
	}
	inMemory := func(dir string) sandbox.OverlayLayers {
		return sandbox.OverlayLayers{Lower: []string{dir}, Ephemeral: true}
	}
	return []sandbox.Op{
		sandbox.Overlay(inMemory(a.listsDir()), sandboxLists),
		sandbox.Overlay(inMemory(a.aptCacheDir()), sandboxCache),
		sandbox.Overlay(archives, sandboxArchives),
	}, nil
}
