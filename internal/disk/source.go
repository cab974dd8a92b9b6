package disk

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/disk/swap"
)

// source is what a partition is filled with.
type source interface {
	// size is how many bytes it takes, or the least that it can take.
	size() int64
	// write writes it into the image at an offset, where room bytes are all
	// zero.
	write(ctx context.Context, image *os.File, offset, room int64) error
	// close ends the use of what it is made from.
	close() error
}

// openSource opens what a partition is filled with; nil for nothing.
func (b *builder) openSource(ctx context.Context, p *part) (source, error) {
	inner, err := b.openContent(ctx, p)
	if err != nil || p.volume == nil {
		return inner, err
	}
	return &encrypted{inner, p.volume, b.tempDir()}, nil
}

// openContent opens what is in a partition, apart from encryption.
func (b *builder) openContent(ctx context.Context, p *part) (source, error) {
	switch p.def.Format {
	case repart.FormatEmpty:
		return nil, nil
	case repart.FormatSwap:
		return &swapSpace{FileSystemUUID(p.derived), p.label}, nil
	case "":
		if p.def.CopyBlocks != "" {
			return openBlocks(p.def.CopyBlocks)
		}
		return nil, nil
	}
	return b.openFileSystem(ctx, p)
}

// minimized reports whether the content decides about the size of the file system,
// rather than the partition.
func (p *part) minimized() bool { return p.def.Minimize != repart.MinimizeOff }

// checkRoom returns an error when what a partition holds is larger than it.
func checkRoom(size, room int64) error {
	if size > room {
		return fmt.Errorf("the content takes %d bytes, the partition has %d: give it more with SizeMinBytes=, or set Minimize=", size, room)
	}
	return nil
}

// swapSpace is the header of a partition to swap to.
type swapSpace struct {
	id    uuid.UUID
	label string
}

func (s *swapSpace) size() int64 { return 0 }

func (s *swapSpace) write(_ context.Context, image *os.File, offset, room int64) error {
	return swap.Write(io.NewOffsetWriter(image, offset), room, s.id, s.label)
}

func (s *swapSpace) close() error { return nil }
