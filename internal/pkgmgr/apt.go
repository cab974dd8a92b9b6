package pkgmgr

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/distro"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// Apt installs packages of Debian and its relatives with the host's apt and
// dpkg. Fill in the fields, then use one value for all operations of a build;
// it may be copied. Several processes may share the cache directories.
type Apt struct {
	// Etc is the sandbox's /etc: a directory of the workspace, with the
	// sandbox trees already in it. Prepare completes it. Required.
	Etc string
	// Distribution and Release choose the packages, Architecture is mkosi's
	// name ("x86-64"). Required.
	Distribution *distro.Distribution
	Release      string
	Architecture string
	// Sources are written to the sandbox's sources.list.d, unless the sandbox
	// trees bring a mkosi.sources.
	Sources []distro.Source

	// MetadataDir keeps the repositories' indexes below lib/apt/lists and
	// apt's own caches below cache/apt. Required; created when missing.
	MetadataDir string
	// PackageDir keeps downloaded packages below cache/apt/archives.
	// Required; created when missing. A lock on it serialises runs of apt.
	PackageDir string
	// RepositoryDir is the local repository that AddPackages fills; "" when
	// there are no local packages. It belongs to the build.
	RepositoryDir string
	// Offline keeps apt from the network: CacheOnly=always. What is neither in
	// the caches nor in a local repository is missing then.
	Offline bool

	Recommends bool // install recommended packages: WithRecommends=
	Docs       bool // keep documentation: WithDocs=
	// NoKeyCheck accepts repositories without a valid signature:
	// RepositoryKeyCheck=no. The zero value checks.
	NoKeyCheck bool
	// Proxy settings, "" for none: ProxyUrl=, ProxyPeerCertificate=,
	// ProxyClientCertificate=, ProxyClientKey= (paths on the host).
	// The URL may have a user and a password, which are kept out of command
	// lines, logs and errors.
	Proxy, ProxyCA, ProxyCertificate, ProxyKey string
	// ProxyExclude are hosts to reach without the proxy: ProxyExclude=.
	ProxyExclude []string

	// Env is added to the environment of apt, dpkg and maintainer scripts, as
	// NAME=value.
	Env []string
	// SourceDateEpoch, in seconds, is passed to maintainer scripts; nil when
	// not set.
	SourceDateEpoch *int64
	// IgnoreOwners gives all files to the caller, where owners cannot be set:
	// in a user namespace with a single user.
	IgnoreOwners bool
	// NoFastPath makes Bootstrap use apt and dpkg for everything.
	NoFastPath bool

	// Programs shows the programs apt and dpkg in the sandbox; nil means
	// sandbox.HostUsr().
	Programs []sandbox.Op
	// Run runs a command; nil means (*sandbox.Cmd).Run.
	Run func(ctx context.Context, c *sandbox.Cmd) error
	// Output receives what the tools print; nil drops it. Its last lines end
	// up in errors as well.
	Output io.Writer
	// Log receives a sentence for each step, in the manner of fmt.Printf; nil
	// drops it.
	Log func(format string, args ...any)
}

// noCache keeps apt-get update from building the cache that only a run which
// solves something needs.
var noCache = []string{"pkgCacheFile::Generate=false"}

// Sync brings the repositories' metadata up to date: apt-get update.
func (a *Apt) Sync(ctx context.Context) error {
	if a.Offline {
		return &Error{Msg: "the package metadata cannot be updated without the network", hint: offlineHint}
	}
	a.logf("updating package metadata of %s %s", a.Distribution.PrettyName, a.Release)
	return a.update(ctx)
}

// Synced tells whether MetadataDir holds metadata, of any age, of a
// repository that is not local. CacheOnly= decides whether Sync is wanted then.
func (a *Apt) Synced() bool {
	entries, err := os.ReadDir(a.listsDir())
	if err != nil {
		return false
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), "_Packages") && !strings.HasPrefix(e.Name(), localListPrefix) {
			return true
		}
	}
	return false
}

// Install installs packages into root, which has packages already.
func (a *Apt) Install(ctx context.Context, root string, packages []string) error {
	if len(packages) == 0 {
		return nil
	}
	return a.withPolicy(root, func() error {
		return a.aptGet(ctx, aptRun{
			args: append([]string{"install"}, packages...),
			root: root, scripts: true, network: true,
		})
	})
}

