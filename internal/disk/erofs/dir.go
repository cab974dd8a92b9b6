package erofs

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

const direntSize = 12

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

// dirBlock returns how many of the children go into the next block, and how
// many bytes of it they take.
func dirBlock(children []child) (count int, used int64) {
	for _, c := range children {
		n := used + direntSize + int64(len(c.name))
		if n > BlockSize {
			break
		}
		used = n
		count++
	}
	return count, used
}

// dirSize is the size of a folder's data.
func dirSize(children []child) int64 {
	size := int64(0)
	for len(children) > 0 {
		count, used := dirBlock(children)
		children = children[count:]
		if len(children) > 0 {
			used = BlockSize
		}
		size += used
	}
	return size
}

// encodeDir encodes a folder: blocks of entries followed by their names.
func encodeDir(children []child) []byte {
	data := make([]byte, 0, dirSize(children))
	le := binary.LittleEndian
	for len(children) > 0 {
		count, used := dirBlock(children)
		name := count * direntSize
		for _, c := range children[:count] {
			data = le.AppendUint64(data, c.node.nid)
			data = le.AppendUint16(data, uint16(name))
			data = append(data, fileTypes[c.node.entry.Type()], 0)
			name += len(c.name)
		}
		for _, c := range children[:count] {
			data = append(data, c.name...)
		}
		children = children[count:]
		if len(children) > 0 {
			data = append(data, make([]byte, BlockSize-used)...)
		}
	}
	return data
}
