package inspect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
)

// Format is the format of a piece of an image.
type Format string

// The formats that [Detect] knows.
const (
	FormatUnknown   Format = "unknown"
	FormatEmpty     Format = "empty" // nothing but zeros where any other has its mark
	FormatGPT       Format = "gpt"
	FormatMBR       Format = "mbr"
	FormatExt       Format = "ext4" // and ext2, ext3
	FormatErofs     Format = "erofs"
	FormatSquashfs  Format = "squashfs"
	FormatBtrfs     Format = "btrfs"
	FormatXFS       Format = "xfs"
	FormatF2FS      Format = "f2fs"
	FormatVFAT      Format = "vfat"
	FormatISO       Format = "iso9660"
	FormatLUKS      Format = "luks"
	FormatIntegrity Format = "integrity"
	FormatVerity    Format = "verity"
	FormatSignature Format = "verity signature"
	FormatSwap      Format = "swap"
	FormatPE        Format = "pe"
	FormatCPIO      Format = "cpio"
	FormatTar       Format = "tar"
	FormatTree      Format = "tree" // a folder of the host
)

var le = binary.LittleEndian

// mark is what tells a format from others: bytes at an offset.
type mark struct {
	format Format
	offset int64
	bytes  string
}

// marks are looked for in this order.
var marks = []mark{
	{FormatLUKS, 0, "LUKS\xba\xbe"},
	{FormatVerity, 0, "verity\x00\x00"},
	{FormatIntegrity, 0, "integrt\x00"},
	{FormatSquashfs, 0, "hsqs"},
	{FormatXFS, 0, "XFSB"},
	{FormatErofs, 1024, "\xe2\xe1\xf5\xe0"},
	{FormatF2FS, 1024, "\x10\x20\xf5\xf2"},
	{FormatExt, 1024 + 56, "\x53\xef"},
	{FormatBtrfs, 0x10040, "_BHRfS_M"},
	{FormatSwap, 4096 - 10, "SWAPSPACE2"},
	{FormatSwap, 16384 - 10, "SWAPSPACE2"},
	{FormatSwap, 65536 - 10, "SWAPSPACE2"},
	{FormatSignature, 0, `{"rootHash"`},
	{FormatPE, 0, "MZ"},
	{FormatCPIO, 0, "070701"},
	{FormatCPIO, 0, "070702"},
	{FormatTar, 257, "ustar"},
}

// Detect finds out the format of what r holds, size bytes large. A disk with a
// partition table that is damaged, but not beyond recognition, is FormatGPT.
func Detect(r io.ReaderAt, size int64) Format {
	head := make([]byte, min(max(size, 0), 128<<10))
	n, err := r.ReadAt(head, 0)
	if n < len(head) && !errors.Is(err, io.EOF) {
		return FormatUnknown
	}
	head = head[:n]
	// A table comes first: a hybrid has the mark of a CD, and its first sectors
	// may hold anything.
	if _, err := gpt.Read(r, size, 0); !errors.Is(err, gpt.ErrNoTable) {
		return FormatGPT
	}
	for _, m := range marks {
		if end := m.offset + int64(len(m.bytes)); end <= int64(len(head)) && string(head[m.offset:end]) == m.bytes {
			return m.format
		}
	}
	const volume = 32 << 10
	switch {
	case isVFAT(head):
		return FormatVFAT
	case len(head) > volume+6 && string(head[volume+1:volume+6]) == "CD001":
		return FormatISO
	case len(head) >= 512 && head[510] == 0x55 && head[511] == 0xaa:
		return FormatMBR
	case len(bytes.Trim(head, "\x00")) == 0:
		return FormatEmpty
	}
	return FormatUnknown
}

// isVFAT reports whether the first sector is that of a FAT file system: its
// numbers are what they have to be.
func isVFAT(b []byte) bool {
	if len(b) < 512 || b[510] != 0x55 || b[511] != 0xaa || b[0] != 0xeb && b[0] != 0xe9 {
		return false
	}
	sector, cluster := le.Uint16(b[11:]), b[13]
	powers := sector >= 512 && sector <= 4096 && sector&(sector-1) == 0 && cluster != 0 && cluster&(cluster-1) == 0
	return powers && le.Uint16(b[14:]) != 0 && (b[16] == 1 || b[16] == 2) && b[21] >= 0xf0
}

// isFileSystem reports whether a format holds files.
func (f Format) isFileSystem() bool {
	switch f {
	case FormatExt, FormatErofs, FormatSquashfs, FormatBtrfs, FormatXFS, FormatF2FS, FormatVFAT, FormatISO:
		return true
	}
	return false
}
