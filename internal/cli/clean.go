package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mkosi-go/mkosi/internal/build"
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// clean removes the outputs of all images, and with --force the metadata of their packages as well.
func (a *app) clean(ctx context.Context) error {
	if !sandbox.Current().Active {
		a.warn()
	}
	for _, img := range a.cfg.Images {
		var paths []string
		if img.Format != config.FormatNone {
			paths = append(paths, img.OutputPath(a.cfg.Dir))
			if link := img.SymlinkName(); link != "" {
				paths = append(paths, filepath.Join(img.OutputDir(a.cfg.Dir), link))
			}
		}
		if a.cfg.Options.Force > 0 && img.CacheDirectory != "" {
			paths = append(paths, build.MetadataDir(img))
		}
		for _, path := range paths {
			if err := a.remove(ctx, img.Image, path); err != nil {
				return err
			}
		}
	}
	return a.forgetHistory()
}

// forgetHistory removes what keepHistory kept.
func (a *app) forgetHistory() error {
	path := filepath.Join(a.cfg.Dir, config.HistoryPath)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the command line of the last build: %w", err)
	}
	// Its directories may hold more than that; then they stay.
	os.Remove(filepath.Dir(path))
	os.Remove(filepath.Dir(filepath.Dir(path)))
	return nil
}

// remove removes what is at path, if anything is. Files of an ordinary user's subordinate IDs can be removed only in a
// session, where all of it is done again.
func (a *app) remove(ctx context.Context, image, path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := tree.RemoveAll(ctx, path)
	if errors.Is(err, fs.ErrPermission) && !sandbox.Current().Active {
		return startSession()
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	a.ui.Infof(image, "removed %s", path)
	return nil
}
