package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// clean removes the outputs of all images.
func (a *app) clean(ctx context.Context) error {
	a.warn()
	for _, img := range a.cfg.Images {
		if img.Format == config.FormatNone {
			continue
		}
		dir := img.OutputDir(a.cfg.Dir)
		for _, name := range []string{img.OutputName(), img.SymlinkName()} {
			if name == "" {
				continue
			}
			path := filepath.Join(dir, name)
			if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err := tree.RemoveAll(ctx, path); err != nil {
				return fmt.Errorf("removing %s: %w", path, err)
			}
			a.ui.Infof(img.Image, "removed %s", path)
		}
	}
	return nil
}
