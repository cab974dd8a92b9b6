package output

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/host"
)

// bootTypes are the partitions that are filled last: the kernel in them may be told the root hash of another one.
var bootTypes = []string{"esp", "xbootldr"}

// writeDisk writes the tree as a disk image with the partitions of RepartDirectories=, or the built-in ones.
func (w *packer) writeDisk(ctx context.Context, path string) error {
	plan, err := w.plan()
	if err != nil {
		return err
	}
	opts, err := w.diskOptions(ctx, plan)
	if err != nil {
		return err
	}
	defer clear(opts.Passphrase)
	opts.GenerateFstab, opts.GenerateCrypttab, opts.AppendFstab = "/etc/fstab", "/etc/crypttab", "auto"
	boots := func(d repart.Definition) bool {
		return d.Type.Role == repart.RoleESP || d.Type.Role == repart.RoleXBOOTLDR
	}
	if !slices.ContainsFunc(plan.Definitions, boots) {
		return w.finishImage(ctx, plan, path, func(raw string) (*disk.Result, error) {
			opts.Path = raw
			result, err := disk.Build(ctx, opts)
			if err != nil {
				return nil, err
			}
			return result, w.boot(ctx, BootInput{Partitions: result.Partitions})
		})
	}
	return w.finishImage(ctx, plan, path, func(raw string) (*disk.Result, error) {
		opts.Path = raw
		return w.buildTwice(ctx, opts, plan.elTorito)
	})
}

// plan plans the image now that its tree is there.
func (w *packer) plan() (*imagePlan, error) {
	release, err := w.osRelease()
	if err != nil {
		return nil, err
	}
	if release == nil && w.Image.Format == config.FormatPortable {
		return nil, errors.New("a portable service needs an os-release(5) file in /usr/lib or /etc, and the tree has none")
	}
	fields := host.ParseOSRelease(string(release))
	plan, err := planImage(w.Image, func(field string) string { return fields[field] })
	if err != nil {
		return nil, err
	}
	for _, text := range plan.warnings {
		w.warn("%s", text)
	}
	return plan, nil
}

// buildTwice writes an image without its boot partitions, and then these.
func (w *packer) buildTwice(ctx context.Context, opts disk.Options, elTorito *disk.ElTorito) (*disk.Result, error) {
	first := opts
	first.Defer = slices.Concat(opts.Defer, bootTypes)
	done, err := disk.Build(ctx, first)
	if err != nil {
		return nil, err
	}
	if err := w.boot(ctx, BootInput{Partitions: done.Partitions}); err != nil {
		return nil, err
	}
	opts.Existing, opts.ElTorito = true, elTorito
	opts.GenerateFstab, opts.GenerateCrypttab, opts.AppendFstab = "", "", ""
	result, err := disk.Build(ctx, opts)
	if err != nil {
		return nil, err
	}
	for i, p := range result.Partitions {
		for _, q := range done.Partitions {
			if q.File == p.File && p.RootHash == nil {
				result.Partitions[i].RootHash = q.RootHash
			}
		}
	}
	return result, nil
}

// writeExtension writes a system or configuration extension or a portable service: the tree as erofs, its dm-verity
// hashes, and the signature of their root hash.
func (w *packer) writeExtension(ctx context.Context, path string) error {
	plan, err := w.plan()
	if err != nil {
		return err
	}
	if plan.ignored {
		w.warn("mkosi.repart/ is not for Format=%s and is ignored; RepartDirectories=mkosi.repart uses it", w.Image.Format)
	}
	opts, err := w.diskOptions(ctx, plan)
	if err != nil {
		return err
	}
	defer clear(opts.Passphrase)
	return w.finishImage(ctx, plan, path, func(raw string) (*disk.Result, error) {
		opts.Path = raw
		return disk.Build(ctx, opts)
	})
}

// diskOptions are those of every image.
func (w *packer) diskOptions(ctx context.Context, plan *imagePlan) (disk.Options, error) {
	opts := disk.Options{
		Definitions:     plan.Definitions,
		Defer:           plan.Defer,
		Root:            w.Root,
		Seed:            w.Image.Seed,
		SourceDateEpoch: w.Image.SourceDateEpoch,
		TempDir:         w.TempDir,
		Warn:            w.Warn,
		Run:             w.Run,
	}
	if w.Image.SectorSize != nil {
		opts.SectorSize = *w.Image.SectorSize
	}
	env, err := w.Image.ReadEnvironment()
	if err != nil {
		return opts, err
	}
	opts.Getenv = func(name string) string { return env[name] }
	if plan.Sign {
		if opts.Key, opts.Certificate, err = LoadKey(ctx, w.Image, VerityReference(w.Image)); err != nil {
			return opts, err
		}
	}
	opts.Passphrase, err = plan.readPassphrase(w)
	return opts, err
}

// finishImage has an image built, splits its partitions off, and gives it its final size and compression.
func (w *packer) finishImage(ctx context.Context, plan *imagePlan, path string, build func(raw string) (*disk.Result, error)) error {
	raw := path
	if w.compression().Extension() != "" {
		raw = filepath.Join(w.TempDir, w.Image.UncompressedName())
	}
	result, err := build(raw)
	if err != nil {
		return err
	}
	w.definitions, w.Partitions = plan.files, result.Partitions
	if err := w.splitPartitions(ctx, raw); err != nil {
		return err
	}
	if err := w.resize(raw, result); err != nil {
		return err
	}
	if w.FinishDisk != nil {
		if err := w.FinishDisk(ctx, raw); err != nil {
			return err
		}
	}
	if raw == path {
		return nil
	}
	f, err := os.Open(raw)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err == nil {
		err = w.copySection(ctx, path, f, 0, fi.Size())
	}
	return errors.Join(err, f.Close(), os.Remove(raw))
}

// resize enlarges an image to OutputSize=.
func (w *packer) resize(path string, result *disk.Result) error {
	if w.Image.OutputSize == nil || w.Image.Format != config.FormatDisk {
		return nil
	}
	sector := int64(result.SectorSize)
	size := (*w.Image.OutputSize + sector - 1) / sector * sector
	if size < result.Size {
		w.warn("the image takes %d bytes and stays larger than OutputSize=", result.Size)
		return nil
	}
	if err := enlarge(path, size, result.SectorSize); err != nil {
		return fmt.Errorf("enlarging the image to OutputSize=: %w", err)
	}
	return nil
}

// enlarge makes the disk of a finished image larger. The partitions stay as they are, the backup of their table moves to
// the new end.
func enlarge(path string, size int64, sectorSize int) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return gpt.Resize(f, size, sectorSize)
}
