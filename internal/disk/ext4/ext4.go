// Package ext4 makes ext4 file systems with content. mke2fs makes the empty
// file system, in its place in an image; everything in it is then written
// natively, so that owners, times and attributes are kept to the nanosecond,
// the order of a folder on the host does not show, and two file systems with
// the same content are the same bytes whatever the version of mke2fs.
//
// The format is that of the kernel's Documentation/filesystems/ext4.
package ext4

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/program"
)

// BlockSize is the size of blocks in bytes.
const BlockSize = 4096

const (
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

// features are what file systems are made with: what every kernel since 4.4
// and every e2fsprogs since 1.43 knows.
var features = []string{
	"none", "has_journal", "ext_attr", "resize_inode", "dir_index", "filetype", "extent", "64bit",
	"flex_bg", "sparse_super", "large_file", "huge_file", "dir_nlink", "extra_isize", "metadata_csum",
}

// Options are the properties of a file system as a whole.
type Options struct {
	// UUID identifies the file system; it is also what names in folders are
	// hashed with.
	UUID uuid.UUID
	// Label is its name, cut to the 16 bytes that there are for it.
	Label string
	// BuildTime is when it was made, in seconds since 1970.
	BuildTime int64
	// Run runs mke2fs.
	Run program.RunFunc
}

// Image is a file system that is about to be made.
type Image struct {
	options Options
	tree    content.Tree
	inodes  int64
	size    int64
}

// Plan finds out how large the file system has to be. The tree must not change
// afterwards.
func Plan(tree content.Tree, o Options) (*Image, error) {
	if err := tree.Check(); err != nil {
		return nil, err
	}
	im := &Image{options: o, tree: tree, inodes: firstInode}
	used := int64(0)
	dirs := map[string]int64{}
	for i := range tree {
		e := &tree[i]
		dirs[e.Parent()] += int64(direntHeader+len(e.Name())+3) &^ 3
		if e.HardLink {
			continue
		}
		im.inodes++
		used += roundUp(e.Size, BlockSize)
		if len(e.Target) >= fastSymlink {
			used += BlockSize
		}
		x, err := splitXattrs(e.Xattrs)
		if err != nil {
			return nil, fmt.Errorf("/%s: %w", e.Path, err)
		}
		if x.block != nil {
			used += BlockSize
		}
		if e.IsDir() {
			used += BlockSize
		}
	}
	for _, size := range dirs {
		used += roundUp(size+size/16, BlockSize) // names do not fill blocks to the end
	}
	used += roundUp(im.inodes*inodeSize, BlockSize)
	im.size = max(minSize, roundUp((emptySize+used)*3/2, BlockSize))
	return im, nil
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
	inodes := max(size/bytesPerInode, im.inodes+im.inodes/8)
	id := im.options.UUID.String()
	argv := []string{
		"mke2fs", "-q", "-F", "-t", "ext4", "-b", fmt.Sprint(BlockSize), "-I", fmt.Sprint(inodeSize), "-m", "0",
		"-N", fmt.Sprint(inodes), "-U", id, "-L", label(im.options.Label), "-O", strings.Join(features, ","),
		"-E", fmt.Sprintf("offset=%d,hash_seed=%s,nodiscard,lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0", offset, id),
		path, fmt.Sprintf("%dk", size/1024),
	}
	// The first variable is for e2fsprogs before 1.47.1, the second for later
	// ones; the third keeps the host's defaults out.
	env := []string{
		fmt.Sprintf("E2FSPROGS_FAKE_TIME=%d", max(1, im.options.BuildTime)),
		fmt.Sprintf("SOURCE_DATE_EPOCH=%d", max(1, im.options.BuildTime)),
		"MKE2FS_CONFIG=/dev/null",
	}
	if err := im.options.Run(ctx, program.Command{Args: argv, Env: env}); err != nil {
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
