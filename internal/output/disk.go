package output

import (
	"context"

	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/resources"
)

// writeDisk writes the tree as a disk image with the partitions that an image without a boot loader has: one root
// partition.
func writeDisk(ctx context.Context, r Request, path string) error {
	fsys, err := resources.Repart("disk")
	if err != nil {
		return err
	}
	defs, err := repart.ParseDefinitions(fsys, string(r.Image.Architecture))
	if err != nil {
		return err
	}
	opts := r.diskOptions(path)
	opts.Definitions = defs
	_, err = disk.Build(ctx, opts)
	return err
}

func (r Request) diskOptions(path string) disk.Options {
	opts := disk.Options{
		Path:            path,
		Root:            r.Root,
		Seed:            r.Image.Seed,
		SourceDateEpoch: r.Image.SourceDateEpoch,
		Run:             r.Run,
	}
	if r.Image.SectorSize != nil {
		opts.SectorSize = *r.Image.SectorSize
	}
	return opts
}
