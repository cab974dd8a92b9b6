package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// addTree copies a directory, or unpacks a tar file, into the tree at root, owners and times included.
func (m *image) addTree(ctx context.Context, source, root string) error {
	if fi, err := os.Stat(source); err != nil {
		return err
	} else if fi.IsDir() {
		return tree.Copy(ctx, source, root, tree.CopyOptions{IgnoreOwners: m.b.session.SingleUser, FollowDirLinks: true})
	}
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	return archive.ExtractTar(ctx, f, root, "", archive.ExtractOptions{IgnoreOwners: m.b.session.SingleUser})
}

func (m *image) copySkeletonTrees(ctx context.Context) error {
	return m.installTrees(ctx, "copying skeleton trees", m.SkeletonTrees)
}

func (m *image) copyExtraTrees(ctx context.Context) error {
	return m.installTrees(ctx, "copying extra trees", m.ExtraTrees)
}

func (m *image) installTrees(ctx context.Context, text string, trees []config.Tree) error {
	if len(trees) == 0 {
		return nil
	}
	return m.step(text, func() error {
		for _, t := range trees {
			if err := m.installTree(ctx, t); err != nil {
				return fmt.Errorf("copying %s into the image: %w", t.Source, err)
			}
		}
		return nil
	})
}

// installTree copies one source: a directory, a file, or what a tar file holds. With a target a tar file is a file like
// any other.
func (m *image) installTree(ctx context.Context, t config.Tree) error {
	source, err := m.b.sourcePath(t.Source)
	if err != nil {
		return err
	}
	t.Source = source
	if fi, err := os.Stat(t.Source); err == nil && fi.Mode().IsRegular() && isTar(t.Source) && t.Target == "" {
		return m.addTree(ctx, t.Source, m.root)
	}
	return tree.Install(ctx, m.root, tree.Tree{Source: t.Source, Target: t.Target})
}

// leaveBaseTrees ends the view of the base trees for an image that holds only what it adds to them.
func (m *image) leaveBaseTrees(ctx context.Context) error {
	if !m.onlyAdditions() {
		return nil
	}
	if len(m.BaseTrees) > 0 {
		if err := m.readHostRelease(); err != nil {
			return err
		}
	}
	if !m.Overlay {
		return nil
	}
	if err := m.closeTree(); err != nil {
		return err
	}
	m.root = m.upper
	if err := removeKnown(ctx, m.root, m.base); err != nil {
		return err
	}
	return stripOverlayAttributes(ctx, m.root)
}

// readHostRelease remembers what the base trees are.
func (m *image) readHostRelease() error {
	root, err := os.OpenRoot(m.root)
	if err != nil {
		return err
	}
	defer root.Close()
	m.hostRelease, err = readOSRelease(root)
	return err
}

// removeKnown removes from the changes to base trees every file that a base tree has too, as the reference does: what
// is left can be laid over the base tree and over later versions of it. Directories stay.
func removeKnown(ctx context.Context, upper string, lower []string) error {
	changes, err := os.OpenRoot(upper)
	if err != nil {
		return err
	}
	defer changes.Close()
	for _, dir := range lower {
		base, err := os.OpenRoot(dir)
		if err != nil {
			return fmt.Errorf("opening the base tree: %w", err)
		}
		defer base.Close()
		var known []string
		err = tree.Walk(ctx, upper, func(e *tree.Entry) error {
			if !e.IsDir() && exists(base, e.Path) {
				known = append(known, e.Path)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, name := range known {
			if err := changes.Remove(name); err != nil {
				return fmt.Errorf("removing what the base tree has too: %w", err)
			}
		}
	}
	return nil
}

// stripOverlayAttributes removes what overlayfs notes for itself in an upper directory, such as the inode that a file
// was copied from. That a directory replaces the one below stays, for a directory output may be overlaid again.
func stripOverlayAttributes(ctx context.Context, dir string) error {
	buf := make([]byte, 64<<10) // XATTR_LIST_MAX of the kernel
	return tree.Walk(ctx, dir, func(e *tree.Entry) error {
		path := filepath.Join(dir, e.Path)
		n, err := unix.Llistxattr(path, buf)
		if err == unix.EOPNOTSUPP || n == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("listing attributes of %s: %w", e.Path, err)
		}
		for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
			_, rest, _ := strings.Cut(name, ".")
			if !strings.HasPrefix(rest, "overlay.") || rest == "overlay.opaque" {
				continue
			}
			if err := unix.Lremovexattr(path, name); err != nil {
				return fmt.Errorf("removing attribute %s of %s: %w", name, e.Path, err)
			}
		}
		return nil
	})
}
