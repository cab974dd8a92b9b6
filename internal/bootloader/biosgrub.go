package bootloader

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
)

// biosBootType is the type of the partition that holds grub's core image on a disk with a GUID partition table.
var biosBootType = uuid.MustParse("21686148-6449-6e6f-744e-656564454649")

// Disk is a disk image that a boot sector is written to.
type Disk interface {
	io.ReaderAt
	io.WriterAt
}

const (
	// biosSector is the size of the sectors that PC firmware counts in, in bytes.
	biosSector = 512
	// maxCore is how much memory there is for the core image below the firmware's, in bytes.
	maxCore = 0x78000
)

// Offsets in grub's boot sector, boot.img.
const (
	// bootParameters up to bootParametersEnd describe a file system that begins here, if there is one.
	bootParameters, bootParametersEnd = 0x03, 0x5a
	// bootCoreSector is the sector where the core image begins, in 8 bytes.
	bootCoreSector = 0x5c
	// bootDriveCheck is a jump over instructions that assume a hard disk when the firmware passes no drive number.
	bootDriveCheck = 0x66
	// bootDisk up to bootDiskEnd are the disk's signature and its table of four partitions.
	bootDisk, bootDiskEnd = 0x1b8, 0x1fe
)

// Offsets from the start of a block list of the core image, whose first sector ends in the first one. A block list says
// which sectors to load, and to where.
const (
	blockListSize   = 12
	blockListLength = 8  // in sectors, 2 bytes; a list of length 0 ends the lists
	blockListMemory = 10 // the real-mode segment, 2 bytes
)

// coreSegment is where the core image is loaded to, but for its first sector.
const coreSegment = 0x820

// BootSector is a grub for PC firmware.
type BootSector struct {
	// Boot is the boot sector, grub's boot.img; Core is all the rest, core.img.
	Boot, Core []byte
}

// MakeBootSector makes a grub for PC firmware from the modules in the tree, and copies the font that it draws menus with
// into /efi. [WriteGrubConfig] writes its configuration.
//
// A tree without grub for PC firmware is a *[Missing].
func MakeBootSector(ctx context.Context, o Grub) (*BootSector, error) {
	const platform = "i386-pc"
	i, err := openImage(o.Root)
	if err != nil {
		return nil, err
	}
	defer i.close()
	dir, err := findGrub(i, platform)
	if err != nil {
		return nil, err
	}
	boot, err := i.read(dir+"/boot.img", biosSector)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Missing{"grub's boot sector", []string{dir + "/boot.img"}, grubPackages}
	}
	if err != nil {
		return nil, err
	}
	o.Shim = false // which is for EFI
	core, err := o.mkimage(ctx, i, dir, platform, "", "biosdisk")
	if err != nil {
		return nil, err
	}
	return &BootSector{boot, core}, installGrubFont(ctx, i)
}

// Install makes PC firmware start grub from a disk image of size bytes: it writes the core image into the BIOS boot
// partition and the boot sector in front of the partition table, each told where the next part is. It is to be called
// last: whatever writes the partition table anew also writes an empty boot sector.
//
// This is grub-bios-setup(8) with --no-rs-codes for this one case. The redundancy that it leaves out would repair a core
// image that other programs have written over, which in a partition of its own none does.
func (b *BootSector) Install(disk Disk, size int64) error {
	first, err := findBIOSPartition(disk, size, int64(len(b.Core)))
	if err != nil {
		return err
	}
	core, err := placeCore(b.Core, first)
	if err != nil {
		return err
	}
	old := make([]byte, biosSector)
	if _, err := disk.ReadAt(old, 0); err != nil {
		return fmt.Errorf("reading the boot sector: %w", err)
	}
	boot, err := placeBoot(b.Boot, old, first)
	if err != nil {
		return err
	}
	if _, err := disk.WriteAt(core, int64(first)*biosSector); err != nil {
		return fmt.Errorf("writing grub's core image: %w", err)
	}
	if _, err := disk.WriteAt(boot, 0); err != nil {
		return fmt.Errorf("writing grub's boot sector: %w", err)
	}
	return nil
}

// findBIOSPartition returns the first sector of the BIOS boot partition, which must have room for a core image.
func findBIOSPartition(disk io.ReaderAt, size, core int64) (uint64, error) {
	found, err := gpt.Read(disk, size, 0)
	if err != nil {
		return 0, fmt.Errorf("looking for the BIOS boot partition: %w", err)
	}
	if found.Table.SectorSize != biosSector {
		return 0, fmt.Errorf("PC firmware starts disks with sectors of %d bytes only, and this one has %d: unset SectorSize= or BiosBootloader=", biosSector, found.Table.SectorSize)
	}
	for _, p := range found.Table.Partitions {
		if p.Type != biosBootType {
			continue
		}
		if room := (p.Last - p.First + 1) * biosSector; uint64(core) > room {
			return 0, fmt.Errorf("grub's core image takes %d bytes and the BIOS boot partition has %d: enlarge it", core, room)
		}
		return p.First, nil
	}
	return 0, fmt.Errorf("BiosBootloader=grub needs a BIOS boot partition: add a partition definition with Type=%s and SizeMinBytes=1M", biosBootType)
}

// placeBoot returns a boot sector that loads the core image from a sector, with what the old one says about the disk.
func placeBoot(boot, old []byte, first uint64) ([]byte, error) {
	if len(boot) != biosSector || boot[510] != 0x55 || boot[511] != 0xaa {
		return nil, errors.New("grub's boot.img is no boot sector")
	}
	boot = bytes.Clone(boot)
	copy(boot[bootParameters:bootParametersEnd], old[bootParameters:bootParametersEnd])
	copy(boot[bootDisk:bootDiskEnd], old[bootDisk:bootDiskEnd])
	binary.LittleEndian.PutUint64(boot[bootCoreSector:], first)
	// Two instructions that do nothing: a disk image is a hard disk.
	copy(boot[bootDriveCheck:], []byte{0x90, 0x90})
	return boot, nil
}

// placeCore returns a core image whose first sector loads the rest from the sectors behind it.
func placeCore(core []byte, first uint64) ([]byte, error) {
	if len(core) <= biosSector || len(core) > maxCore {
		return nil, fmt.Errorf("grub's core.img has %d bytes, and must have more than %d and at most %d", len(core), biosSector, maxCore)
	}
	core = bytes.Clone(core)
	if n := len(core) % biosSector; n > 0 {
		core = append(core, make([]byte, biosSector-n)...)
	}
	list := core[biosSector-blockListSize : biosSector]
	le := binary.LittleEndian
	sectors := len(core)/biosSector - 1
	if le.Uint64(list) != 2 || int(le.Uint16(list[blockListLength:])) != sectors || le.Uint16(list[blockListMemory:]) != coreSegment {
		return nil, errors.New("grub's core.img does not begin with a list of its sectors, as one made by grub-mkimage for i386-pc does")
	}
	le.PutUint64(list, first+1)
	return core, nil
}
