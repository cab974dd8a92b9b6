package output

import (
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// Program is a program of this machine that makes a file system.
type Program struct {
	// Name is what it is called, Package the distribution package that has it.
	Name, Package string
	// Purpose is what it is needed for, such as "Format=btrfs".
	Purpose string
}

// makers are the programs for the file systems that are not written natively.
var makers = map[string]Program{
	repart.FormatExt4:     {Name: "mke2fs", Package: "e2fsprogs"},
	repart.FormatBtrfs:    {Name: "mkfs.btrfs", Package: "btrfs-progs"},
	repart.FormatXFS:      {Name: "mkfs.xfs", Package: "xfsprogs"},
	repart.FormatF2FS:     {Name: "mkfs.f2fs", Package: "f2fs-tools"},
	repart.FormatSquashfs: {Name: "mksquashfs", Package: "squashfs-tools"},
}

// Programs lists the programs without which an image cannot be written, in the order of its partitions. An image whose
// definitions cannot be read, see [Check], needs none.
func Programs(img *config.Image) []Program {
	var list []Program
	defs, _ := Definitions(img)
	for _, d := range defs {
		p, ok := makers[d.Format]
		if !ok {
			continue
		}
		p.Purpose = "Format=" + d.Format
		list = append(list, p)
	}
	return list
}
