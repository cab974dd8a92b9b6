package mkfs

import (
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// used is how many bytes a tree takes in a file system with blocks of 4096
// bytes and inodes of inodeSize, at most.
func used(t content.Tree, inodeSize int64) int64 {
	const block = 4096
	size := int64(0)
	names := map[string]int64{}
	for i := range t {
		e := &t[i]
		names[e.Parent()] += int64(len(e.Name())) + 24
		if e.HardLink {
			continue
		}
		size += inodeSize
		switch e.Type() {
		case unix.S_IFREG:
			for _, r := range e.Ranges() {
				size += roundUp(r.Offset+r.Size, block) - r.Offset/block*block
			}
		case unix.S_IFLNK:
			size += roundUp(int64(len(e.Target)), block)
		}
		attributes := int64(0)
		for _, x := range e.Xattrs {
			attributes += int64(len(x.Name)+len(x.Value)) + 16
		}
		size += roundUp(attributes, block)
	}
	for _, n := range names {
		size += roundUp(n+n/4, block)
	}
	return size
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }
