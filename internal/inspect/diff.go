package inspect

import (
	"context"
	"fmt"
	"strings"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// Ignore is what is not compared.
type Ignore struct {
	Mode, Mtime, Owner, Xattrs bool // of files
	UUID                       bool // of disks, partitions, file systems and hash trees
	Layout                     bool // where partitions are and how large, and how files lie in file systems
}

// Comparison is what differs between two images. As JSON it is what
// "mkosi diff --json" prints; what there is nothing to say about is left out.
type Comparison struct {
	// A and B are the images as they were named.
	A, B string
	// Equal says that nothing differs.
	Equal bool
	// Fields are what differs in what the images are, and in the tables of
	// disks.
	Fields []Field `json:",omitempty"`
	// Partitions are those that differ.
	Partitions []PartitionDiff `json:",omitempty"`
	// Tree is what differs between the files of images that are compared as a
	// whole.
	Tree *TreeDiff `json:",omitempty"`
}

// Change says how something differs.
type Change string

// The changes. What is added is only in the second image.
const (
	Added   Change = "added"
	Removed Change = "removed"
	Changed Change = "changed"
)

// Field is a property that differs, and what it is in the two images; "" where
// there is none.
type Field struct {
	Name string
	A, B string
}

// PartitionDiff is a partition that differs.
type PartitionDiff struct {
	Change Change
	// A and B are the numbers, 0 in the image that has no such partition.
	A, B  int
	Type  string
	Label string
	// Fields are the properties that differ, those of the file system too, and
	// Tree its files.
	Fields []Field   `json:",omitempty"`
	Tree   *TreeDiff `json:",omitempty"`
}

// TreeDiff is what differs between the files of two file systems.
type TreeDiff struct {
	Files    []FileDiff    `json:",omitempty"`
	Packages []PackageDiff `json:",omitempty"`
}

// FileDiff is a file, a folder or another entry that differs.
type FileDiff struct {
	Change Change
	Path   string
	Type   string // of the one in the second image, or the one that was removed
	Size   int64  `json:",omitempty"`
	// Fields are the properties that differ. Content has the first byte that
	// does.
	Fields  []Field `json:",omitempty"`
	Content *int64  `json:",omitempty"`
}

// PackageDiff is an installed package that differs.
type PackageDiff struct {
	Change Change
	Name   string
	A, B   string `json:",omitempty"` // versions
}

// fields collects properties that differ.
type fields []Field

func (f *fields) add(name, a, b string) {
	if a != b {
		*f = append(*f, Field{name, a, b})
	}
}

// side is one of the images that are compared.
type side struct {
	*Source
	*Image
}

// Diff compares two images: two disks partition by partition, anything else
// by its files. A disk and something that is none are compared by the files of
// the disk's root, or of its only file system.
func Diff(ctx context.Context, a, b *Source, ignore Ignore) (*Comparison, error) {
	c := &Comparison{A: a.path, B: b.path}
	same, err := sameBytes(ctx, a.r, b.r, a.size, b.size)
	if err != nil {
		return nil, err
	}
	if same {
		c.Equal = true
		return c, nil
	}
	d := &differ{ctx: ctx, ignore: ignore}
	sides := [2]side{}
	for i, s := range []*Source{a, b} {
		image, err := outline(ctx, s)
		if err != nil {
			return nil, err
		}
		sides[i] = side{s, image}
	}
	x, y := sides[0], sides[1]
	if x.Kind == KindDisk && y.Kind == KindDisk {
		err = d.disks(c, x, y)
	} else {
		err = d.whole(c, x, y)
	}
	if err != nil {
		return nil, err
	}
	c.Equal = len(c.Fields)+len(c.Partitions) == 0 && c.Tree == nil
	return c, nil
}

// outline describes an image without its files.
func outline(ctx context.Context, s *Source) (*Image, error) {
	if s.format == FormatTree || s.format == FormatCPIO || s.format == FormatTar {
		return &Image{Kind: KindArchive, Content: &Content{Format: s.format}}, nil
	}
	return Inspect(ctx, s, Options{outline: true})
}

// differ compares.
type differ struct {
	ctx    context.Context
	ignore Ignore
}

// disks compares two disks.
func (d *differ) disks(c *Comparison, a, b side) error {
	f := (*fields)(&c.Fields)
	if !d.ignore.UUID {
		f.add("disk UUID", a.Table.UUID.String(), b.Table.UUID.String())
	}
	if !d.ignore.Layout {
		f.add("size", fmt.Sprint(a.Image.Size), fmt.Sprint(b.Image.Size))
		f.add("sector size", fmt.Sprint(a.Table.SectorSize), fmt.Sprint(b.Table.SectorSize))
	}
	for _, pair := range matchPartitions(a.Partitions, b.Partitions) {
		one, err := d.partitions(a, b, pair[0], pair[1])
		if err != nil {
			return err
		}
		if one != nil {
			c.Partitions = append(c.Partitions, *one)
		}
	}
	return nil
}

// whole compares two images of which at least one is no disk.
func (d *differ) whole(c *Comparison, a, b side) error {
	x, treeA, err := d.mainPiece(a)
	if err != nil {
		return err
	}
	y, treeB, err := d.mainPiece(b)
	if err != nil {
		return err
	}
	switch {
	case treeA == nil && treeB == nil:
		c.Fields, c.Tree, err = d.contents(x, y)
		return err
	case treeA == nil:
		treeA, err = readTree(d.ctx, x.r, x.size, x.content.Format)
	case treeB == nil:
		treeB, err = readTree(d.ctx, y.r, y.size, y.content.Format)
	}
	if err != nil {
		return err
	}
	c.Tree, err = d.trees(treeA, treeB)
	return err
}

// mainPiece is what of an image is compared as a whole: its tree if it has
// one, or a piece.
func (d *differ) mainPiece(s side) (piece, content.Tree, error) {
	if s.tree != nil {
		return piece{}, s.tree, nil
	}
	if s.Kind != KindDisk {
		return piece{s.r, s.Source.size, s.Content}, nil, nil
	}
	var found []*Partition
	for i := range s.Partitions {
		p := &s.Partitions[i]
		if !p.Content.Format.isFileSystem() {
			continue
		}
		if strings.HasPrefix(p.Type, "root-") {
			found = []*Partition{p}
			break
		}
		found = append(found, p)
	}
	if len(found) != 1 {
		return piece{}, nil, fmt.Errorf("%s has %d file systems and no root: a disk can be compared with another disk, or by its root", s.path, len(found))
	}
	p := found[0]
	return piece{s.partition(p), p.Size, &p.Content}, nil, nil
}
