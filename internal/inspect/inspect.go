package inspect

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// Options say what is looked for in an image.
type Options struct {
	// Certificates are those that signatures are trusted with.
	Certificates []*x509.Certificate
	// Blame finds the files that bad blocks belong to.
	Blame bool

	// outline leaves out what takes time: files, and checks of hashes.
	outline bool
}

// Inspect describes an image, and checks its hashes and signatures. What is
// wrong with a part of it is said there; the error is for an image of which
// nothing can be said.
func Inspect(ctx context.Context, s *Source, o Options) (*Image, error) {
	im := &Image{Path: s.path, Size: s.size, Compression: string(s.compression)}
	var err error
	switch s.format {
	case FormatGPT:
		err = im.disk(ctx, s, o)
	case FormatUnknown, FormatEmpty:
		err = fmt.Errorf("%s is no image that mkosi knows: it has neither a partition table nor a file system, nor is it an archive", s.path)
		if s.format == FormatEmpty {
			err = fmt.Errorf("there is nothing in %s but zeros", s.path)
		}
	case FormatMBR:
		err = fmt.Errorf("%s has a partition table of the old kind (MBR), which is not supported: only GPT is", s.path)
	case FormatTree, FormatCPIO, FormatTar:
		im.Kind = KindArchive
		if s.format == FormatTree {
			im.Kind = KindDirectory
		}
		im.Content = &Content{Format: s.format}
		err = im.Content.tree(ctx, s.tree, o, false)
	default:
		im.Kind = KindVolume
		if s.format.isFileSystem() {
			im.Kind = KindFileSystem
		} else if s.format == FormatPE {
			im.Kind = KindPE
		}
		im.Content = &Content{Format: s.format}
		if s.format == FormatISO {
			im.boot(s)
		}
		// What was found out before something went wrong is worth telling.
		err = im.Content.read(ctx, s.r, s.size, o, true)
		if err != nil && im.Content.FileSystem != nil && ctx.Err() == nil {
			im.Content.Problem, err = err.Error(), nil
		}
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return im, nil
}

// disk describes a disk with all its partitions.
func (im *Image) disk(ctx context.Context, s *Source, o Options) error {
	im.Kind = KindDisk
	found, err := gpt.Read(s.r, s.size, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	t := found.Table
	im.Table = &Table{
		UUID: t.UUID, SectorSize: t.SectorSize, Primary: state(found.Primary), Backup: state(found.Backup),
		FirstUsable: t.FirstUsable, LastUsable: t.LastUsable,
	}
	for _, p := range t.Partitions {
		// Offsets were compared with the size of the disk.
		part := Partition{
			Number: p.Number, TypeUUID: p.Type, Type: typeName(p), Label: p.Name, UUID: p.UUID, Flags: p.Flags, Attributes: attributes(p.Flags),
			Offset: int64(p.First) * int64(t.SectorSize), Size: int64(p.Last-p.First+1) * int64(t.SectorSize),
		}
		esp := part.Type == string(repart.RoleESP) || part.Type == string(repart.RoleXBOOTLDR)
		r := s.partition(&part)
		part.Content.Format = Detect(r, part.Size)
		if isSignature(&part, r) {
			part.Content.Format = FormatSignature
		}
		if err := part.Content.read(ctx, r, part.Size, o, esp); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			part.Content.Problem = err.Error()
		}
		im.Partitions = append(im.Partitions, part)
	}
	im.boot(s)
	return im.verity(ctx, s, o)
}

// partition is what a partition holds.
func (s *Source) partition(p *Partition) *io.SectionReader {
	return io.NewSectionReader(s.r, p.Offset, p.Size)
}

func state(err error) string {
	if err == nil {
		return Good
	}
	return err.Error()
}

// typeName is the name of a partition's type, or its UUID.
func typeName(p gpt.Partition) string {
	t, err := repart.ParsePartitionType(p.Type.String(), "")
	if err != nil {
		return p.Type.String()
	}
	return t.Name
}

// attributes names the attribute bits of UEFI and of the Discoverable
// Partitions Specification.
func attributes(flags uint64) []string {
	var names []string
	for _, a := range []struct {
		bit  uint
		name string
	}{{0, "required"}, {1, "no-block-io"}, {2, "legacy-boot"}, {59, "grow-file-system"}, {60, "read-only"}, {63, "no-auto"}} {
		if flags&(1<<a.bit) != 0 {
			names = append(names, a.name)
		}
	}
	return names
}

// read describes what r holds, size bytes large, whose format is known. On the
// partition that firmware starts programs from, all of these are described.
func (c *Content) read(ctx context.Context, r io.ReaderAt, size int64, o Options, programs bool) error {
	var err error
	switch c.Format {
	case FormatLUKS:
		return c.luks(r)
	case FormatSwap:
		return c.swap(r, size)
	case FormatVerity:
		return c.hashes(r)
	case FormatSignature:
		return c.signature(r, size, o)
	case FormatPE:
		p, err := readProgram(io.NewSectionReader(r, 0, size), size, o.Certificates)
		c.Program = p
		return err
	}
	if !c.Format.isFileSystem() {
		return nil
	}
	describe := driverOf(c.Format).describe
	if describe == nil {
		return fmt.Errorf("nothing more is known of %s", c.Format)
	}
	if c.FileSystem, err = describe(r, size); err != nil {
		return err
	}
	if o.outline {
		return nil
	}
	tree, err := readTree(ctx, r, size, c.Format)
	if err != nil {
		return err
	}
	return c.tree(ctx, tree, o, programs)
}

// tree describes files.
func (c *Content) tree(ctx context.Context, tree content.Tree, o Options, programs bool) error {
	c.Files = len(tree) - 1
	for i := range tree {
		if e := &tree[i]; e.Type() == unix.S_IFREG && !e.HardLink {
			c.Bytes += min(e.Size, math.MaxInt64-c.Bytes)
		}
	}
	var err, err2 error
	c.Releases, err = newIndex(tree).releases()
	if programs {
		c.Programs, err2 = findPrograms(ctx, tree, o.Certificates)
	}
	return errors.Join(err, err2)
}
