package ext4

import (
	"fmt"
	"strings"
)

// features are what file systems are made with: what every kernel since 4.4
// and every e2fsprogs since 1.43 knows.
var features = []string{
	"none", "has_journal", "ext_attr", "resize_inode", "dir_index", "filetype", "extent", "64bit",
	"flex_bg", "sparse_super", "large_file", "huge_file", "dir_nlink", "extra_isize", "metadata_csum",
}

// Feature bits of the superblock that change what has to be written.
const (
	compatSparse2    = 0x200
	incompatFiletype = 0x2
	incompatExtents  = 0x40
	incompat64bit    = 0x80
	incompatFlexBG   = 0x200
	incompatSeed     = 0x2000
	roCompatSparse   = 0x1
	roCompatChecksum = 0x400
)

// featureSet is the features in one word of the superblock.
type featureSet struct {
	// at is the offset of the word.
	at int
	// required have to be there, known may be. The names are of those that are
	// refused.
	required, known uint32
	names           map[uint32]string
}

// featureSets are what a file system may have that is filled here: what needs
// nothing to be done as long as there are no files that make use of it.
var featureSets = []featureSet{
	// has_journal, ext_attr, resize_inode, dir_index, fast_commit,
	// stable_inodes, orphan_file
	{92, 0, 0x4 | 0x8 | 0x10 | 0x20 | 0x400 | 0x800 | 0x1000, map[uint32]string{
		0x1: "dir_prealloc", 0x2: "imagic_inodes", compatSparse2: "sparse_super2",
	}},
	// ea_inode, large_dir, encrypt, casefold
	{96, incompatFiletype | incompatExtents, incompat64bit | incompatFlexBG | incompatSeed | 0x400 | 0x4000 | 0x10000 | 0x20000, map[uint32]string{
		0x8: "journal_dev", 0x10: "meta_bg", 0x100: "mmp", 0x8000: "inline_data",
	}},
	// large_file, huge_file, dir_nlink, extra_isize, project, verity
	{100, roCompatSparse, roCompatChecksum | 0x2 | 0x8 | 0x20 | 0x40 | 0x2000 | 0x8000, map[uint32]string{
		0x10: "uninit_bg", 0x100: "quota", 0x200: "bigalloc", 0x1000: "read-only",
	}},
}

// checkFeatures returns an error when a superblock has features that change
// what has to be written into the file system in ways that are not known here.
func checkFeatures(super []byte) error {
	for _, set := range featureSets {
		have := le.Uint32(super[set.at:])
		if have&set.required != set.required {
			return fmt.Errorf("a file system without the features filetype, extent and sparse_super is not supported")
		}
		var names []string
		for bit := uint32(1); bit != 0; bit <<= 1 {
			if have&bit == 0 || (set.required|set.known)&bit != 0 {
				continue
			}
			name := set.names[bit]
			if name == "" {
				name = fmt.Sprintf("%#x", bit)
			}
			names = append(names, name)
		}
		if len(names) > 0 {
			return fmt.Errorf("a file system with the feature %s is not supported", strings.Join(names, ", "))
		}
	}
	return nil
}
