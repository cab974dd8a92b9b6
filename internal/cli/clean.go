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
)

// clean removes the outputs of all images, with --force what builds kept for later ones too, and with --force twice the
// packages as well.
func (a *app) clean(ctx context.Context) error {
	a.warn()
	b, err := a.builder()
	if err != nil {
		return err
	}
	force := a.cfg.Options.Force
	err = b.Clean(ctx, build.Cleaning{Outputs: true, Cache: force > 0, Packages: force > 1, BuildDir: force > 0 || a.cfg.Options.WipeBuildDir})
	if err != nil {
		return err
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
