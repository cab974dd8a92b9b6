package ext4

import "golang.org/x/sys/unix"

const (
	direntHeader = 8
	direntTail   = 12
)

// fileTypes are the types of directory entries.
var fileTypes = map[uint32]byte{
	unix.S_IFREG:  1,
	unix.S_IFDIR:  2,
	unix.S_IFCHR:  3,
	unix.S_IFBLK:  4,
	unix.S_IFIFO:  5,
	unix.S_IFSOCK: 6,
	unix.S_IFLNK:  7,
}

// encodeDir encodes a folder as a list of names, in at least so many blocks.
func (n *inode) encodeDir(v *volume, blocks int64) []byte {
	room := int(v.blockSize)
	if v.checksums {
		room -= direntTail
	}
	names := append([]child{{".", n}, {"..", n.parent}}, n.children...)
	var data []byte
	for len(names) > 0 || int64(len(data)) < blocks*v.blockSize {
		block := make([]byte, v.blockSize)
		used, last := 0, 0
		for len(names) > 0 {
			c := names[0]
			length := (direntHeader + len(c.name) + 3) &^ 3
			if used+length > room {
				break
			}
			d := block[used:]
			le.PutUint32(d, c.node.number)
			le.PutUint16(d[4:], uint16(length))
			d[6] = byte(len(c.name))
			d[7] = fileTypes[c.node.entry.Type()]
			copy(d[direntHeader:], c.name)
			last = used
			used += length
			names = names[1:]
		}
		// The last entry, or an unused one, reaches to the end.
		le.PutUint16(block[last+4:], uint16(room-last))
		if v.checksums {
			tail := block[room:]
			le.PutUint16(tail[4:], direntTail)
			tail[7] = 0xde
			le.PutUint32(tail[8:], checksum(n.seed(v), block[:room]))
		}
		data = append(data, block...)
	}
	return data
}
