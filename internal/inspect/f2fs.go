package inspect

import (
	"fmt"
	"io"
	"math"
	"unicode/utf16"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// describeF2FS reads the superblock of f2fs (the kernel's
// Documentation/filesystems/f2fs.rst), whose files are not read.
func describeF2FS(r io.ReaderAt, size int64) (*FileSystem, error) {
	const offset, length, label, units = 1024, 1148, 124, 512
	b := make([]byte, length)
	if err := content.ReadFull(r, b, offset); err != nil {
		return nil, fmt.Errorf("reading the superblock: %w", err)
	}
	blockLog, blocks := le.Uint32(b[16:]), le.Uint64(b[36:])
	if blockLog < 9 || blockLog > 16 || blocks > math.MaxInt64>>blockLog || int64(blocks)<<blockLog > size {
		return nil, fmt.Errorf("the superblock has %d blocks of 2^%d bytes", blocks, blockLog)
	}
	var name []uint16
	for i := range units {
		u := le.Uint16(b[label+2*i:])
		if u == 0 {
			break
		}
		name = append(name, u)
	}
	return &FileSystem{
		Label: string(utf16.Decode(name)), UUID: uuid.UUID(b[108:124]).String(), Size: int64(blocks) << blockLog, BlockSize: 1 << blockLog,
	}, nil
}
