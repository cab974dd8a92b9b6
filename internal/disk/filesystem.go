package disk

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/mkfs"
)

// openFileSystem reads what the partition's file system is to hold and plans
// it.
func (b *builder) openFileSystem(ctx context.Context, p *part) (source, error) {
	tree, closeTree, err := content.Read(ctx, b.selection(p))
	if err != nil {
		return nil, err
	}
	if err := b.addValidation(ctx, p, tree); err != nil {
		return nil, errors.Join(err, closeTree())
	}
	fs, err := b.planFileSystem(ctx, p, tree)
	if err != nil {
		return nil, errors.Join(err, closeTree())
	}
	fs.minimized = p.minimized()
	fs.closers = append([]func() error{closeTree}, fs.closers...)
	return fs, nil
}

// addValidation gives the top folder the attributes of AddValidateFS=. Where
// that is on by default only, a program that would drop them is no reason to
// stop.
func (b *builder) addValidation(ctx context.Context, p *part, tree content.Tree) error {
	xattrs := p.validateXattrs()
	if len(xattrs) > 0 && p.def.AddValidateFS == nil {
		kept, err := mkfs.KeepsTopAttributes(ctx, p.def.Format, b.runner())
		if err != nil {
			return err
		}
		if !kept {
			b.warn(p, "the attributes of AddValidateFS= are left out, since the programs for %s on this machine drop them", p.def.Format)
			return nil
		}
	}
	tree[0].Xattrs = mergeXattrs(tree[0].Xattrs, xattrs)
	return nil
}

// fileSystem is a planned file system.
type fileSystem struct {
	length int64
	// fixed says that the content decides on the size alone.
	fixed bool
	// make writes the file system, size bytes large unless that is fixed.
	make func(ctx context.Context, image *os.File, offset, size int64) error
	// minimized says that it gets no more than the size it needs.
	minimized bool
	// closers end the use of what it is made from, the last one first.
	closers []func() error
}

func (f *fileSystem) size() int64 { return f.length }

func (f *fileSystem) write(ctx context.Context, image *os.File, offset, room int64) error {
	if f.fixed || f.minimized {
		if err := checkRoom(f.length, room); err != nil {
			return err
		}
		room = f.length
	}
	return f.make(ctx, image, offset, room)
}

func (f *fileSystem) close() (err error) {
	for _, c := range slices.Backward(f.closers) {
		err = errors.Join(err, c())
	}
	return err
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
