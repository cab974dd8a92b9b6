package pkgmgr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// aptRun is one run of apt-get.
type aptRun struct {
	args    []string // after the options that every run has
	options []string // more options, as Name=value
	root    string   // the image's tree; "" for an empty one
	scripts bool     // maintainer scripts will run
	network bool
	update  bool      // the lists are written, all but that of the local repository
	stdout  io.Writer // in addition to Output
	stderr  io.Writer // likewise
	ops     []sandbox.Op
}

// aptGet runs apt-get under the lock of the caches.
func (a *Apt) aptGet(ctx context.Context, r aptRun) error {
	unlock, err := a.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if r.root == "" {
		// apt insists on a status file.
		r.options = append(r.options, "Dir::State::Status=/dev/null", "Dir::State=/var/lib/apt")
	}
	options, err := a.options()
	if err != nil {
		return err
	}
	args := []string{"apt-get"}
	r.network = r.network && !a.Offline
	if a.RepositoryDir != "" {
		r.ops = append(r.ops, repositoryOps(a.RepositoryDir, r.update)...)
	}
	if r.network {
		proxy, err := a.proxyOps()
		if err != nil {
			return err
		}
		args = append(args, "-c", proxyFile)
		r.ops = append(proxy, r.ops...)
	}
	for _, o := range append(options, r.options...) {
		args = append(args, "-o", o)
	}
	t := &transcript{output: a.Output}
	stdout, stderr := t.writers(r.stdout, r.stderr)
	cmd := &sandbox.Cmd{
		Args:    append(args, r.args...),
		Ops:     append(a.ops(r.root, r.scripts), r.ops...),
		Network: r.network,
		Stdout:  stdout,
		Stderr:  stderr,
	}
	return a.explain(t, a.run(ctx, cmd))
}

// run runs a command with what all commands have in common.
func (a *Apt) run(ctx context.Context, cmd *sandbox.Cmd) error {
	cmd.Env = append(a.environment(), cmd.Env...)
	cmd.SuppressSync = true
	cmd.SuppressChown = a.IgnoreOwners
	cmd.DropCapabilities = sandbox.HostCapabilities()
	if a.Run != nil {
		return a.Run(ctx, cmd)
	}
	return cmd.Run(ctx)
}

// makeCaches creates the directories of the caches.
func (a *Apt) makeCaches() error {
	for _, dir := range []string{
		filepath.Join(a.listsDir(), "partial"),
		filepath.Join(a.aptCacheDir(), "archives"), // a mount point
		filepath.Join(a.archivesDir(), "partial"),
	} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("creating package cache: %w", err)
		}
	}
	return nil
}

// lock creates the caches and waits for other users of them to finish.
func (a *Apt) lock(ctx context.Context) (unlock func(), err error) {
	if err := a.makeCaches(); err != nil {
		return nil, err
	}
	l := flock.New(a.lockFile())
	ok, err := l.TryLock()
	if err == nil && !ok {
		a.logf("waiting for another build to finish with %s", a.PackageDir)
		ok, err = l.TryLockContext(ctx, 50*time.Millisecond)
	}
	if err != nil {
		return nil, fmt.Errorf("locking package cache %s: %w", a.PackageDir, err)
	}
	if !ok {
		return nil, fmt.Errorf("locking package cache %s: %w", a.PackageDir, context.Cause(ctx))
	}
	a.removeStale()
	return func() { _ = l.Unlock() }, nil
}

// removeStale removes what an apt that was killed left beside its binary caches: it writes these under a name with six
// random characters at the end before it renames them. The caller has the lock, so no living one is writing them. A file
// that cannot be removed does no harm.
func (a *Apt) removeStale() {
	entries, err := os.ReadDir(a.aptCacheDir())
	if err != nil {
		return
	}
	for _, e := range entries {
		if stale, _ := filepath.Match("*pkgcache.bin.??????", e.Name()); stale {
			_ = os.Remove(filepath.Join(a.aptCacheDir(), e.Name()))
		}
	}
}

// options are apt's options that every run has. The names are those of
// apt.conf(5).
func (a *Apt) options() ([]string, error) {
	arch, err := a.Distribution.Architecture(a.Architecture)
	if err != nil {
		return nil, err
	}
	o := []string{
		"APT::Architecture=" + arch,
		"APT::Architectures=" + arch,
		"APT::Install-Recommends=" + strconv.FormatBool(a.Recommends),
		"APT::Immediate-Configure=off",
		"APT::Get::Assume-Yes=true",
		"APT::Get::AutomaticRemove=true",
		"APT::Get::Allow-Change-Held-Packages=true",
		"APT::Get::Allow-Remove-Essential=true",
		"APT::Sandbox::User=root",
		// An update that fetched only a part of what it should is a failure.
		"APT::Update::Error-Mode=any",
		"Dir::Cache=" + sandboxCache,
		"Dir::State=" + BuildRoot + "/var/lib/apt",
		"Dir::State::lists=" + sandboxLists + "/",
		"Dir::Log=/var/log/apt",
		"Dir::State::Status=" + BuildRoot + "/var/lib/dpkg/status",
		"Dir::Bin::DPkg=/usr/bin/dpkg",
		"Debug::NoLocking=true",
		"DPkg::Use-Pty=false",
		"DPkg::Install::Recursive::Minimum=1000",
		// Which packages are essential is the archive's business, not apt's.
		"pkgCacheGen::ForceEssential=,",
	}
	if a.NoKeyCheck {
		o = append(o, "APT::Get::AllowUnauthenticated=true")
	}
	for _, opt := range a.dpkgOptions() {
		o = append(o, "DPkg::Options::="+opt)
	}
	return append(o, a.acquireOptions()...), nil
}

