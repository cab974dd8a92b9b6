// Package output packs a finished tree into an output format, one file a format. It knows nothing of distributions.
package output

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk/program"
)

// Request says what to pack.
type Request struct {
	// Image is the configuration of the image.
	Image *config.Image
	// Root is the finished tree.
	Root string
	// Dir is a directory for the outputs. They get their final names there; the caller moves them into place. Scripts may
	// have left files of their own in it.
	Dir string
	// OwnsRoot says that Root lies on Dir's file system and may be moved away.
	OwnsRoot bool
	// IgnoreOwners says that files cannot be given to other users.
	IgnoreOwners bool
	// FileMode are the permissions of outputs that are files, unless OutputMode= says otherwise.
	FileMode os.FileMode
	// Run runs a program of the host on paths in Root and Dir.
	Run program.RunFunc
}

// Write packs the tree and returns the names of the outputs in Dir, the main one first.
func Write(ctx context.Context, r Request) ([]string, error) {
	var write func(context.Context, Request, string) error
	switch r.Image.Format {
	case config.FormatDirectory:
		write = writeDirectory
	case config.FormatCPIO:
		write = writeCPIO
	case config.FormatDisk:
		write = writeDisk
	case config.FormatSysext, config.FormatConfext:
		write = writeExtension
	default:
		return nil, fmt.Errorf("the output format %s is not supported yet", r.Image.Format)
	}
	name := r.Image.OutputName()
	path := filepath.Join(r.Dir, name)
	// A script may have made it, as a link to a file outside, say.
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("writing %s: %w", name, cmp.Or(err, errors.New("a script has left a file of that name in $OUTPUTDIR")))
	}
	if err := write(ctx, r, path); err != nil {
		return nil, fmt.Errorf("writing %s: %w", name, err)
	}
	if err := r.setMode(path); err != nil {
		return nil, fmt.Errorf("setting the mode of %s: %w", name, err)
	}
	names := []string{name}
	if link := r.Image.SymlinkName(); link != "" {
		if err := os.Symlink(name, filepath.Join(r.Dir, link)); err != nil {
			return nil, fmt.Errorf("linking %s: %w", link, err)
		}
		names = append(names, link)
	}
	return names, nil
}

// setMode gives an output its permissions. A directory is a tree, whose own are part of it.
func (r *Request) setMode(path string) error {
	if r.Image.Format == config.FormatDirectory {
		return nil
	}
	if mode := r.Image.OutputMode; mode != nil {
		return os.Chmod(path, os.FileMode(*mode))
	}
	return os.Chmod(path, r.FileMode)
}
