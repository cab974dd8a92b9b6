// Package ext4 makes ext4 file systems with content. mke2fs makes the empty
// file system, in its place in an image; everything in it is then written
// natively, so that owners, times and attributes are kept to the nanosecond,
// the order of a folder on the host does not show, and two file systems with
// the same content are the same bytes whatever the version of mke2fs.
//
// The format is that of the kernel's Documentation/filesystems/ext4.
package ext4

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/program"
)

// BlockSize is the size of blocks in bytes, unless ExtraOptions say otherwise.
const BlockSize = 4096

const (
	// inodeSize is the size of inodes in bytes, unless ExtraOptions say
	// otherwise.
	inodeSize = 256
	// minSize is the smallest size that a file system gets, that of
	// systemd-repart.
	minSize = 32 << 20
	// emptySize is what systemd-repart counts for the file system itself when
	// it guesses a size: the space that an empty one of 1 TiB takes.
	emptySize = 16506880
	// bytesPerInode is how many bytes of space there are for each inode,
	// unless the content needs more inodes.
	bytesPerInode = 16384
	// firstInode is the first one that is free; lost+found has the one before.
	firstInode = 12
)

// Options are the properties of a file system as a whole.
type Options struct {
	// UUID identifies the file system; it is also what names in folders are
	// hashed with.
	UUID uuid.UUID
	// Label is its name, cut to the 16 bytes that there are for it.
	Label string
	// BuildTime is when it was made, in seconds since 1970.
	BuildTime int64
	// SectorSize is that of the disk, in bytes; zero means 4096.
	SectorSize uint32
	// ExtraOptions are added to the command line of mke2fs. Those that are
	// known to make a file system that can be filled are allowed.
	ExtraOptions []string
	// Run runs mke2fs.
	Run program.RunFunc
}

// Image is a file system that is about to be made.
type Image struct {
	options  Options
	settings settings
	tree     content.Tree
	inodes   int64
	size     int64
}

// Plan finds out how large the file system has to be. The tree must not change
// afterwards.
func Plan(tree content.Tree, o Options) (*Image, error) {
	if err := tree.Check(); err != nil {
		return nil, err
	}
	s, err := parseOptions(o.ExtraOptions)
	if err != nil {
		return nil, err
	}
	im := &Image{options: o, settings: s, tree: tree, inodes: firstInode}
	used := int64(0)
	dirs := map[string]int64{}
	for i := range tree {
		e := &tree[i]
		dirs[e.Parent()] += int64(direntHeader+len(e.Name())+3) &^ 3
		if e.HardLink {
			continue
		}
		im.inodes++
		size, err := im.entrySize(e)
		if err != nil {
			return nil, fmt.Errorf("/%s: %w", e.Path, err)
		}
		used += size
	}
	for _, size := range dirs {
		used += roundUp(size+size/16, s.blockSize) // names do not fill blocks to the end
	}
	used += roundUp(im.inodes*s.inodeSize, s.blockSize)
	im.size = max(minSize, roundUp((emptySize+used)*3/2, BlockSize))
	return im, nil
}

// entrySize is how many bytes an entry takes beside its inode and its name.
func (im *Image) entrySize(e *content.Entry) (int64, error) {
	g, used := im.settings.geometry, int64(0)
	for _, r := range e.Ranges() {
		used += roundUp(r.Offset+r.Size, g.blockSize) - r.Offset/g.blockSize*g.blockSize
	}
	if n := int64(len(e.Ranges())); n > extentsInline {
		used += roundUp(n*2*g.blockSize/g.perNode(), g.blockSize)
	}
	if len(e.Target) >= fastSymlink {
		used += g.blockSize
	}
	x, err := g.splitXattrs(e.Xattrs)
	if x.block != nil {
		used += g.blockSize
	}
	if e.IsDir() {
		used += g.blockSize
	}
	return used, err
}

// Size is how large the file system is to be, in bytes: half as much again as
// the content takes, as Minimize=guess of repart.d(5) has it.
func (im *Image) Size() int64 { return im.size }

// Write makes the file system in the file, at an offset, size bytes large. The
// file must be all zero there.
func (im *Image) Write(ctx context.Context, f *os.File, offset, size int64) error {
	if err := im.format(ctx, f.Name(), offset, size); err != nil {
		return err
	}
	v, err := openVolume(f, offset, size)
	if err != nil {
		return fmt.Errorf("reading what mke2fs made: %w", err)
	}
	if err := im.populate(ctx, v); err != nil {
		return err
	}
	return v.flush()
}

// format has mke2fs make an empty file system.
func (im *Image) format(ctx context.Context, path string, offset, size int64) error {
	id := im.options.UUID.String()
	set := im.settings
	extended := append([]string{
		fmt.Sprintf("offset=%d", offset), "hash_seed=" + id,
		"nodiscard", "lazy_itable_init=1", "lazy_journal_init=1", "root_owner=0:0",
	}, set.extended...)
	argv := []string{
		"mke2fs", "-q", "-F", "-t", "ext4", "-b", fmt.Sprint(set.blockSize), "-I", fmt.Sprint(set.inodeSize), "-m", "0",
		"-U", id, "-L", label(im.options.Label), "-O", strings.Join(slices.Concat(features, set.features), ","),
		"-E", strings.Join(extended, ","),
	}
	if !set.inodes {
		argv = append(argv, "-N", fmt.Sprint(max(size/bytesPerInode, im.inodes+im.inodes/8)))
	}
	argv = append(append(argv, set.others...), path, fmt.Sprintf("%dk", size/1024))
	// The first variable is for e2fsprogs before 1.47.1, the second for later
	// ones; the third keeps the host's defaults out; the fourth must not be
	// larger than a block.
	env := []string{
		fmt.Sprintf("E2FSPROGS_FAKE_TIME=%d", max(1, im.options.BuildTime)),
		fmt.Sprintf("SOURCE_DATE_EPOCH=%d", max(1, im.options.BuildTime)),
		"MKE2FS_CONFIG=/dev/null",
		fmt.Sprintf("MKE2FS_DEVICE_SECTSIZE=%d", min(int64(cmp.Or(im.options.SectorSize, BlockSize)), set.blockSize)),
	}
	err := im.options.Run(ctx, program.Command{Args: argv, Env: env})
	if errors.Is(err, fs.ErrNotExist) {
		return &program.MissingError{Program: "mke2fs", Package: "e2fsprogs", Purpose: "Format=ext4"}
	}
	if err != nil {
		return fmt.Errorf("making an ext4 file system: %w", err)
	}
	return nil
}

// label cuts a label to what fits, without cutting a character in two.
func label(s string) string {
	for len(s) > 16 {
		r := []rune(s)
		s = string(r[:len(r)-1])
	}
	return s
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }
