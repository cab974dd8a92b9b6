package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/distro"
	"github.com/mkosi-go/mkosi/internal/pkgmgr"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// sourceSets are the package sources of a build. Images that install from the same sources share one set, and so its
// metadata is brought up to date once.
type sourceSets struct {
	mu   sync.Mutex
	sets map[string]*sourceSet
}

// sourceSet is a package manager made ready for one set of sources. Both functions do their work once.
type sourceSet struct {
	prepare func() (pkgmgr.Apt, error)
	sync    func() error
}

// packageManager returns the package manager for an image, ready to install: its metadata is as fresh as CacheOnly=
// wants it.
func (m *image) packageManager(ctx context.Context) (*pkgmgr.Apt, error) {
	set := m.sourceSet(ctx)
	if err := set.sync(); err != nil {
		return nil, err
	}
	return m.adapt(ctx, set)
}

// preparedPackageManager is packageManager with whatever metadata there is.
func (m *image) preparedPackageManager(ctx context.Context) (*pkgmgr.Apt, error) {
	return m.adapt(ctx, m.sourceSet(ctx))
}

// sourceSet returns the image's set, which is made when it is used first.
func (m *image) sourceSet(ctx context.Context) *sourceSet {
	key := sourceKey(m.Image)
	s := &m.b.sources
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sets == nil {
		s.sets = map[string]*sourceSet{}
	}
	if set, ok := s.sets[key]; ok {
		return set
	}
	dir := m.b.work.Path(fmt.Sprintf(".sources%d", len(s.sets)))
	set := &sourceSet{prepare: sync.OnceValues(func() (pkgmgr.Apt, error) { return m.prepareSources(ctx, dir) })}
	set.sync = sync.OnceValue(func() error {
		apt, err := set.prepare()
		if err != nil {
			return err
		}
		return m.syncSources(ctx, &apt)
	})
	s.sets[key] = set
	return set
}

// adapt makes a shared package manager the image's own, with a local repository of its own.
func (m *image) adapt(ctx context.Context, set *sourceSet) (*pkgmgr.Apt, error) {
	apt, err := set.prepare()
	if err != nil {
		return nil, err
	}
	apt.Recommends, apt.Docs = m.WithRecommends, m.WithDocs
	apt.SourceDateEpoch = m.SourceDateEpoch
	apt.IgnoreOwners = m.b.session.SingleUser
	apt.Env = environment(m.Image)
	apt.Run = m.runPackageTool
	apt.Output = nil
	if m.b.UI.Debugging() {
		apt.Output = m.b.UI.Writer(m.Image.Image)
	}
	apt.RepositoryDir = m.repositoryDir()
	if pathExists(apt.RepositoryDir) {
		return &apt, nil
	}
	if err := os.Mkdir(apt.RepositoryDir, 0o755); err != nil {
		return nil, fmt.Errorf("making a local repository: %w", err)
	}
	if err := apt.AddPackages(ctx, m.PackageDirectories); err != nil {
		return nil, fmt.Errorf("reading PackageDirectories=: %w", err)
	}
	return &apt, nil
}

// repositoryDir is the image's local repository. It has what PackageDirectories= has, and once build scripts have run
// what these made.
func (m *image) repositoryDir() string { return m.b.work.Path("." + m.Image.Image + ".repository") }

// sourceKey is the same for images that install from the same sources in the same way.
func sourceKey(img *config.Image) string {
	return fmt.Sprintf("%q", []any{
		img.Distribution, img.Release, img.Architecture, img.Mirror, img.Snapshot, img.LocalMirror, img.Repositories,
		img.RepositoryKeyCheck, img.SandboxTrees, img.CacheDirectory, img.PackageCacheDirectory,
		img.CacheOnly, img.ProxyUrl, img.ProxyExclude, img.ProxyPeerCertificate, img.ProxyClientCertificate, img.ProxyClientKey,
	})
}

