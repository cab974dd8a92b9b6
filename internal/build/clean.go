package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/output"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/script"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// Cleaning says what is to be removed of what earlier builds left.
type Cleaning struct {
	Outputs  bool // the outputs
	Cache    bool // cached images
	Packages bool // downloaded packages, and their metadata
	BuildDir bool // what build scripts left in the build directory, which stays
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
		if err := b.remove(ctx, img, b.staleOutputs(img, nil)); err != nil {
			return err
		}
	}
	if err := b.runCleanScripts(ctx, img); err != nil {
		return err
	}
	if what.BuildDir {
		if err := b.emptyBuildDir(ctx, img); err != nil {
			return err
		}
	}
	var paths []string
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

// cleanBefore removes what the options of a build name, and runs clean scripts: with --force, and for images that cannot
// use what an earlier build kept. The outputs stay until there are others to put into their places.
func (b *Builder) cleanBefore(ctx context.Context, plan *Plan) error {
	o := b.Config.Options
	if o.RerunBuildScripts {
		return nil
	}
	what := Cleaning{Cache: o.Force > 1, Packages: o.Force > 2, BuildDir: o.Force > 1 || o.WipeBuildDir}
	for _, job := range plan.Jobs {
		var err error
		stale := incremental(job.Image) && !b.cached[job.Image]
		switch {
		case job.Skip != "":
		case o.Force > 0 || stale:
			err = b.clean(ctx, job.Image, what)
		case o.WipeBuildDir:
			err = b.emptyBuildDir(ctx, job.Image)
		}
		if err != nil {
			return &ImageError{job.Image.Image, err}
		}
	}
	return nil
}

// emptyBuildDir removes what build scripts left in an image's build directory. The directory itself may be what makes
// BuildDirectory= the default, and stays.
func (b *Builder) emptyBuildDir(ctx context.Context, img *config.Image) error {
	dir := img.BuildSubdirectory()
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing the build directory: %w", err)
	}
	for _, e := range entries {
		if err := tree.RemoveAll(ctx, filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("emptying the build directory: %w", err)
		}
	}
	b.UI.Infof(img.Image, "emptied %s", dir)
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

// staleOutputs lists what builds of an image left in its output directory, but for the names in fresh.
func (b *Builder) staleOutputs(img *config.Image, fresh []string) []string {
	if img.Format == config.FormatNone {
		return nil
	}
	dir := img.OutputDir(b.Config.Dir)
	var stale []string
	for _, name := range outputNames(img) {
		if path := filepath.Join(dir, name); !slices.Contains(fresh, name) && !b.othersOutput(img, path) && pathExists(path) {
			stale = append(stale, path)
		}
	}
	return stale
}

// othersOutput reports whether a path is the output of an image other than img, as with the names image and image.efi.
func (b *Builder) othersOutput(img *config.Image, path string) bool {
	return slices.ContainsFunc(b.Config.Images, func(other *config.Image) bool {
		if other == img || other.Format == config.FormatNone {
			return false
		}
		return path == other.OutputPath(b.Config.Dir) || path == filepath.Join(other.OutputDir(b.Config.Dir), other.Output)
	})
}

// splitSuffixes end the names of what mkosi, here and elsewhere, writes beside an output of any format: the last two when
// it is tested.
var splitSuffixes = []string{
	"manifest", "SHA256SUMS", "SHA256SUMS.gpg", "vmlinuz", "initrd", "efi", "changelog", "nspawn", "pcrs",
	"console.log", "journal.log",
}

// outputNames are the names that builds of an image in its format give to files. What else is called like it is somebody
// else's.
func outputNames(img *config.Image) []string {
	names := []string{img.Output, img.UncompressedName(), img.OutputName()}
	for _, suffix := range splitSuffixes {
		names = append(names, img.SplitName(suffix))
	}
	names = append(names, output.SplitNames(img)...)
	slices.Sort(names)
	return slices.Compact(names)
}
