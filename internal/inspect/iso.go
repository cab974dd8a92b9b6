package inspect

import (
	"fmt"
	"io"
	"strings"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// describeISO reads the primary volume descriptor of an ISO 9660 file system
// (ECMA-119, section 8.4), whose files are not read.
func describeISO(r io.ReaderAt, _ int64) (*FileSystem, error) {
	const sector, primary = 2048, 16
	b := make([]byte, sector)
	if err := content.ReadFull(r, b, primary*sector); err != nil {
		return nil, fmt.Errorf("reading the volume descriptor: %w", err)
	}
	if b[0] != 1 {
		return nil, fmt.Errorf("the first volume descriptor is of type %d, and not the primary one", b[0])
	}
	blockSize := int64(le.Uint16(b[128:]))
	return &FileSystem{
		Label: strings.TrimRight(strings.ToValidUTF8(string(b[40:72]), "\uFFFD"), " \x00"), Size: int64(le.Uint32(b[80:])) * blockSize, BlockSize: blockSize,
	}, nil
}
