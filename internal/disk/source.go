package disk

import (
	"context"
	"fmt"
	"os"

	"github.com/mkosi-go/mkosi/internal/disk/repart"
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
	switch {
	case p.def.CopyBlocks != "":
		return openBlocks(p.def.CopyBlocks)
	case p.def.Format == "", p.def.Format == repart.FormatEmpty:
		return nil, nil
	}
	return b.openFileSystem(ctx, p)
}

// makes reports whether the content decides about the size of the file system,
// rather than the partition.
func (p *part) minimized() bool { return p.def.Minimize != repart.MinimizeOff }

// checkRoom returns an error when what a partition holds is larger than it.
func checkRoom(size, room int64) error {
	if size > room {
		return fmt.Errorf("the content takes %d bytes, the partition has %d: give it more with SizeMinBytes=, or set Minimize=", size, room)
	}
	return nil
}
