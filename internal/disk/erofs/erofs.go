// Package erofs writes and reads EROFS images, the kernel's read-only file
// system. The format is that of the kernel's
// Documentation/filesystems/erofs.rst.
//
// A plain image is planned first, from the metadata alone, so that its size is
// known before anything is written; then all inodes and contents are written
// side by side, straight to their place, each file being read once.
//
// How large a compressed image becomes is known only once everything is
// compressed. Planning therefore compresses, on all processors and in an order
// that does not depend on their number, into a temporary file or straight into
// the image; behind the compressed content, writing then adds the inodes, which
// say where it is.
//
// Files of foreign images are decompressed only when they are opened.
package erofs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// BlockSize is the unit that images are made of, in bytes.
const BlockSize = 4096

const slotSize = 32 // what inode numbers count in

// noBlock is the place of data that has no blocks.
const noBlock = math.MaxUint32

// Compression says how the content of files is stored.
type Compression string

// What Options.Compression can be. LZ4 images can be mounted by kernels from
// 5.13 on, 6.1 with fragments, zstd images from 6.10 on.
const (
	Uncompressed Compression = ""
	LZ4          Compression = "lz4"
	Zstd         Compression = "zstd"
)

// DefaultChunkSize is the ChunkSize of images whose options do not say one.
const DefaultChunkSize = 128 << 10

// minChunkSize and maxChunkSize bound Options.ChunkSize; the larger is the
// largest compressed unit that kernels take.
const (
	minChunkSize = 16 << 10
	maxChunkSize = 1 << 20
)

// Options are the properties of a file system as a whole. The zero value is
// good.
type Options struct {
	// UUID identifies the file system.
	UUID uuid.UUID
	// Label is its name, at most 15 bytes long.
	Label string
	// BuildTime is when it was made, in seconds since 1970. Files that were
	// last modified at this very time take less space.
	BuildTime int64
	// FixedTime has all files last modified at BuildTime.
	FixedTime bool
	// AllRoot has all files owned by root.
	AllRoot bool

	// Compression is how the content of files is stored.
	Compression Compression
	// Level is how much time compression takes for a better ratio, for zstd
	// from 1 to 22; zero means 3. There are four steps: below 3, below 6,
	// below 10, and from 10 on. LZ4 has no levels.
	Level int
	// ChunkSize is how much of a file is compressed together at most, in bytes:
	// a multiple of BlockSize between 16 KiB and 1 MiB. Zero means
	// DefaultChunkSize. To read a byte, all that precedes it in its chunk is
	// decompressed.
	ChunkSize int
	// Fragments has small files compressed together. Zstd images always have
	// them, as all kernels that can read zstd can read them.
	Fragments bool

	// TempDir is where a temporary file without a name keeps compressed content
	// between Plan and Write; empty means os.TempDir.
	TempDir string
	// File, when set, is used instead: the image itself, in which the file
	// system is going to start at Offset. Nothing is copied then. Write must be
	// called with the same two.
	File   *os.File
	Offset int64
}

// Image is a planned file system.
type Image struct {
	options Options
	nodes   []*node
	root    *node
	blocks  uint32
	// meta is the block that inode numbers are relative to.
	meta uint32
	// shared are the extended attributes that several inodes refer to, and
	// sharedBlock is where they start.
	shared      []byte
	sharedBlock uint32

	// scratch holds the compressed content, blocks 1 to packedEnd of a file
	// system that starts at scratchOffset; nil when there is none.
	scratch       *os.File
	scratchOffset int64
	packedEnd     int64
	// packed is the inode that is made of all small files; nil means none.
	packed *node
}

// Plan decides where everything goes, and compresses if that is asked for. The
// tree must not change afterwards. The caller closes the image.
func Plan(ctx context.Context, tree content.Tree, o Options) (_ *Image, err error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if err := tree.Check(); err != nil {
		return nil, err
	}
	im := &Image{options: o, packedEnd: 1}
	tree = o.adjust(tree)
	defer func() {
		if err != nil {
			err = errors.Join(err, im.Close())
		}
	}()
	if err := im.build(tree); err != nil {
		return nil, err
	}
	if im.compressed() {
		if err := im.compress(ctx); err != nil {
			return nil, err
		}
	}
	if err := im.place(); err != nil {
		return nil, err
	}
	return im, nil
}

// complete checks the options and sets those that were left out.
func (o *Options) complete() error {
	if len(o.Label) > 15 {
		return fmt.Errorf("label %q is longer than 15 bytes", o.Label)
	}
	switch o.Compression {
	case Uncompressed, LZ4:
		if o.Level != 0 {
			return fmt.Errorf("compression level %d: only zstd has levels", o.Level)
		}
	case Zstd:
		if o.Level < 0 || o.Level > 22 {
			return fmt.Errorf("compression level %d is not between 0 and 22", o.Level)
		}
		o.Fragments = true
	default:
		return fmt.Errorf("compression %q is none of lz4, zstd", o.Compression)
	}
	if o.ChunkSize == 0 {
		o.ChunkSize = DefaultChunkSize
	}
	if o.ChunkSize < minChunkSize || o.ChunkSize > maxChunkSize || o.ChunkSize%BlockSize != 0 {
		return fmt.Errorf("chunks of %d bytes are not a multiple of %d between %d and %d", o.ChunkSize, BlockSize, minChunkSize, maxChunkSize)
	}
	return nil
}

// adjust returns the tree with what the options say about all files.
func (o *Options) adjust(tree content.Tree) content.Tree {
	if !o.FixedTime && !o.AllRoot {
		return tree
	}
	tree = slices.Clone(tree)
	for i := range tree {
		e := &tree[i]
		if o.FixedTime {
			e.Mtime, e.MtimeNsec = o.BuildTime, 0
		}
		if o.AllRoot {
			e.UID, e.GID = 0, 0
		}
	}
	return tree
}

// Size is the size of the file system in bytes.
func (im *Image) Size() int64 { return int64(im.blocks) * BlockSize }

// Close gives the temporary file back. It does not close Options.File.
func (im *Image) Close() error {
	if im.scratch == nil || im.scratch == im.options.File {
		return nil
	}
	err := im.scratch.Close()
	im.scratch = nil
	return err
}

// Write writes the file system to w at an offset. From there on w must be all
// zero as far as Size reaches, but for what Plan wrote there. When it fails, w
// holds a part of the image.
func (im *Image) Write(ctx context.Context, w io.WriterAt, offset int64) error {
	if err := im.copyPacked(ctx, w, offset); err != nil {
		return err
	}
	head := &headWriter{w: io.NewOffsetWriter(w, offset)}
	g, ctx := errgroup.WithContext(ctx)
	workers := max(2, runtime.GOMAXPROCS(0))
	queue := make(chan *node, workers)
	g.Go(func() error {
		defer close(queue)
		for _, n := range im.nodes {
			select {
			case queue <- n:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range workers {
		g.Go(func() error {
			buf := make([]byte, copySize)
			for n := range queue {
				if err := im.writeNode(ctx, head, n, buf); err != nil {
					return fmt.Errorf("/%s: %w", n.entry.Path, err)
				}
			}
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if len(im.shared) > 0 {
		if _, err := head.WriteAt(im.shared, int64(im.sharedBlock)*BlockSize); err != nil {
			return err
		}
	}
	copy(head.block[superOffset:], im.superblock())
	binary.LittleEndian.PutUint32(head.block[superOffset+4:], checksum(head.block[superOffset:]))
	_, err := head.w.WriteAt(head.block[:], 0)
	return err
}
