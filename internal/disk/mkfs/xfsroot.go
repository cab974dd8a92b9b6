package mkfs

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// repairXFS gives the top folder of a new xfs the permissions, owner and times
// of an entry: mkfs.xfs sets the times to now, and without a folder to copy it
// sets all of them. The format is that of the kernel's fs/xfs documentation.
func repairXFS(f interface {
	io.ReaderAt
	io.WriterAt
}, top *content.Entry) error {
	be := binary.BigEndian
	super := make([]byte, 512)
	if _, err := f.ReadAt(super, 0); err != nil {
		return err
	}
	const blockLog, inodeLog, perBlockLog, groupLog = 120, 122, 123, 124
	size := int64(1) << (super[inodeLog] & 63)
	if string(super[:4]) != "XFSB" || super[inodeLog] > 11 || super[inodeLog] < 8 || super[blockLog] > 16 ||
		super[perBlockLog] > 8 || super[groupLog] > 31 {
		return fmt.Errorf("there is no xfs")
	}
	// The number of an inode is made of the allocation group, the block in it,
	// and the place in the block.
	number := be.Uint64(super[56:])
	index := number & (1<<super[perBlockLog] - 1)
	block := number >> super[perBlockLog] & (1<<super[groupLog] - 1)
	group := number >> super[perBlockLog] >> super[groupLog]
	if group != 0 || index*uint64(size) >= 1<<super[blockLog] {
		return fmt.Errorf("the top folder is in the unexpected place %d", number)
	}
	at := int64(block<<super[blockLog]) + int64(index)*size

	inode := make([]byte, size)
	if _, err := f.ReadAt(inode, at); err != nil {
		return err
	}
	const version, crc, flags2, bigTime = 3, 100, 120, 8
	if string(inode[:2]) != "IN" || inode[4] != version || be.Uint64(inode[152:]) != number {
		return fmt.Errorf("the top folder has no inode in block %d", block)
	}
	be.PutUint16(inode[2:], uint16(top.Mode))
	be.PutUint32(inode[8:], top.UID)
	be.PutUint32(inode[12:], top.GID)
	for _, field := range []int{32, 40, 48, 144} {
		if be.Uint64(inode[flags2:])&bigTime != 0 {
			const epoch = 1 << 31 // the earliest time is in 1901
			sec := min(max(top.Mtime, -epoch), 1<<34-epoch-1)
			be.PutUint64(inode[field:], uint64(sec+epoch)*1e9+uint64(top.MtimeNsec))
		} else {
			be.PutUint32(inode[field:], uint32(min(max(top.Mtime, -1<<31), 1<<31-1)))
			be.PutUint32(inode[field+4:], top.MtimeNsec)
		}
	}
	clear(inode[crc : crc+4])
	binary.LittleEndian.PutUint32(inode[crc:], crc32.Checksum(inode, crc32.MakeTable(crc32.Castagnoli)))
	_, err := f.WriteAt(inode, at)
	return err
}
