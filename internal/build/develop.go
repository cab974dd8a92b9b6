package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/mkosi-go/mkosi/internal/cache"
	"github.com/mkosi-go/mkosi/internal/script"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// builds reports whether the image has something to compile, and so an overlay with the tools for that.
func (m *image) builds() bool { return len(m.BuildScripts) > 0 }

// hasBuildLayer reports whether build scripts see more than the system: build packages, or what prepare scripts make for
// them.
func (m *image) hasBuildLayer() bool {
	return m.builds() && len(m.BuildPackages)+len(m.PrepareScripts) > 0
}

// makeBuildLayer makes the layer with the build packages, which build scripts see on top of the system and the image
// never.
func (m *image) makeBuildLayer(ctx context.Context) error {
	if !m.hasBuildLayer() {
		return nil
	}
	if incremental(m.Image) {
		entry, err := m.keptLayer(ctx, m.buildLayer(m.systemID))
		if err != nil {
			return err
		}
		m.buildLayers = []string{entry.Path(layerTree)}
		return nil
	}
	dir := filepath.Join(m.work, "build-packages")
	if err := makeLayerDir(dir, m.layers()); err != nil {
		return err
	}
	m.buildLayers = []string{dir}
	return m.inTree(m.layers(), dir, dir+workSuffix, func() error { return m.installBuildPackages(ctx) })
}

// buildLayer is the layer with the build packages on top of the cached system with this ID.
func (m *image) buildLayer(system string) layer {
	return layer{
		name:     buildName(m.Image),
		lower:    m.layers,
		describe: func(ctx context.Context) (cache.Inputs, error) { return m.buildInputs(ctx, system) },
		fill:     m.installBuildPackages,
	}
}

// installBuildPackages takes the steps that fill the layer of the build packages, which is open.
func (m *image) installBuildPackages(ctx context.Context) error {
	if len(m.BuildPackages) > 0 {
		apt, err := m.packageManager(ctx)
		if err != nil {
			return err
		}
		err = m.install(apt, "build packages "+list(m.BuildPackages), func() error { return apt.Install(ctx, m.root, m.BuildPackages) })
		if err != nil {
			return err
		}
	}
	return m.prepare(ctx, "build")
}

// runBuildScripts runs the build scripts on the system and the build packages. What they change there is thrown away;
// what they put into $DESTDIR is for the image.
func (m *image) runBuildScripts(ctx context.Context) error {
	if !m.builds() {
		return nil
	}
	changes := filepath.Join(m.work, "build-changes")
	lower := slices.Concat(m.buildLayers, m.layers())
	if err := errors.Join(makeLayerDir(changes, lower), os.Mkdir(m.destDir(), 0o755)); err != nil {
		return err
	}
	err := m.inTree(lower, changes, changes+workSuffix, func() error {
		return m.runScripts(ctx, scriptRun{kind: script.Build, paths: m.BuildScripts, args: m.b.Config.VerbArgs, dest: m.destDir()})
	})
	if err != nil {
		return err
	}
	return tree.RemoveAll(ctx, changes)
}

func (m *image) destDir() string { return filepath.Join(m.work, "dest") }

// installBuilt copies what the build scripts left in $DESTDIR into the image.
func (m *image) installBuilt(ctx context.Context) error {
	if !m.builds() {
		return nil
	}
	return m.step("copying what was built", func() error {
		err := tree.Copy(ctx, m.destDir(), m.root, tree.CopyOptions{IgnoreOwners: m.b.session.SingleUser, FollowDirLinks: true})
		if err != nil {
			return fmt.Errorf("copying what the build scripts installed: %w", err)
		}
		return nil
	})
}

// installVolatilePackages installs the packages that are never cached, among them those that build scripts made.
func (m *image) installVolatilePackages(ctx context.Context) error {
	if len(m.VolatilePackages) == 0 {
		return nil
	}
	apt, err := m.packageManager(ctx)
	if err != nil {
		return err
	}
	built := m.b.work.Path(packagesDir)
	if err := checkBuiltPackages(built); err != nil {
		return err
	}
	dirs := slices.Concat(m.VolatilePackageDirectories, []string{built})
	if err := apt.AddPackages(ctx, dirs); err != nil {
		return fmt.Errorf("reading VolatilePackageDirectories= and the packages that build scripts made: %w", err)
	}
	return m.install(apt, list(m.VolatilePackages), func() error { return apt.Install(ctx, m.root, m.VolatilePackages) })
}

// checkBuiltPackages refuses what scripts left in $PACKAGEDIR that is called like a package and is none: a link may lead to
// files that no script could read.
func checkBuiltPackages(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("listing the packages that scripts made: %w", err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".deb" && !e.Type().IsRegular() {
			return fmt.Errorf("a script has left %s in $PACKAGEDIR, which is not a regular file", e.Name())
		}
	}
	return nil
}
