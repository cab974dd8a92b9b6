package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/script"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// Cleaning says what is to be removed of what earlier builds left.
type Cleaning struct {
	Outputs  bool // the outputs
	Cache    bool // cached images
	Packages bool // downloaded packages, and their metadata
	BuildDir bool // what build scripts left in the build directory
}

// Clean removes what earlier builds left of all images, and runs the clean scripts of each. It needs a session, see
// [sandbox.EnterSession], where the user may remove the files of all users of an image.
func (b *Builder) Clean(ctx context.Context, what Cleaning) error {
	b.session = sandbox.Current()
	for _, img := range b.Config.Images {
		if err := b.clean(ctx, img, what); err != nil {
			return &ImageError{img.Image, err}
		}
	}
	return nil
}

func (b *Builder) clean(ctx context.Context, img *config.Image, what Cleaning) error {
	if what.Outputs {
		names, err := b.staleOutputs(img, nil)
		if err != nil {
			return err
		}
		if err := b.remove(ctx, img, names); err != nil {
			return err
		}
	}
	if err := b.runCleanScripts(ctx, img); err != nil {
		return err
	}
	var paths []string
	if what.BuildDir && img.BuildDirectory != "" {
		paths = append(paths, img.BuildSubdirectory())
	}
	if what.Packages {
		m := &image{Image: img, b: b}
		paths = append(paths, m.packageCacheDir(), m.packageCacheDir()+unchecked(img))
		if img.CacheDirectory != "" {
			paths = append(paths, MetadataDir(img))
		}
	}
	if err := b.remove(ctx, img, paths); err != nil {
		return err
	}
	if what.Cache {
		return b.removeCached(ctx, img)
	}
	return nil
}

// remove removes what is there of some paths, and says so.
func (b *Builder) remove(ctx context.Context, img *config.Image, paths []string) error {
	for _, path := range paths {
		if !pathExists(path) {
			continue
		}
		if err := tree.RemoveAll(ctx, path); err != nil {
			return fmt.Errorf("removing %s: %w", path, err)
		}
		b.UI.Infof(img.Image, "removed %s", path)
	}
	return nil
}

// runCleanScripts runs the clean scripts of an image, which remove what only they know of.
func (b *Builder) runCleanScripts(ctx context.Context, img *config.Image) error {
	if len(img.CleanScripts) == 0 {
		return nil
	}
	dir := img.OutputDir(b.Config.Dir)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("creating the output directory: %w", err)
	}
	m := &image{Image: img, b: b}
	return m.runScripts(ctx, scriptRun{kind: script.Clean, paths: img.CleanScripts, output: dir})
}

// staleOutputs lists what builds of an image left in its output directory, but for the names in fresh: its output and
// whatever is called like it with something after a dot.
func (b *Builder) staleOutputs(img *config.Image, fresh []string) ([]string, error) {
	if img.Format == config.FormatNone {
		return nil, nil
	}
	dir := img.OutputDir(b.Config.Dir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the output directory: %w", err)
	}
	var stale []string
	for _, e := range entries {
		if name := e.Name(); b.makerOf(dir, name) == img && !slices.Contains(fresh, name) {
			stale = append(stale, filepath.Join(dir, name))
		}
	}
	return stale, nil
}

// makerOf returns the image that a file in an output directory is of, by its name, or nil. Of two images that might be
// it, such as image and image.debug, it is the one with the longer name.
func (b *Builder) makerOf(dir, name string) *config.Image {
	var maker *config.Image
	for _, img := range b.Config.Images {
		if img.Format == config.FormatNone || img.OutputDir(b.Config.Dir) != dir {
			continue
		}
		if name != img.Output && !strings.HasPrefix(name, img.Output+".") {
			continue
		}
		if maker == nil || len(img.Output) > len(maker.Output) {
			maker = img
		}
	}
	return maker
}