// Remove purges packages from root, and what nothing else needs then.
func (a *Apt) Remove(ctx context.Context, root string, packages []string) error {
	if len(packages) == 0 {
		return nil
	}
	if err := a.aptGet(ctx, aptRun{
		args: append([]string{"purge"}, packages...),
		root: root, scripts: true,
	}); err != nil {
		return err
	}
	return a.Settle(root)
}

// Clean removes the package manager's metadata from root:
// CleanPackageMetadata=. always removes it; otherwise what belongs to a
// program (apt, dpkg) that is installed in root stays. CleanPackageMetadata=no
// is not to call Clean.
func (a *Apt) Clean(root string, always bool) error {
	r, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("removing package metadata: %w", err)
	}
	defer r.Close()
	for _, data := range []struct{ dir, program string }{
		{"var/lib/apt", "apt"}, {"var/cache/apt", "apt"}, {"var/lib/dpkg", "dpkg"},
	} {
		if fi, err := r.Stat("usr/bin/" + data.program); err == nil && fi.Mode()&0o111 != 0 && !always {
			continue
		}
		if err := r.RemoveAll(data.dir); err != nil {
			return fmt.Errorf("removing package metadata: %w", err)
		}
	}
	return nil
}

// policyFile keeps services from being started in the image, the interface
// that invoke-rc.d(8) asks.
const (
	policyFile = "usr/sbin/policy-rc.d"
	policyText = "#!/bin/sh\nexit 101\n"
)

// withPolicy calls f, which installs packages, while services are not to be
// started in the image.
func (a *Apt) withPolicy(root string, f func() error) (err error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("opening the image's tree: %w", err)
	}
	defer r.Close()
	if _, err := r.Lstat(policyFile); err == nil {
		// The image has its own.
		if err := f(); err != nil {
			return err
		}
		return a.Settle(root)
	}
	if err := r.MkdirAll("usr/sbin", 0o755); err != nil {
		return fmt.Errorf("writing policy-rc.d: %w", err)
	}
	if err := r.WriteFile(policyFile, []byte(policyText), 0o755); err != nil {
		return fmt.Errorf("writing policy-rc.d: %w", err)
	}
	defer func() {
		if rerr := r.Remove(policyFile); rerr != nil && err == nil {
			err = fmt.Errorf("removing policy-rc.d: %w", rerr)
		}
	}()
	if err := f(); err != nil {
		return err
	}
	return a.Settle(root)
}

func (a *Apt) logf(format string, args ...any) {
	if a.Log != nil {
		a.Log(format, args...)
	}
}

func (a *Apt) listsDir() string    { return filepath.Join(a.MetadataDir, "lib/apt/lists") }
func (a *Apt) aptCacheDir() string { return filepath.Join(a.MetadataDir, "cache/apt") }
func (a *Apt) archivesDir() string { return filepath.Join(a.PackageDir, "cache/apt/archives") }

// Where the sandbox shows the directories above.
const (
	sandboxLists      = "/var/lib/apt/lists"
	sandboxCache      = "/var/cache/apt"
	sandboxArchives   = sandboxCache + "/archives"
	sandboxRepository = "/repository"
)

// hostPath translates the path of a package in the sandbox to the host's.
func (a *Apt) hostPath(p string) (string, error) {
	p = path.Clean(p)
	if name, ok := strings.CutPrefix(p, sandboxArchives+"/"); ok && !strings.Contains(name, "/") {
		return filepath.Join(a.archivesDir(), name), nil
	}
	if name, ok := strings.CutPrefix(p, sandboxRepository+"/"); ok && a.RepositoryDir != "" {
		return filepath.Join(a.RepositoryDir, name), nil
	}
	for _, dir := range a.mirrorDirs() {
		if strings.HasPrefix(p, dir+"/") {
			return p, nil
		}
	}
	return "", fmt.Errorf("apt wants a package from an unexpected place: %s", p)
}

// mirrorDirs lists the directories of this machine that are repositories, as
// Mirror=file:///srv/debian makes them.
func (a *Apt) mirrorDirs() []string {
	var dirs []string
	for _, s := range a.Sources {
		for _, uri := range s.URIs {
			if u, err := url.Parse(uri); err == nil && u.Scheme == "file" && path.IsAbs(u.Path) {
				dirs = append(dirs, path.Clean(u.Path))
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}
