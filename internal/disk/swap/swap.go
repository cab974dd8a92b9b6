// Package swap writes and reads the header of swap space, version 1, which
// Linux describes in include/linux/swap.h.
package swap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
)

// PageSize is the unit of swap space, in bytes. Swap space for machines with
// larger pages is not written.
const PageSize = 4096

// MinSize is the smallest size of swap space, in bytes, as mkswap has it.
const MinSize = 10 * PageSize

const (
	version     = 1
	infoOffset  = 1024 // what is in front is for a boot sector
	labelLength = 16
	magic       = "SWAPSPACE2"
	magicOffset = PageSize - len(magic)
)

// Info is what swap space says about itself.
type Info struct {
	// UUID identifies the swap space.
	UUID uuid.UUID
	// Label is its name.
	Label string
	// Size is its size in bytes, the header included.
	Size int64
}

// Write makes the first size bytes of w, which must be zero, swap space. What
// does not fill a page is left over. Of a long label the first 15 bytes are
// kept, but no part of a character, as systemd-repart has it.
func Write(w io.WriterAt, size int64, id uuid.UUID, label string) error {
	if size < MinSize {
		return fmt.Errorf("swap space has at least %d bytes, not %d", MinSize, size)
	}
	b := make([]byte, PageSize-infoOffset)
	le := binary.LittleEndian
	le.PutUint32(b[0:], version)
	le.PutUint32(b[4:], uint32(min(size/PageSize-1, math.MaxUint32))) // the last page
	copy(b[12:28], id[:])
	copy(b[28:28+labelLength], cut(label))
	copy(b[magicOffset-infoOffset:], magic)
	if _, err := w.WriteAt(b, infoOffset); err != nil {
		return fmt.Errorf("writing the header of swap space: %w", err)
	}
	return nil
}

// cut shortens a label so that a zero fits behind it.
func cut(label string) string {
	for len(label) >= labelLength {
		_, size := utf8.DecodeLastRuneInString(label)
		label = label[:len(label)-size]
	}
	return label
}

// ReadInfo reads the header of swap space in the first size bytes of r. Only
// swap space of little-endian machines with pages of 4096 bytes is known.
func ReadInfo(r io.ReaderAt, size int64) (*Info, error) {
	if size < PageSize {
		return nil, errors.New("there is no swap space")
	}
	b := make([]byte, PageSize)
	if n, err := r.ReadAt(b, 0); n < len(b) {
		return nil, fmt.Errorf("reading the header of swap space: %w", err)
	}
	if string(b[magicOffset:]) != magic {
		return nil, errors.New("there is no swap space")
	}
	le := binary.LittleEndian
	b = b[infoOffset:]
	if v := le.Uint32(b); v != version {
		return nil, fmt.Errorf("the swap space has the unknown version %d", v)
	}
	info := &Info{Size: (int64(le.Uint32(b[4:])) + 1) * PageSize}
	if info.Size > size {
		return nil, fmt.Errorf("the swap space has %d bytes, of which only %d are there", info.Size, size)
	}
	copy(info.UUID[:], b[12:28])
	info.Label, _, _ = strings.Cut(string(b[28:28+labelLength]), "\x00")
	return info, nil
}
