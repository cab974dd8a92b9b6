package xfs

import (
	"fmt"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

const (
	// dirHeader is that of a block of names.
	dirHeader = 64
	// indexStart is where in a folder the blocks with names end and those with
	// an index start.
	indexStart = 32 << 30
)

// Names lists a folder.
func (v *reader) Names(number uint64) ([]content.Name, error) {
	n, err := v.readInode(number)
	if err != nil {
		return nil, err
	}
	if n.data.format == formatLocal {
		return v.shortNames(n)
	}
	runs, err := v.runs(&n.data)
	if err != nil {
		return nil, err
	}
	var list []content.Name
	block := make([]byte, v.dirBlock)
	next := int64(0)
	for i, r := range runs {
		// A block may go on in the next run.
		for at := max(next, r.At/v.dirBlock*v.dirBlock); at < r.At+r.Length && at < indexStart; at += v.dirBlock {
			next = at + v.dirBlock
			if v.dirBytes -= v.dirBlock; v.dirBytes < 0 {
				return nil, fmt.Errorf("the folders together are larger than the file system")
			}
			if err := v.readSpan(runs[i:], at, block); err != nil {
				return nil, err
			}
			if list, err = v.appendNames(list, block); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// readSpan reads what is at an offset of a fork. It searches the runs from the
// first one on.
func (v *reader) readSpan(runs []content.Run, at int64, p []byte) error {
	clear(p)
	end := at + int64(len(p))
	for _, r := range runs {
		from, to := max(at, r.At), min(end, r.At+r.Length)
		if from < to {
			if err := v.readAt(p[from-at:to-at], r.Offset+from-r.At); err != nil {
				return err
			}
		}
		if r.At >= end {
			break
		}
	}
	return nil
}

// shortNames lists a folder whose names are in the inode.
func (v *reader) shortNames(n *inode) ([]content.Name, error) {
	damaged := fmt.Errorf("a list of names in an inode is damaged")
	b := n.data.area
	if n.size > int64(len(b)) || n.size < 6 {
		return nil, damaged
	}
	b = b[:n.size]
	count, wide := int(b[0]), 4
	if b[1] > 0 {
		count, wide = int(b[0]), 8
	}
	if len(b) < 2+wide {
		return nil, damaged
	}
	var list []content.Name
	for b = b[2+wide:]; count > 0; count-- {
		if len(b) < 3 {
			return nil, damaged
		}
		length := int(b[0])
		end := 3 + length
		if v.incompat&incompatFileTypes != 0 {
			end++
		}
		if len(b) < end+wide {
			return nil, damaged
		}
		number := uint64(0)
		for _, c := range b[end : end+wide] {
			number = number<<8 | uint64(c)
		}
		list = append(list, content.Name{Name: string(b[3 : 3+length]), Inode: number})
		b = b[end+wide:]
	}
	return list, nil
}

// appendNames adds the names of a block, which may have an index at its end.
func (v *reader) appendNames(list []content.Name, b []byte) ([]content.Name, error) {
	damaged := fmt.Errorf("a block of names is damaged")
	switch string(b[:4]) {
	case "XDD3":
	case "XDB3":
		const tail = 8
		if count := int64(be.Uint32(b[len(b)-tail:])); count*8 > int64(len(b)-tail-dirHeader) {
			return nil, damaged
		} else {
			b = b[:int64(len(b))-tail-count*8]
		}
	case "\x00\x00\x00\x00":
		return list, nil // a hole
	default:
		return nil, damaged
	}
	for b = b[dirHeader:]; len(b) > 0; {
		if len(b) < 16 {
			return nil, damaged
		}
		if be.Uint16(b) == 0xffff { // unused
			length := int(be.Uint16(b[2:]))
			if length < 8 || length%8 != 0 || length > len(b) {
				return nil, damaged
			}
			b = b[length:]
			continue
		}
		length := int(b[8])
		size := 8 + 1 + length + 2
		if v.incompat&incompatFileTypes != 0 {
			size++
		}
		if size = (size + 7) &^ 7; size > len(b) {
			return nil, damaged
		}
		if name := string(b[9 : 9+length]); name != "." && name != ".." {
			list = append(list, content.Name{Name: name, Inode: be.Uint64(b)})
		}
		b = b[size:]
	}
	return list, nil
}
