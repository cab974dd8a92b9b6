package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// The tree of an image is a stack of layers, each a directory with what it changes in those below: the base trees, the
// system with its packages, and, for build scripts alone, the build packages. A layer that somebody else owns, such as a
// base tree or a cached system, is only read, and what later steps change goes into a layer of its own; so nothing is
// ever copied to be changed.

// openBaseTrees finds the directories of the base trees, topmost first, and unpacks those that are archives.
func (m *image) openBaseTrees(ctx context.Context) error {
	for i, base := range m.BaseTrees {
		fi, err := os.Stat(base)
		if err != nil {
			return fmt.Errorf("opening the base tree: %w", err)
		}
		if !fi.IsDir() {
			dir := filepath.Join(m.work, fmt.Sprintf("base%d", i))
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			err := m.step("unpacking "+filepath.Base(base), func() error { return m.addTree(ctx, base, dir) })
			if err != nil {
				return fmt.Errorf("unpacking the base tree %s: %w", base, err)
			}
			base = dir
		}
		m.base = append(m.base, base)
	}
	slices.Reverse(m.base)
	return nil
}

// makeSystem makes the layer with the distribution: everything that is the same until the configuration changes. With
// Incremental= it is kept for later builds, and is this build's to read only.
func (m *image) makeSystem(ctx context.Context) error {
	if incremental(m.Image) {
		entry, err := m.keptLayer(ctx, m.systemLayer())
		if err != nil {
			return err
		}
		m.cached, m.system, m.systemID = true, entry.Path(layerTree), entry.ID
		return nil
	}
	m.system = m.upperDir("system")
	if err := makeLayerDir(m.system, m.base); err != nil {
		return err
	}
	return m.inTree(m.base, m.system, m.system+workSuffix, func() error { return m.installSystem(ctx) })
}

func (m *image) systemLayer() layer {
	return layer{
		name:     systemName(m.Image),
		lower:    func() []string { return m.base },
		describe: m.systemInputs,
		fill:     m.installSystem,
	}
}

// installSystem takes the steps that fill the system layer, which is open.
func (m *image) installSystem(ctx context.Context) error {
	return inOrder(ctx,
		m.copySkeletonTrees,
		m.installPackages,
		func(ctx context.Context) error { return m.prepare(ctx, "final") },
	)
}

// openImage opens the tree for the steps that complete it.
func (m *image) openImage(ctx context.Context) error {
	if !m.cached {
		return m.openTree(m.base, m.system, m.system+workSuffix)
	}
	upper := m.upperDir("changes")
	if err := makeLayerDir(upper, m.layers()); err != nil {
		return err
	}
	if m.Overlay {
		// The output is what is added to the base trees, and so a tree of its own.
		if err := tree.Copy(ctx, m.system, upper, tree.CopyOptions{IgnoreOwners: m.b.session.SingleUser}); err != nil {
			return fmt.Errorf("copying the cached image: %w", err)
		}
		return m.openTree(m.base, upper, upper+workSuffix)
	}
	return m.openTree(m.layers(), upper, upper+workSuffix)
}

// layers are the system and what lies below it, topmost first.
func (m *image) layers() []string { return slices.Concat([]string{m.system}, m.base) }

// upperDir is where a layer called name is made: a layer that becomes the output itself lies where that goes, all others
// in the workspace.
func (m *image) upperDir(name string) string {
	if m.Format == config.FormatDirectory && (m.Overlay || len(m.BaseTrees) == 0 && !m.cached) {
		return m.stage.Path(name)
	}
	return filepath.Join(m.work, name)
}

// workSuffix makes the kernel's directory of an overlay out of its upper one.
const workSuffix = ".work"

// openTree makes the layers upper and lower, topmost first, the tree that steps see. Without a lower layer it is upper
// itself. work is a directory for the kernel, which is made if it is needed.
func (m *image) openTree(lower []string, upper, work string) error {
	m.root, m.upper = upper, upper
	if len(lower) == 0 {
		return nil
	}
	m.root = filepath.Join(m.work, "root")
	for _, dir := range []string{m.root, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making an overlay: %w", err)
		}
	}
	var err error
	m.unmount, err = sandbox.MountOverlay(lower, upper, work, m.root)
	return err
}

// makeLayerDir makes the directory of a layer that is to lie on top of others. Its own owner, permissions and times are
// those of the tree's root directory.
func makeLayerDir(dir string, lower []string) error {
	if err := os.Mkdir(dir, 0o755); err != nil || len(lower) == 0 {
		return err
	}
	var st unix.Stat_t
	err := unix.Stat(lower[0], &st)
	if err == nil {
		err = unix.Chown(dir, int(st.Uid), int(st.Gid))
	}
	if err == nil {
		err = unix.Chmod(dir, st.Mode&0o7777)
	}
	if err == nil {
		err = unix.UtimesNano(dir, []unix.Timespec{st.Atim, st.Mtim})
	}
	if err != nil {
		return fmt.Errorf("making a layer on top of %s: %w", lower[0], err)
	}
	return nil
}

// closeTree ends the view of the tree. What was changed in it is in its upper layer.
func (m *image) closeTree() error {
	if m.unmount == nil {
		return nil
	}
	unmount := m.unmount
	m.unmount = nil
	return unmount()
}

// inTree runs fn while the layers are open as the tree.
func (m *image) inTree(lower []string, upper, work string, fn func() error) error {
	if err := m.openTree(lower, upper, work); err != nil {
		return err
	}
	return errors.Join(fn(), m.closeTree())
}

// inOrder takes steps one after the other until one fails or ctx is done.
func inOrder(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}
