package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mkosi-go/mkosi/internal/script"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// builds reports whether the image has something to compile, and so an overlay with the tools for that.
func (m *image) builds() bool { return len(m.BuildScripts) > 0 }

// makeBuildOverlay makes the layer with the build packages, which build scripts see on top of the system and the image
// never.
func (m *image) makeBuildOverlay(ctx context.Context) error {
	if !m.builds() || len(m.BuildPackages)+len(m.PrepareScripts) == 0 {
		return nil
	}
	layer := filepath.Join(m.work, "build-packages")
	if err := os.Mkdir(layer, 0o755); err != nil {
		return err
	}
	m.buildLayers = []string{layer}
	return m.inTree(m.layers(), layer, func() error { return m.installBuildPackages(ctx) })
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
	for _, dir := range []string{changes, m.destDir()} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	lower := append(m.buildLayers, m.layers()...)
	err := m.inTree(lower, changes, func() error {
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
	dirs := append(m.VolatilePackageDirectories, m.b.work.Path(packagesDir))
	if err := apt.AddPackages(ctx, dirs); err != nil {
		return fmt.Errorf("reading VolatilePackageDirectories= and what build scripts made: %w", err)
	}
	return m.install(apt, list(m.VolatilePackages), func() error { return apt.Install(ctx, m.root, m.VolatilePackages) })
}
