package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// trees compares two trees, which are sorted, and returns nil if they are the
// same.
func (d *differ) trees(a, b content.Tree) (*TreeDiff, error) {
	t := &TreeDiff{}
	packagesA, err := newIndex(a).packages()
	if err != nil {
		return nil, err
	}
	packagesB, err := newIndex(b).packages()
	if err != nil {
		return nil, err
	}
	t.Packages = diffPackages(packagesA, packagesB)
	var pairs []filePair
	for len(a) > 0 || len(b) > 0 {
		order := 0
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = content.ComparePaths(a[0].Path, b[0].Path)
		}
		switch {
		case order < 0:
			pairs = append(pairs, filePair{&a[0], nil})
			a = a[1:]
		case order > 0:
			pairs = append(pairs, filePair{nil, &b[0]})
			b = b[1:]
		default:
			pairs = append(pairs, filePair{&a[0], &b[0]})
			a, b = a[1:], b[1:]
		}
	}
	if t.Files, err = d.files(pairs); err != nil {
		return nil, err
	}
	if len(t.Files)+len(t.Packages) == 0 {
		return nil, nil
	}
	return t, nil
}

// filePair is an entry in both trees; one may be nil.
type filePair struct{ a, b *content.Entry }

// files compares entries side by side, and returns those that differ in order.
func (d *differ) files(pairs []filePair) ([]FileDiff, error) {
	const batch = 64
	batches := make([][]FileDiff, (len(pairs)+batch-1)/batch)
	g, ctx := errgroup.WithContext(d.ctx)
	g.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	for i := range batches {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			for _, p := range pairs[i*batch : min((i+1)*batch, len(pairs))] {
				one, err := d.file(ctx, p)
				if err != nil {
					return err
				}
				if one != nil {
					batches[i] = append(batches[i], *one)
				}
			}
			return nil
		})
	}
	err := errors.Join(g.Wait(), d.ctx.Err())
	return slices.Concat(batches...), err
}

// file compares one entry, and returns nil if it is the same in both trees.
func (d *differ) file(ctx context.Context, p filePair) (*FileDiff, error) {
	e, change := p.b, Changed
	switch {
	case p.a == nil:
		change = Added
	case p.b == nil:
		e, change = p.a, Removed
	}
	one := &FileDiff{Change: change, Path: "/" + e.Path, Type: entryType(e)}
	if e.Type() == unix.S_IFREG {
		one.Size = e.Size
	}
	if change != Changed {
		return one, nil
	}
	d.fields((*fields)(&one.Fields), p.a, p.b)
	linked := p.a.HardLink && p.b.HardLink && p.a.Link == p.b.Link // and compared there
	if p.a.Type() == unix.S_IFREG && p.b.Type() == unix.S_IFREG && !linked && p.a.Size+p.b.Size > 0 {
		at, err := diffContent(ctx, p.a, p.b)
		if err != nil {
			return nil, fmt.Errorf("comparing /%s: %w", e.Path, err)
		}
		if at >= 0 {
			one.Content = &at
		}
	}
	if len(one.Fields) == 0 && one.Content == nil {
		return nil, nil
	}
	return one, nil
}

// diffContent returns the first byte in which two files differ, or -1.
func diffContent(ctx context.Context, a, b *content.Entry) (at int64, err error) {
	if a.Size == 0 || b.Size == 0 {
		return 0, nil
	}
	f, err := a.Open()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	g, err := b.Open()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	return firstDifference(ctx, io.LimitReader(f, a.Size), io.LimitReader(g, b.Size))
}

// fields compares everything but the content.
func (d *differ) fields(f *fields, a, b *content.Entry) {
	f.add("type", entryType(a), entryType(b))
	if a.Type() != b.Type() {
		return
	}
	if !d.ignore.Mode {
		f.add("mode", fmt.Sprintf("%04o", a.Mode&0o7777), fmt.Sprintf("%04o", b.Mode&0o7777))
	}
	if !d.ignore.Owner {
		f.add("owner", fmt.Sprintf("%d:%d", a.UID, a.GID), fmt.Sprintf("%d:%d", b.UID, b.GID))
	}
	if a.Type() == unix.S_IFREG {
		f.add("size", fmt.Sprint(a.Size), fmt.Sprint(b.Size))
	}
	if !d.ignore.Mtime {
		f.add("mtime", fmt.Sprintf("%d.%09d", a.Mtime, a.MtimeNsec), fmt.Sprintf("%d.%09d", b.Mtime, b.MtimeNsec))
	}
	f.add("target", a.Target, b.Target)
	if t := a.Type(); t == unix.S_IFCHR || t == unix.S_IFBLK {
		f.add("device", fmt.Sprintf("%d:%d", a.Major, a.Minor), fmt.Sprintf("%d:%d", b.Major, b.Minor))
	}
	f.add("hard link to", linkOf(a), linkOf(b))
	if !d.ignore.Xattrs {
		xattrFields(f, a.Xattrs, b.Xattrs)
	}
}

func linkOf(e *content.Entry) string {
	if e.HardLink {
		return "/" + e.Link
	}
	return ""
}

// xattrFields compares extended attributes, which are sorted.
func xattrFields(f *fields, a, b []content.Xattr) {
	value := func(x content.Xattr) string { return fmt.Sprintf("0x%x", x.Value) }
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Name < b[0].Name:
			f.add(a[0].Name, value(a[0]), "")
			a = a[1:]
		case len(a) == 0 || a[0].Name > b[0].Name:
			f.add(b[0].Name, "", value(b[0]))
			b = b[1:]
		default:
			f.add(a[0].Name, value(a[0]), value(b[0]))
			a, b = a[1:], b[1:]
		}
	}
}

// entryType names what an entry is.
func entryType(e *content.Entry) string {
	switch e.Type() {
	case unix.S_IFDIR:
		return "folder"
	case unix.S_IFREG:
		return "file"
	case unix.S_IFLNK:
		return "symbolic link"
	case unix.S_IFCHR:
		return "character device"
	case unix.S_IFBLK:
		return "block device"
	case unix.S_IFIFO:
		return "pipe"
	}
	return "socket"
}
