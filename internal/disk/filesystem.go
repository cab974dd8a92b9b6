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
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// openFileSystem reads what the partition's file system is to hold and plans
// it.
func (b *builder) openFileSystem(ctx context.Context, p *part) (fileSystem, error) {
	tree, closeTree, err := content.Read(ctx, b.selection(p))
	if err != nil {
		return nil, err
	}
	tree[0].Xattrs = mergeXattrs(tree[0].Xattrs, p.validateXattrs())
	var fs fileSystem
	switch p.def.Format {
	case "erofs":
		fs, err = b.planErofs(p, tree, closeTree)
	case "ext4":
		fs, err = b.planExt4(p, tree, closeTree)
	default:
		err = fmt.Errorf("setting Format=%s is not supported yet", p.def.Format)
	}
	if err != nil {
		closeTree()
		return nil, err
	}
	return fs, nil
}

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

// erofsFileSystem is an EROFS image in a partition.
type erofsFileSystem struct {
	image     *erofs.Image
	closeTree func() error
}

func (b *builder) planErofs(p *part, tree content.Tree, closeTree func() error) (fileSystem, error) {
	image, err := erofs.Plan(tree, erofs.Options{
		UUID:      FileSystemUUID(p.derived),
		BuildTime: b.buildTime(tree),
	})
	if err != nil {
		return nil, err
	}
	return &erofsFileSystem{image, closeTree}, nil
}

func (e *erofsFileSystem) size() int64 { return e.image.Size() }

func (e *erofsFileSystem) write(ctx context.Context, image *os.File, offset, _ int64) error {
	return e.image.Write(ctx, io.NewOffsetWriter(image, offset))
}

func (e *erofsFileSystem) close() error { return e.closeTree() }

// ext4FileSystem is an ext4 file system in a partition.
type ext4FileSystem struct {
	image     *ext4.Image
	closeTree func() error
	// fill says that the file system is to be as large as the partition.
	fill bool
}

func (b *builder) planExt4(p *part, tree content.Tree, closeTree func() error) (fileSystem, error) {
	run := b.Run
	if run == nil {
		run = RunProgram
	}
	image, err := ext4.Plan(tree, ext4.Options{
		UUID:      FileSystemUUID(p.derived),
		Label:     p.label,
		BuildTime: b.buildTime(tree),
		Run:       ext4.RunFunc(run),
	})
	if err != nil {
		return nil, err
	}
	return &ext4FileSystem{image, closeTree, p.def.Minimize == repart.MinimizeOff}, nil
}

func (e *ext4FileSystem) size() int64 { return e.image.Size() }

func (e *ext4FileSystem) write(ctx context.Context, image *os.File, offset, room int64) error {
	if !e.fill {
		room = e.size()
	}
	return e.image.Write(ctx, image, offset, room)
}

func (e *ext4FileSystem) close() error { return e.closeTree() }
