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
	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
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
	// TempDir is a private directory on Dir's file system for what is needed only until the outputs are finished.
	TempDir string
	// IgnoreOwners says that files cannot be given to other users.
	IgnoreOwners bool
	// FileMode are the permissions of outputs that are files, unless OutputMode= says otherwise.
	FileMode os.FileMode
	// Boot makes what firmware reads in the tree, such as unified kernel images: their command line may name what is known
	// only when the other partitions, which it gets, are written. It is called once, just before the tree's boot
	// directories, or the tree of a format without partitions, are packed. nil when there is nothing to do.
	Boot func(ctx context.Context, in BootInput) (*BootFiles, error)
	// FinishDisk is called with a disk image that is complete but for what lies in front of its partitions, such as a boot
	// sector. nil when there is nothing to do.
	FinishDisk func(ctx context.Context, path string) error
	// Run runs a program of the host on paths in Root, Dir and TempDir.
	Run program.RunFunc
	// Warn is called with what the user should know of and that is no reason to stop; nil means that nobody listens.
	Warn func(text string)
}

// Result is what Write made.
type Result struct {
	// Names are those of the outputs in Dir: the main one, the link to it if there is one, and what was split off.
	Names []string
	// Partitions are those of a disk image, in the order of their definitions.
	Partitions []disk.Partition
}

// RootHash returns the verity root hash of the partition that is mounted as the root, or else of that with /usr; nil when
// there is none. Both is what NAME.roothash holds.
func (r *Result) RootHash() []byte {
	for _, role := range []repart.Role{repart.RoleRoot, repart.RoleUsr} {
		for _, p := range r.Partitions {
			if p.Type.Role == role && p.RootHash != nil {
				return p.RootHash
			}
		}
	}
	return nil
}

// Write packs the tree.
func Write(ctx context.Context, r Request) (*Result, error) {
	w := &packer{Request: r}
	var write func(context.Context, string) error
	switch r.Image.Format {
	case config.FormatDirectory:
		write = w.writeDirectory
	case config.FormatCPIO, config.FormatTar:
		write = w.writeArchive
	case config.FormatDisk:
		write = w.writeDisk
	case config.FormatESP:
		write = w.writeESP
	case config.FormatUKI, config.FormatAddon:
		write = w.writeUKI
	case config.FormatSysext, config.FormatConfext, config.FormatPortable:
		write = w.writeExtension
	default:
		return nil, fmt.Errorf("the output format %s is not supported yet", r.Image.Format)
	}
	name := r.Image.OutputName()
	path, err := w.place(name)
	early := !bootsLater(r.Image.Format)
	if err == nil && early {
		err = w.boot(ctx, BootInput{})
	}
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", name, err)
	}
	if early {
		// The tree that they lie in may become the output.
		if err := w.splitBootFiles(ctx); err != nil {
			return nil, err
		}
	}
	if err := write(ctx, path); err != nil {
		return nil, fmt.Errorf("writing %s: %w", name, err)
	}
	if !early {
		if err := w.splitBootFiles(ctx); err != nil {
			return nil, err
		}
	}
	if link := r.Image.SymlinkName(); link != "" {
		path, err := w.place(link)
		if err == nil {
			err = os.Symlink(name, path)
		}
		if err != nil {
			return nil, fmt.Errorf("linking %s: %w", link, err)
		}
	}
	if err := w.split(ctx); err != nil {
		return nil, err
	}
	return &w.Result, w.setModes()
}

// packer is one call of Write.
type packer struct {
	Request
	Result
	// definitions are the files that the partitions of a disk image were made from.
	definitions fs.FS
	bootFiles   BootFiles
}

// place returns the path of a new output.
func (w *packer) place(name string) (string, error) {
	path := filepath.Join(w.Dir, name)
	// A script may have made it, as a link to a file outside, say.
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return "", cmp.Or(err, errors.New("there is a file of that name in $OUTPUTDIR already, which a script has left or another output has"))
	}
	w.Names = append(w.Names, name)
	return path, nil
}

// bootsLater reports whether the writer of a format has the boot files made itself, when it knows more.
func bootsLater(f config.Format) bool {
	switch f {
	case config.FormatDisk, config.FormatESP, config.FormatUKI, config.FormatAddon:
		return true
	}
	return false
}

// warn tells the user something.
func (w *packer) warn(format string, args ...any) {
	if w.Warn != nil {
		w.Warn(fmt.Sprintf(format, args...))
	}
}

// setModes gives the outputs that are files their permissions. A directory is a tree, whose own are part of it.
func (w *packer) setModes() error {
	mode := w.FileMode
	if m := w.Image.OutputMode; m != nil {
		mode = os.FileMode(*m)
	}
	for _, name := range w.Names {
		path := filepath.Join(w.Dir, name)
		fi, err := os.Lstat(path)
		if err == nil && fi.Mode().IsRegular() {
			err = os.Chmod(path, mode)
		}
		if err != nil {
			return fmt.Errorf("setting the mode of %s: %w", name, err)
		}
	}
	return nil
}
