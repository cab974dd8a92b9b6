package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

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
	extra := b.mkfsOptions(p.def.Format)
	switch p.def.Format {
	case repart.FormatErofs:
		fs, err := b.planErofs(ctx, p, tree, extra)
		if !errors.Is(err, erofs.ErrNeedsProgram) {
			return fs, err
		}
	case repart.FormatExt4:
		return b.planExt4(p, tree, extra)
	case repart.FormatVFAT:
		return b.planVFAT(p, tree, extra)
	}
	return b.planMkfs(ctx, p, tree, extra)
}

// mkfsOptions are the options that the user adds to those of the program that
// makes file systems of a format: words, without quotes.
func (b *builder) mkfsOptions(format string) []string {
	if b.Getenv == nil {
		return nil
	}
	return strings.Fields(b.Getenv("SYSTEMD_REPART_MKFS_OPTIONS_" + strings.ToUpper(format)))
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

func (b *builder) planErofs(ctx context.Context, p *part, tree content.Tree, extra []string) (*fileSystem, error) {
	if !mkfs.NativeErofs(p.def.Compression) {
		return nil, erofs.ErrNeedsProgram
	}
	level, err := strconv.Atoi(cmp.Or(p.def.CompressionLevel, "0"))
	if err != nil {
		return nil, fmt.Errorf("setting CompressionLevel=%s is no number, as erofs needs it", p.def.CompressionLevel)
	}
	o, err := erofs.ParseOptions(erofs.Options{
		UUID:        FileSystemUUID(p.derived),
		BuildTime:   b.buildTime(tree),
		Compression: erofs.Compression(p.def.Compression),
		Level:       level,
		TempDir:     b.tempDir(),
	}, extra)
	if err != nil {
		return nil, err
	}
	image, err := erofs.Plan(ctx, tree, o)
	if err != nil {
		return nil, err
	}
	write := func(ctx context.Context, f *os.File, offset, _ int64) error { return image.Write(ctx, f, offset) }
	return &fileSystem{length: image.Size(), fixed: true, make: write, closers: []func() error{image.Close}}, nil
}

func (b *builder) planExt4(p *part, tree content.Tree, extra []string) (*fileSystem, error) {
	image, err := ext4.Plan(tree, ext4.Options{
		UUID:         FileSystemUUID(p.derived),
		Label:        p.label,
		BuildTime:    b.buildTime(tree),
		SectorSize:   uint32(b.fileSystemSectorSize(p.def)),
		ExtraOptions: extra,
		Run:          b.runner(),
	})
	if err != nil {
		return nil, err
	}
	return &fileSystem{length: image.Size(), make: image.Write}, nil
}

func (b *builder) planVFAT(p *part, tree content.Tree, extra []string) (*fileSystem, error) {
	bits, err := fatBits(extra)
	if err != nil {
		return nil, err
	}
	image, err := fat.Plan(tree, fat.Options{
		Bits:       bits,
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

// fatBits is what -F among the options of mkfs.vfat says; others are for that
// program, which is not used.
func fatBits(options []string) (bits int, err error) {
	text := strings.Join(options, " ")
	if text == "" {
		return 0, nil
	}
	value, ok := strings.CutPrefix(text, "-F")
	if bits, err = strconv.Atoi(strings.TrimSpace(value)); !ok || err != nil {
		return 0, fmt.Errorf("of the options of mkfs.vfat in SYSTEMD_REPART_MKFS_OPTIONS_VFAT only -F is supported, not %q", text)
	}
	return bits, nil
}

// planMkfs plans a file system that a program of its own makes.
func (b *builder) planMkfs(ctx context.Context, p *part, tree content.Tree, extra []string) (*fileSystem, error) {
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
		ExtraOptions:     extra,
		Dir:              b.tempDir(),
		Run:              b.runner(),
	})
	if err != nil {
		return nil, err
	}
	return &fileSystem{length: image.Size(), fixed: image.Fixed(), make: image.Write, closers: []func() error{image.Close}}, nil
}
