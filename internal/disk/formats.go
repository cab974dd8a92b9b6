package disk

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/erofs"
	"github.com/mkosi-go/mkosi/internal/disk/ext4"
	"github.com/mkosi-go/mkosi/internal/disk/fat"
	"github.com/mkosi-go/mkosi/internal/disk/mkfs"
	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// planFileSystem plans the file system of a partition.
func (b *builder) planFileSystem(ctx context.Context, p *part, tree content.Tree) (*fileSystem, error) {
	switch p.def.Format {
	case repart.FormatErofs:
		if !mkfs.NativeErofs(p.def.Compression) {
			break
		}
		return b.planErofs(ctx, p, tree)
	case repart.FormatExt4:
		return b.planExt4(p, tree)
	case repart.FormatVFAT:
		return b.planVFAT(p, tree)
	}
	return b.planMkfs(ctx, p, tree)
}

// buildTime is the time at which file systems say that they were made.
func (b *builder) buildTime(tree content.Tree) int64 {
	if b.SourceDateEpoch != nil {
		return *b.SourceDateEpoch
	}
	newest := int64(0)
	for _, e := range tree {
		newest = max(newest, e.Mtime)
	}
	return newest
}

// runner runs the programs that file systems are made with.
func (b *builder) runner() program.RunFunc {
	if b.Run == nil {
		return program.Run
	}
	return b.Run
}

func (b *builder) planErofs(ctx context.Context, p *part, tree content.Tree) (*fileSystem, error) {
	level, err := strconv.Atoi(cmp.Or(p.def.CompressionLevel, "0"))
	if err != nil {
		return nil, fmt.Errorf("setting CompressionLevel=%s is no number, as erofs needs it", p.def.CompressionLevel)
	}
	image, err := erofs.Plan(ctx, tree, erofs.Options{
		UUID:        FileSystemUUID(p.derived),
		BuildTime:   b.buildTime(tree),
		Compression: erofs.Compression(p.def.Compression),
		Level:       level,
		TempDir:     b.tempDir(),
	})
	if err != nil {
		return nil, err
	}
	write := func(ctx context.Context, f *os.File, offset, _ int64) error { return image.Write(ctx, f, offset) }
	return &fileSystem{length: image.Size(), fixed: true, make: write, closers: []func() error{image.Close}}, nil
}

func (b *builder) planExt4(p *part, tree content.Tree) (*fileSystem, error) {
	image, err := ext4.Plan(tree, ext4.Options{
		UUID:      FileSystemUUID(p.derived),
		Label:     p.label,
		BuildTime: b.buildTime(tree),
		Run:       b.runner(),
	})
	if err != nil {
		return nil, err
	}
	return &fileSystem{length: image.Size(), make: image.Write}, nil
}

func (b *builder) planVFAT(p *part, tree content.Tree) (*fileSystem, error) {
	image, err := fat.Plan(tree, fat.Options{
		VolumeID:   fat.VolumeID(FileSystemUUID(p.derived)),
		Label:      p.label,
		SectorSize: b.fileSystemSectorSize(p.def),
		BuildTime:  b.buildTime(tree),
		Skipped:    func(path, reason string) { b.warn(p, "left out /%s: %s", path, reason) },
	})
	if err != nil {
		return nil, err
	}
	write := func(ctx context.Context, f *os.File, offset, size int64) error {
		return image.Write(ctx, io.NewOffsetWriter(f, offset), size)
	}
	return &fileSystem{length: image.Size(), make: write}, nil
}

// planMkfs plans a file system that a program of its own makes.
func (b *builder) planMkfs(ctx context.Context, p *part, tree content.Tree) (*fileSystem, error) {
	image, err := mkfs.Plan(ctx, tree, mkfs.Options{
		Format:           p.def.Format,
		UUID:             FileSystemUUID(p.derived),
		Label:            p.label,
		SectorSize:       uint32(b.fileSystemSectorSize(p.def)),
		BuildTime:        b.buildTime(tree),
		Compression:      p.def.Compression,
		CompressionLevel: p.def.CompressionLevel,
		Subvolumes:       p.def.Subvolumes,
		DefaultSubvolume: p.def.DefaultSubvolume,
		Minimize:         p.def.Minimize,
		Dir:              b.tempDir(),
		Run:              b.runner(),
	})
	if err != nil {
		return nil, err
	}
	return &fileSystem{length: image.Size(), fixed: image.Fixed(), make: image.Write, closers: []func() error{image.Close}}, nil
}