// acquireOptions are the options for downloads.
func (a *Apt) acquireOptions() []string {
	o := []string{
		"Acquire::AllowReleaseInfoChange=true",
		"Acquire::Check-Valid-Until=false",
		// Translated descriptions are never read here.
		"Acquire::Languages=none",
		"Acquire::Retries=1",
		// Seconds of silence. apt asks twice before it counts a failure.
		"Acquire::http::Timeout=20",
		"Acquire::https::Timeout=20",
	}
	if a.NoKeyCheck {
		o = append(o,
			"Acquire::AllowInsecureRepositories=true",
			"Acquire::AllowDowngradeToInsecureRepositories=true",
		)
	}
	return o
}

// dpkgOptions are the options of every run of dpkg.
func (a *Apt) dpkgOptions() []string {
	o := []string{
		"--root=" + BuildRoot,
		"--force-unsafe-io",
		"--force-architecture",
		"--force-depends",
		"--no-debsig",
	}
	return append(o, a.pathOptions()...)
}

// pathOptions tell dpkg what to leave out of packages.
func (a *Apt) pathOptions() []string {
	var o []string
	for _, r := range a.rules() {
		if r.Include {
			o = append(o, "--path-include="+r.Pattern)
		} else {
			o = append(o, "--path-exclude="+r.Pattern)
		}
	}
	return o
}

// environment is the environment of every tool. A user's PATH is for programs
// of the user.
func (a *Apt) environment() []string {
	env := a.toolEnvironment()
	for _, e := range a.Env {
		if !strings.HasPrefix(e, "PATH=") {
			env = append(env, e)
		}
	}
	return env
}

// toolEnvironment is the environment that apt, dpkg and maintainer scripts
// want, whatever the user's is.
func (a *Apt) toolEnvironment() []string {
	env := []string{
		"APT_CONFIG=/etc/apt.conf",
		"DEBCONF_INTERACTIVE_SEEN=true",
		"DEBCONF_NONINTERACTIVE_SEEN=true",
		"DEBIAN_FRONTEND=noninteractive",
		"HOME=/",
		"INITRD=No",
		"KERNEL_INSTALL_BYPASS=1",
		"LANG=C.UTF-8",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"SYSTEMD_HWDB_UPDATE_BYPASS=1",
		"SYSTEMD_IN_CHROOT=1",
		"SYSTEMD_OFFLINE=1",
		"SYSTEMD_TMPFILES_FORCE_SUBVOL=0",
		"TERM=dumb",
	}
	if a.SourceDateEpoch != nil {
		env = append(env, "SOURCE_DATE_EPOCH="+strconv.FormatInt(*a.SourceDateEpoch, 10))
	}
	return env
}

// ops assemble the sandbox: the tools, the prepared /etc, the caches and the
// tree.
func (a *Apt) ops(root string, scripts bool) []sandbox.Op {
	ops := a.stateOps(a.cacheOps()...)
	if a.Programs != nil {
		ops = append(ops, a.Programs...)
	} else {
		ops = append(ops, sandbox.HostUsr()...)
	}
	ops = append(ops, sandbox.HostNetwork()...)
	if root == "" {
		return ops
	}
	ops = append(ops, sandbox.Bind(root, BuildRoot))
	if scripts {
		ops = append(ops, imageOps()...)
	}
	return ops
}

// stateOps show the prepared /etc and what apt keeps outside of trees.
func (a *Apt) stateOps(caches ...sandbox.Op) []sandbox.Op {
	ops := append([]sandbox.Op{
		sandbox.BindReadOnly(a.Etc, "/etc"),
		sandbox.Dir("/var/lib/apt", 0o755),
		sandbox.Dir("/var/log/apt", 0o755),
	}, caches...)
	if a.RepositoryDir != "" {
		ops = append(ops, sandbox.BindReadOnly(a.RepositoryDir, sandboxRepository))
	}
	for _, dir := range a.mirrorDirs() {
		ops = append(ops, sandbox.BindReadOnly(dir, dir))
	}
	return ops
}

// cacheOps show the caches.
func (a *Apt) cacheOps() []sandbox.Op {
	return []sandbox.Op{
		sandbox.Bind(a.listsDir(), sandboxLists),
		sandbox.Bind(a.aptCacheDir(), sandboxCache),
		sandbox.Bind(a.archivesDir(), sandboxArchives),
	}
}

// imageOps let the image's programs run below BuildRoot, and tools outside
// see the image's users.
func imageOps() []sandbox.Op {
	ops := []sandbox.Op{
		sandbox.Dev(BuildRoot + "/dev"),
		sandbox.Proc(BuildRoot + "/proc"),
		sandbox.Tmpfs(BuildRoot + "/run"),
		sandbox.WriteFile(BuildRoot+"/run/host/container-manager", []byte("mkosi"), 0o644),
		sandbox.Dir(BuildRoot+"/run/user/0", 0o755),
		sandbox.Tmpfs(BuildRoot + "/tmp"),
		// The tree's own, whatever it is: a link is not to show a file of the host.
		sandbox.BindReadOnly(BuildRoot+"/"+machineID, BuildRoot+"/"+machineID).Inside().NoFollow().Try(),
	}
	for _, f := range userFiles {
		ops = append(ops, sandbox.Symlink(BuildRoot+"/etc/"+f, "/etc/"+f))
	}
	return ops
}

// userFiles are the user and group databases.
var userFiles = []string{"passwd", "group", "shadow", "gshadow"}

// exitError returns the failure of a command that ran, or nil.
func exitError(err error) *sandbox.ExitError {
	var e *sandbox.ExitError
	if errors.As(err, &e) {
		return e
	}
	return nil
}