// prepareSources sets up the sandbox's /etc and the caches. dir is to be made for what belongs to this build alone.
func (m *image) prepareSources(ctx context.Context, dir string) (apt pkgmgr.Apt, err error) {
	d, err := distro.Lookup(string(m.Distribution))
	if err != nil {
		return apt, err
	}
	sources, err := m.packageSources(d, m.LocalMirror)
	if err != nil {
		return apt, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return apt, fmt.Errorf("making a workspace: %w", err)
	}
	for _, t := range m.SandboxTrees {
		sandboxed := *m
		sandboxed.root = dir
		if err := sandboxed.installTree(ctx, t); err != nil {
			return apt, fmt.Errorf("copying the sandbox tree %s: %w", t.Source, err)
		}
	}
	packageCache := m.packageCacheDir()
	apt = pkgmgr.Apt{
		Run:              m.runPackageTool,
		Etc:              filepath.Join(dir, "etc"),
		Distribution:     d,
		Release:          m.Release,
		Architecture:     string(m.Architecture),
		Sources:          sources,
		MetadataDir:      packageCache + unchecked(m.Image),
		PackageDir:       packageCache,
		RepositoryDir:    filepath.Join(dir, "repository"),
		Offline:          m.CacheOnly == config.CacheOnlyAlways,
		NoKeyCheck:       !m.RepositoryKeyCheck,
		Proxy:            m.ProxyUrl,
		ProxyExclude:     m.ProxyExclude,
		ProxyCA:          m.ProxyPeerCertificate,
		ProxyCertificate: m.ProxyClientCertificate,
		ProxyKey:         m.ProxyClientKey,
		Env:              environment(m.Image),
		IgnoreOwners:     m.b.session.SingleUser,
		Log:              func(format string, args ...any) { m.b.UI.Debugf(m.Image.Image, format, args...) },
	}
	if m.ProxyUrl == "" {
		apt.ProxyCA, apt.ProxyCertificate, apt.ProxyKey = "", "", ""
	}
	if m.b.UI.Debugging() {
		apt.Output = m.b.UI.Writer(m.Image.Image)
	}
	if m.CacheDirectory != "" {
		apt.MetadataDir = MetadataDir(m.Image)
	}
	return apt, apt.Prepare()
}

// syncSources brings the metadata up to date if CacheOnly= asks for that.
func (m *image) syncSources(ctx context.Context, apt *pkgmgr.Apt) error {
	if !m.wantsSync(apt) {
		return nil
	}
	return m.step("syncing package metadata", func() error { return apt.Sync(ctx) })
}

// wantsSync says whether CacheOnly= asks for fresh metadata. What was never fetched has to be, unless nothing may be.
func (m *image) wantsSync(apt *pkgmgr.Apt) bool {
	switch m.CacheOnly {
	case config.CacheOnlyAlways:
		return false
	case config.CacheOnlyNever:
		return true
	case config.CacheOnlyAuto:
		return !m.b.allCached || !apt.Synced()
	}
	return !apt.Synced()
}

// packageSources returns the repositories that the image's settings name, without LocalMirror= if that is only for the
// build.
func (m *image) packageSources(d *distro.Distribution, localMirror string) ([]distro.Source, error) {
	req := &distro.Request{
		Release:      m.Release,
		Architecture: string(m.Architecture),
		Mirror:       m.Mirror,
		LocalMirror:  localMirror,
		Snapshot:     m.Snapshot,
		Components:   m.Repositories,
	}
	if m.b.Host.Distribution == string(m.Distribution) {
		host, err := distro.HostSources("/")
		if err != nil {
			return nil, err
		}
		req.Host = host
	}
	return d.Sources(req)
}

// packageCacheDir is where downloaded packages are kept: PackageCacheDirectory=, else a directory of the user or the
// system.
func (m *image) packageCacheDir() string {
	dir := m.PackageCacheDirectory
	if dir == "" {
		dir = "/var/cache/mkosi"
		env := m.b.Host.Environment
		switch {
		case m.b.Host.UID == 0:
		case filepath.IsAbs(env["XDG_CACHE_HOME"]):
			dir = filepath.Join(env["XDG_CACHE_HOME"], "mkosi")
		case m.b.Host.Home != "":
			dir = filepath.Join(m.b.Host.Home, ".cache/mkosi")
		}
	}
	return filepath.Join(dir, sourceName(m.Image))
}

// sourceName tells the packages of one distribution, release and architecture from others, as a file name.
func sourceName(img *config.Image) string {
	return strings.Join([]string{string(img.Distribution), img.Release, string(img.Architecture)}, "~")
}

// MetadataDir is where the repositories' metadata is kept in CacheDirectory=, which has to be set.
func MetadataDir(img *config.Image) string {
	return filepath.Join(img.CacheDirectory, sourceName(img)+"~main.metadata.cache"+unchecked(img))
}

// unchecked tells metadata whose signatures are not checked from other: apt does not take the one for the other.
func unchecked(img *config.Image) string {
	if img.LocalMirror != "" || !img.RepositoryKeyCheck {
		return "~unchecked"
	}
	return ""
}

