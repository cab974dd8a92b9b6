// Package fat writes and reads FAT12, FAT16 and FAT32 file systems with long
// names, which are called vfat. The format is that of Microsoft's "FAT: General
// Overview of On-Disk Format" 1.03. How a file system of a certain size is laid
// out was found by comparing boot sectors with those of mkfs.fat 4.2.
//
// A file system is planned first, from the metadata alone, so that its size is
// known before anything is written. Everything in it has clusters that follow
// each other. It is written in place, contents side by side, and nothing is
// written where it is zero.
package fat

import (
	"encoding/binary"
	"fmt"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// Options are the properties of a file system as a whole. The zero value is
// good.
type Options struct {
	// VolumeID identifies the file system, see the function of that name.
	VolumeID uint32
	// Label is its name. As systemd-repart has it, letters become upper case,
	// what a label cannot have becomes an underscore, and the rest beyond 11
	// characters is cut off.
	Label string
	// SectorSize is 512, 1024, 2048 or 4096 bytes; zero means 4096.
	SectorSize int
	// Bits is the size of the entries of the file allocation table: 12, 16 or
	// 32. Zero means 32, as systemd-repart has it, where that gives as many
	// clusters as a FAT32 must have; else 16 or 12 by size, as mkfs.fat has it;
	// and a FAT32 with too few clusters only where the files fit into nothing
	// else.
	Bits int
	// BuildTime is when the label was made, in seconds since 1970. Of files
	// and folders the time of modification stands for that of creation, too.
	BuildTime int64
	// Skipped, unless nil, is called for everything that the file system cannot
	// hold: all but files and folders.
	Skipped func(path, reason string)
}

// Image is a planned file system.
type Image struct {
	options Options
	label   string
	// nodes are all folders and files, each folder before what is in it,
	// starting with the root.
	nodes []*node
	// clusters is how many clusters all of them but the root take: of one
	// sector, of two, four and so on.
	clusters [8]int64
	size     int64
}

// VolumeID is the volume id of the file system with a UUID, its first 32 bits,
// as systemd-repart has it.
func VolumeID(id uuid.UUID) uint32 { return binary.BigEndian.Uint32(id[:4]) }

// Plan decides what goes into the file system. The tree must not change
// afterwards. Owners, attributes and all permissions are left out; each name of
// a file with several ones becomes a file of its own. Names that differ in case
// only, or that a long name cannot have, and files of 4 GiB and more are errors
// that say which.
func Plan(tree content.Tree, o Options) (*Image, error) {
	if o.SectorSize == 0 {
		o.SectorSize = 4096
	}
	switch o.SectorSize {
	case 512, 1024, 2048, 4096:
	default:
		return nil, fmt.Errorf("sector size %d is none of 512, 1024, 2048, 4096", o.SectorSize)
	}
	switch o.Bits {
	case 0, 12, 16, 32:
	default:
		return nil, fmt.Errorf("there is no FAT%d, only FAT12, FAT16 and FAT32", o.Bits)
	}
	if err := tree.Check(); err != nil {
		return nil, err
	}
	im := &Image{options: o, label: label(o.Label)}
	if err := im.build(tree); err != nil {
		return nil, err
	}
	im.count()
	if im.size = im.smallest(); im.size == 0 {
		return nil, fmt.Errorf("the files are too large or too many for a %s file system", typeName(o.Bits))
	}
	return im, nil
}

// Size is the smallest size in bytes that the file system can have.
func (im *Image) Size() int64 { return im.size }

// typeName is what file systems with entries of so many bits are called.
func typeName(bits int) string {
	if bits == 0 {
		return "FAT"
	}
	return fmt.Sprintf("FAT%d", bits)
}
