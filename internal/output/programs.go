package output

import (
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk/mkfs"
)

// Programs lists the programs of this machine without which an image cannot be written, in the order of its partitions.
// An image whose definitions cannot be read, see [Check], needs none.
func Programs(img *config.Image) []mkfs.Program {
	defs, _ := Definitions(img)
	var list []mkfs.Program
	for i := range defs {
		list = append(list, mkfs.Programs(&defs[i])...)
	}
	return list
}
