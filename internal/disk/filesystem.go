package disk

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/erofs"
	"github.com/mkosi-go/mkosi/internal/disk/ext4"
	"github.com/mkosi-go/mkosi/internal/disk/fat"
	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// openFileSystem reads what the partition's file system is to hold and plans
// it.
func (b *builder) openFileSystem(ctx context.Context, p *part) (source, error) {
	tree, closeTree, err := content.Read(ctx, b.selection(p))
	if err != nil {
		return nil, err
	}
	tree[0].Xattrs = mergeXattrs(tree[0].Xattrs, p.validateXattrs())
	fs, err := b.planFileSystem(ctx, p, tree)
	if err != nil {
		closeTree()
		return nil, err
	}
	fs.closeTree = closeTree
	return fs, nil
}

// planFileSystem plans the file system of a partition.
func (b *builder) planFileSystem(ctx context.Context, p *part, tree content.Tree) (*fileSystem, error) {
	switch p.def.Format {
	case repart.FormatErofs:
		return b.planErofs(ctx, p, tree)
	case repart.FormatExt4:
		return b.planExt4(p, tree)
	case repart.FormatVFAT:
		return b.planVFAT(p, tree)
	}
	return nil, fmt.Errorf("setting Format=%s is not supported yet", p.def.Format)
}

// fileSystem is a planned file system with the tree that it is filled with.
type fileSystem struct {
	length int64
	// make writes the file system, room bytes large where it can be larger
	// than its content.
	make      func(ctx context.Context, image *os.File, offset, room int64) error
	closeTree func() error
}

func (f *fileSystem) size() int64 { return f.length }

func (f *fileSystem) write(ctx context.Context, image *os.File, offset, room int64) error {
	return f.make(ctx, image, offset, room)
}

func (f *fileSystem) close() error { return f.closeTree() }

// mergeXattrs adds attributes, replacing those of the same name.
func mergeXattrs(old, added []content.Xattr) []content.Xattr {
	merged := slices.Clone(added)
	for _, x := range old {
		same := func(y content.Xattr) bool { return x.Name == y.Name }
		if !slices.ContainsFunc(added, same) {
			merged = append(merged, x)
		}
	}
	slices.SortFunc(merged, func(a, b content.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return merged
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

func (b *builder) planErofs(ctx context.Context, p *part, tree content.Tree) (*fileSystem, error) {
	image, err := erofs.Plan(ctx, tree, erofs.Options{
		UUID:      FileSystemUUID(p.derived),
		BuildTime: b.buildTime(tree),
	})
	if err != nil {
		return nil, err
	}
	write := func(ctx context.Context, f *os.File, offset, room int64) error {
		if err := checkRoom(image.Size(), room); err != nil {
			return err
		}
		return image.Write(ctx, f, offset)
	}
	return &fileSystem{length: image.Size(), make: write}, nil
}

func (b *builder) planExt4(p *part, tree content.Tree) (*fileSystem, error) {
	run := b.Run
	if run == nil {
		run = program.Run
	}
	image, err := ext4.Plan(tree, ext4.Options{
		UUID:      FileSystemUUID(p.derived),
		Label:     p.label,
		BuildTime: b.buildTime(tree),
		Run:       run,
	})
	if err != nil {
		return nil, err
	}
	write := func(ctx context.Context, f *os.File, offset, room int64) error {
		if p.minimized() {
			room = image.Size()
		}
		return image.Write(ctx, f, offset, room)
	}
	return &fileSystem{length: image.Size(), make: write}, nil
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
	write := func(ctx context.Context, f *os.File, offset, room int64) error {
		if p.minimized() {
			room = image.Size()
		}
		return image.Write(ctx, io.NewOffsetWriter(f, offset), room)
	}
	return &fileSystem{length: image.Size(), make: write}, nil
}
