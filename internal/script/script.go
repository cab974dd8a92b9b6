// Package script runs the life-cycle scripts of a user's configuration: it knows for each kind of script what the
// environment is, what is mounted where, whether there is a network, and which commands act on the image.
//
// The layout inside is mkosi's: the sources at /work/src, which is the working directory, the other directories of a
// build below /work as well, the image at /buildroot, and in front of PATH, in /scripts, commands such as mkosi-chroot.
// These commands are this very program again: every main function that leads here has to ask [Invoked] at its start.
package script

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/pkgmgr"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// Kind is a kind of scripts, by the name of their file behind "mkosi.".
type Kind string

// The kinds of scripts, in the order in which a build runs them.
const (
	Configure        Kind = "configure"
	Clean            Kind = "clean"
	Sync             Kind = "sync"
	Prepare          Kind = "prepare"
	Build            Kind = "build"
	PostInstallation Kind = "postinst"
	Finalize         Kind = "finalize"
	PostOutput       Kind = "postoutput"
)

// Where scripts find things.
const (
	workDir     = "/work"
	SourceDir   = workDir + "/src"   // the sources of the user, the working directory
	BuildDir    = workDir + "/build" // what build scripts keep for the next build
	destDir     = workDir + "/dest"
	outputDir   = workDir + "/out"
	artifactDir = workDir + "/artifacts"
	packageDir  = workDir + "/packages"
	configFile  = workDir + "/config.json"
	buildRoot   = pkgmgr.BuildRoot
	// CommandDir has the commands that act on the image.
	CommandDir = "/scripts"
)

// View is what the scripts of one image see. Paths are the builder's; a directory that is "" does not exist for the
// scripts, and neither do directories that are not for scripts of the kind.
type View struct {
	Image   *config.Image
	Config  []byte            // the image's configuration, the file that $MKOSI_CONFIG names
	UID     int               // the user who runs mkosi, and its group
	GID     int               //
	Debug   bool              // the user wants to see what is done
	HostEnv map[string]string // the user's environment: sync scripts reach the user's SSH agent by it
	Cached  bool              // $CACHED: the image is made from a cached one

	Root        string // the tree of the image
	ArtifactDir string
	PackageDir  string
	OutputDir   string
	BuildDir    string
	DestDir     string
	Sources     []sandbox.Op // mounts of the sources at and below SourceDir

	Tools *pkgmgr.Tools // the package manager for scripts that see the image; nil for none
}

// traits are what tells one kind of scripts from another, but for their environment.
type traits struct {
	file    string // what the script is called in /work
	image   bool   // it works on the tree of the image, with the commands for that
	network func(*config.Image) bool
}

var kinds = map[Kind]traits{
	Configure:        {file: "configure", network: never},
	Clean:            {file: "clean", network: never},
	Sync:             {file: "sync", network: always},
	Prepare:          {file: "prepare", image: true, network: always},
	Build:            {file: "build-script", image: true, network: ifAsked},
	PostInstallation: {file: "postinst", image: true, network: ifAsked},
	Finalize:         {file: "finalize", image: true, network: ifAsked},
	PostOutput:       {file: "postoutput", network: never},
}

func always(*config.Image) bool      { return true }
func never(*config.Image) bool       { return false }
func ifAsked(img *config.Image) bool { return img.WithNetwork }

// Network reports whether scripts of this kind have the network.
func (k Kind) Network(img *config.Image) bool {
	t, ok := kinds[k]
	return ok && t.network(img)
}

// SeesImage reports whether scripts of this kind work on the tree of the image, and so want Root and Tools.
func (k Kind) SeesImage() bool { return kinds[k].image }

// Command returns the command that runs the script at path with these arguments, complete but for its standard streams.
// If it works on an image and its name ends in .chroot, it runs with the image as its root directory. One that is not
// executable is made so with MakeScriptsExecutable=, and otherwise gives a *[NotExecutableError].
func (v *View) Command(kind Kind, script string, args ...string) (*sandbox.Cmd, error) {
	t, ok := kinds[kind]
	if !ok {
		return nil, fmt.Errorf("running the script %s: there is no kind of scripts %q", script, kind)
	}
	if t.image && v.Root == "" {
		return nil, fmt.Errorf("running the %s script %s: it works on an image and there is none", kind, script)
	}
	if err := makeExecutable(script, v.Image.MakeScriptsExecutable); err != nil {
		return nil, err
	}
	env, err := v.environment(kind)
	if err != nil {
		return nil, err
	}
	name := path.Join(workDir, t.file)
	ops := slices.Concat(v.systemOps(kind), v.workOps(kind), []sandbox.Op{sandbox.BindReadOnly(script, name)})
	argv := append([]string{name}, args...)
	if t.image {
		commands, err := v.commandOps(kind)
		if err != nil {
			return nil, err
		}
		ops = append(ops, commands...)
	}
	if t.image && strings.HasSuffix(filepath.Base(script), ".chroot") {
		argv = append([]string{path.Join(CommandDir, chrootCommand)}, argv...)
	}
	return &sandbox.Cmd{Args: argv, Env: env, Dir: SourceDir, Ops: ops, Network: t.network(v.Image), Confine: true}, nil
}