// environment returns Environment= as NAME=value.
func environment(img *config.Image) []string {
	var env []string
	for _, name := range sortedKeys(img.Environment) {
		env = append(env, name+"="+img.Environment[name])
	}
	return env
}

// installsPackages reports whether an image gets packages: Packages=, or what its distribution cannot do without. The
// latter is not for images that start with base trees or extend another system.
func installsPackages(img *config.Image) bool {
	return len(img.Packages) > 0 || len(img.BaseTrees) == 0 && !isExtension(img.Format)
}

// installPackages installs the distribution and Packages=; on base trees, just the packages.
func (m *image) installPackages(ctx context.Context) error {
	if !installsPackages(m.Image) {
		return nil
	}
	apt, err := m.packageManager(ctx)
	if err != nil {
		return err
	}
	if len(m.BaseTrees) > 0 || m.Overlay {
		if !pathExists(filepath.Join(m.root, "var/lib/dpkg/status")) {
			return errors.New("the base tree has no package database, so no packages can be installed on top of it: build it with CleanPackageMetadata=no")
		}
		return m.install(apt, list(m.Packages), func() error { return apt.Install(ctx, m.root, m.Packages) })
	}
	text := apt.Distribution.PrettyName + " " + m.Release
	if len(m.Packages) > 0 {
		text += " with " + list(m.Packages)
	}
	if err := m.install(apt, text, func() error { return apt.Bootstrap(ctx, m.root, m.Packages) }); err != nil {
		return err
	}
	return m.writeSources(apt.Distribution)
}

// writeSources tells an image that has apt, and no sources yet, where its packages come from. LocalMirror= is for the
// build alone.
func (m *image) writeSources(d *distro.Distribution) error {
	root, err := os.OpenRoot(m.root)
	if err != nil {
		return err
	}
	defer root.Close()
	const dir = "etc/apt/sources.list.d"
	if !exists(root, "usr/bin/apt") || !exists(root, dir) || hasFiles(root, dir) || exists(root, "etc/apt/sources.list") {
		return nil
	}
	sources, err := m.packageSources(d, "")
	if err != nil {
		m.b.UI.Infof(m.Image.Image, "apt in the image gets no sources: %v", err)
		return nil
	}
	return writeFile(root, dir+"/"+m.Release+".sources", distro.Format(sources), 0o644)
}

// install runs an installation as a step that tells how far it is.
func (m *image) install(apt *pkgmgr.Apt, what string, fn func() error) error {
	s := m.b.UI.Begin(m.Image.Image, "installing %s", what)
	apt.Log = func(format string, args ...any) {
		s.Note(format, args...)
		m.b.UI.Debugf(m.Image.Image, format, args...)
	}
	span := m.b.Timing.Begin(m.Image.Image, "installing "+what)
	err := fn()
	span.End(err)
	s.End(err)
	return err
}

// list names a few packages, or counts many.
func list(packages []string) string {
	if len(packages) > 4 {
		return fmt.Sprintf("%d packages", len(packages))
	}
	return strings.Join(packages, ", ")
}

// removePackagesAndFiles removes what RemovePackages= and RemoveFiles= name.
func (m *image) removePackagesAndFiles(ctx context.Context) error {
	if len(m.RemovePackages) > 0 && m.CleanPackageMetadata != config.Disabled {
		if m.onlyAdditions() {
			return errors.New("RemovePackages= cannot remove packages of the base trees from an image that holds only additions to them")
		}
		apt, err := m.packageManager(ctx)
		if err != nil {
			return err
		}
		err = m.step("removing "+list(m.RemovePackages), func() error { return apt.Remove(ctx, m.root, m.RemovePackages) })
		if err != nil {
			return err
		}
	}
	if len(m.RemoveFiles) == 0 {
		return nil
	}
	return m.step("removing files", func() error { return tree.Remove(ctx, m.root, m.RemoveFiles...) })
}

// cleanPackageMetadata removes the package manager's databases: always with CleanPackageMetadata=yes, and with auto if
// the image has no package manager that could read them. An image that is a directory or a tar file is often the base
// of another one and keeps them.
func (m *image) cleanPackageMetadata(ctx context.Context) error {
	switch {
	case m.CleanPackageMetadata == config.Disabled:
		return nil
	case m.CleanPackageMetadata == config.Auto && (m.Format == config.FormatDirectory || m.Format == config.FormatTar):
		return nil
	case len(m.BaseTrees) == 0 && isExtension(m.Format) && len(m.Packages) == 0:
		return nil
	}
	apt := pkgmgr.Apt{}
	return apt.Clean(m.root, m.CleanPackageMetadata == config.Enabled)
}
