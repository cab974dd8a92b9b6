package eltorito

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// ErrNone says that an image has no boot catalogue.
var ErrNone = errors.New("there is no El Torito boot catalogue")

// Info is what descriptors and catalogue say. Strings are without the spaces
// that fill them, but otherwise as they were found.
type Info struct {
	System, Volume, Publisher, Application string
	// Time is when the file system was made; zero when it does not say.
	Time time.Time
	// EFI is whether the first entry of the catalogue is for EFI, and Bootable
	// whether it can be started.
	EFI, Bootable bool
	// Offset is where that entry leads to, in bytes.
	Offset int64
}

// ReadInfo reads the descriptors and the first entry of the boot catalogue of
// an image, the first size bytes of r. ErrNone means that there are none.
func ReadInfo(r io.ReaderAt, size int64) (*Info, error) {
	primary, err := readSector(r, size, primarySector)
	if err != nil {
		return nil, err
	}
	boot, err := readSector(r, size, bootSector)
	if err != nil {
		return nil, err
	}
	if !isDescriptor(primary, 1) || !isDescriptor(boot, 0) || text(boot[7:39]) != bootID {
		return nil, ErrNone
	}
	c, err := readSector(r, size, int64(binary.LittleEndian.Uint32(boot[71:])))
	if errors.Is(err, ErrNone) {
		return nil, errors.New("the El Torito boot record leads beyond the end of the image")
	} else if err != nil {
		return nil, err
	}
	if c[0] != 1 || c[30] != 0x55 || c[31] != 0xaa || sum(c[:32]) != 0 {
		return nil, errors.New("the El Torito boot catalogue is damaged")
	}
	info := &Info{
		System:      text(primary[8:40]),
		Volume:      text(primary[40:72]),
		Publisher:   text(primary[318:446]),
		Application: text(primary[574:702]),
		EFI:         c[1] == 0xef,
		Bootable:    c[32] == 0x88,
		Offset:      int64(binary.LittleEndian.Uint32(c[40:])) * SectorSize,
	}
	if info.Offset >= size {
		return nil, fmt.Errorf("the El Torito boot catalogue leads to %d bytes, beyond the end of the image", info.Offset)
	}
	// The last byte is the distance to UTC in quarters of an hour.
	if t, err := time.Parse("20060102150405", string(primary[813:827])); err == nil {
		info.Time = t.Add(-time.Duration(int8(primary[829])) * 15 * time.Minute)
	}
	return info, nil
}

// readSector reads a sector of an optical disc.
func readSector(r io.ReaderAt, size, sector int64) ([]byte, error) {
	if (sector+1)*SectorSize > size {
		return nil, ErrNone
	}
	b := make([]byte, SectorSize)
	if n, err := r.ReadAt(b, sector*SectorSize); n < len(b) {
		return nil, fmt.Errorf("reading the boot catalogue: %w", err)
	}
	return b, nil
}

func isDescriptor(b []byte, kind byte) bool {
	return b[0] == kind && string(b[1:6]) == standardID && b[6] == 1
}

// text is a string without what it is filled with.
func text(b []byte) string { return strings.TrimRight(string(b), " \x00") }
