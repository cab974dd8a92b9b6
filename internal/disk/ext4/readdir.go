package ext4

import (
	"fmt"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// Names lists a folder. The index of a large one lies in what looks like
// unused entries, so all folders are lists.
func (v *reader) Names(number uint64) ([]content.Name, error) {
	b, err := v.raw(number)
	if err != nil {
		return nil, err
	}
	if le.Uint32(b[32:])&flagInlineData != 0 {
		return v.inlineNames(b)
	}
	size := int64(le.Uint32(b[4:])) | int64(le.Uint32(b[108:]))<<32
	runs, err := v.runs(b, size)
	if err != nil {
		return nil, err
	}
	var names []content.Name
	block := make([]byte, v.blockSize)
	for _, r := range runs {
		if v.dirBlocks -= r.Length / v.blockSize; v.dirBlocks < 0 {
			return nil, fmt.Errorf("the folders together are larger than the file system")
		}
		for at := int64(0); at < r.Length; at += v.blockSize {
			if err := v.readAt(block, r.Offset+at); err != nil {
				return nil, err
			}
			if names, err = v.appendNames(names, block); err != nil {
				return nil, err
			}
		}
	}
	return names, nil
}

// inlineNames lists a folder that lies in its inode: behind the number of the
// folder above come two lists.
func (v *reader) inlineNames(b []byte) ([]content.Name, error) {
	data, err := inlineData(b)
	if err != nil {
		return nil, err
	}
	const parent = 4
	names, err := v.appendNames(nil, data[parent:60])
	if err != nil || len(data) == 60 {
		return names, err
	}
	return v.appendNames(names, data[60:])
}

// appendNames adds the names of one list.
func (v *reader) appendNames(names []content.Name, b []byte) ([]content.Name, error) {
	for len(b) >= direntHeader {
		inode, length, n := le.Uint32(b), int(le.Uint16(b[4:])), int(b[6])
		if v.incompat&incompatFiletype == 0 {
			n = int(le.Uint16(b[6:]))
		}
		if length == 0 || length == 0xffff { // 64 KiB do not fit the field
			length = 64 << 10
		}
		if length < direntHeader || length > len(b) || direntHeader+n > length {
			return nil, fmt.Errorf("an invalid entry of a folder")
		}
		name := string(b[direntHeader : direntHeader+n])
		if inode != 0 && name != "." && name != ".." {
			names = append(names, content.Name{Name: name, Inode: uint64(inode)})
		}
		b = b[length:]
	}
	return names, nil
}
