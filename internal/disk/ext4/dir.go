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

// encodeDir encodes a folder, with an index if it has one, in at least so many
// blocks.
func (n *inode) encodeDir(v *volume, blocks int64) []byte {
	names := append([]child{{".", n}, {"..", n.parent}}, n.children...)
	var data []byte
	for len(names) > 0 || int64(len(data)) < blocks*v.blockSize {
		block, count := n.encodeNames(v, names)
		data = append(data, block...)
		names = names[count:]
	}
	if int64(len(data)) <= max(1, blocks)*v.blockSize || !v.indexed() {
		return data
	}
	if indexed := n.encodeIndexed(v); indexed != nil {
		n.indexed = true
		return indexed
	}
	return data
}

// encodeNames encodes as many names as a block has room for, and says how many
// these are.
func (n *inode) encodeNames(v *volume, names []child) ([]byte, int) {
	room := int(v.blockSize)
	if v.checksums {
		room -= direntTail
	}
	block := make([]byte, v.blockSize)
	used, last, count := 0, 0, 0
	for _, c := range names {
		length := (direntHeader + len(c.name) + 3) &^ 3
		if used+length > room {
			break
		}
		putName(block[used:], c, length)
		last = used
		used += length
		count++
	}
	// The last entry, or an unused one, reaches to the end.
	le.PutUint16(block[last+4:], uint16(room-last))
	if v.checksums {
		tail := block[room:]
		le.PutUint16(tail[4:], direntTail)
		tail[7] = 0xde
		le.PutUint32(tail[8:], checksum(n.seed(v), block[:room]))
	}
	return block, count
}

// putName writes a name that takes length bytes.
func putName(b []byte, c child, length int) {
	le.PutUint32(b, c.node.number)
	le.PutUint16(b[4:], uint16(length))
	b[6] = byte(len(c.name))
	b[7] = fileTypes[c.node.entry.Type()]
	copy(b[direntHeader:], c.name)
}
