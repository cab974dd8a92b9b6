// Package erofs writes uncompressed EROFS images, the kernel's read-only file
// system, straight to their place. The format is that of the kernel's
// Documentation/filesystems/erofs.rst.
//
// An image is planned first, from the metadata alone, so that its size is
// known before anything is written; then all inodes and contents are written
// side by side, each file being read once.
package erofs

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"runtime"

	"encoding/binary"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// BlockSize is the unit that images are made of, in bytes.
const BlockSize = 4096

const (
	magic           = 0xe0f5e1e2
	blockBits       = 12
	superOffset     = 1024
	superSize       = 128
	slotSize        = 32 // what inode numbers count in
	featureChecksum = 1 << 0
	featureMtime    = 1 << 1
	noBlock         = math.MaxUint32
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
}

// Image is a planned file system.
type Image struct {
	options Options
	nodes   []*node
	root    *node
	blocks  uint32
}

// Plan decides where everything goes. The tree must not change afterwards.
func Plan(tree content.Tree, o Options) (*Image, error) {
	if len(o.Label) > 15 {
		return nil, fmt.Errorf("label %q is longer than 15 bytes", o.Label)
	}
	if err := tree.Check(); err != nil {
		return nil, err
	}
	im := &Image{options: o}
	if err := im.build(tree); err != nil {
		return nil, err
	}
	if err := im.place(); err != nil {
		return nil, err
	}
	return im, nil
}

// Size is the size of the file system in bytes.
func (im *Image) Size() int64 { return int64(im.blocks) * BlockSize }

// Write writes the file system to the start of w, which must be all zero as
// far as Size reaches. When it fails, w holds a part of the image.
func (im *Image) Write(ctx context.Context, w io.WriterAt) error {
	head := &headWriter{w: w}
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
	copy(head.block[superOffset:], im.superblock())
	// The checksum covers what follows the boot sector in the first block.
	sum := ^crc32.Checksum(head.block[superOffset:], crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(head.block[superOffset+4:], sum)
	_, err := w.WriteAt(head.block[:], 0)
	return err
}

func (im *Image) superblock() []byte {
	b := make([]byte, superSize)
	le := binary.LittleEndian
	le.PutUint32(b[0:], magic)
	le.PutUint32(b[8:], featureChecksum|featureMtime)
	b[12] = blockBits
	le.PutUint16(b[14:], uint16(im.root.nid))
	le.PutUint64(b[16:], uint64(len(im.nodes)))
	le.PutUint64(b[24:], uint64(im.options.BuildTime))
	le.PutUint32(b[36:], im.blocks)
	copy(b[48:64], im.options.UUID[:])
	copy(b[64:80], im.options.Label)
	return b
}
