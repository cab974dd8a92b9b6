package disk

import (
	"github.com/google/uuid"
)

// VerityRole is a partition's place in a verity set, Verity= of repart.d(5).
type VerityRole string

// The places in a verity set. The zero value is for partitions outside of any.
const (
	VerityOff           VerityRole = ""
	VerityDataRole      VerityRole = "data"
	VerityHashRole      VerityRole = "hash"
	VeritySignatureRole VerityRole = "signature"
)

// Minimize is how a partition's size follows from its content.
type Minimize string

// The values of Minimize=. The zero value leaves the size to SizeMin and
// SizeMax.
const (
	MinimizeOff   Minimize = ""
	MinimizeBest  Minimize = "best"
	MinimizeGuess Minimize = "guess"
)

// defaultWeight and defaultSizeMin are what repart.d(5) gives a partition that
// says nothing about its size.
const (
	defaultWeight  = 1000
	defaultSizeMin = 10 << 20
)

// Definition is one partition as a repart.d(5) file describes it.
type Definition struct {
	// File is the name of the file, without its folder.
	File string
	// Type is what the partition is.
	Type PartitionType
	// Label is the partition's name; empty means a name made from the type.
	Label string
	// UUID is the partition's identifier; nil means a derived one.
	UUID *uuid.UUID

	// Format is the file system: "erofs" or "ext4"; empty means none.
	Format string
	// CopyFiles is what the file system is filled with.
	CopyFiles []CopyFiles
	// ExcludeFiles are paths in the source tree that are left out; with a
	// slash at the end the folder itself is kept.
	ExcludeFiles []string
	// ExcludeFilesTarget are the same for paths in the new file system.
	ExcludeFilesTarget []string
	// MakeDirectories are folders to create, mode 0755, owned by root.
	MakeDirectories []string
	// AddValidateFS says whether the root folder of the file system names the
	// partition that it belongs on; nil means the default of Format.
	AddValidateFS *bool

	// Verity and VerityMatchKey are the partition's place in a verity set.
	Verity         VerityRole
	VerityMatchKey string

	// Minimize is how the content decides on the size.
	Minimize Minimize
	// SizeMin and SizeMax bound the size in bytes; nil means the default.
	SizeMin, SizeMax *uint64
	// PaddingMin and PaddingMax bound the free space that follows, in bytes.
	PaddingMin, PaddingMax *uint64
	// Weight and PaddingWeight are the shares in space that is left over.
	Weight, PaddingWeight uint32

	// Flags are the partition attributes, before the next three are applied.
	Flags uint64
	// NoAuto, ReadOnly and GrowFileSystem are single attributes; nil means the
	// default for the type.
	NoAuto, ReadOnly, GrowFileSystem *bool

	// SplitName is the suffix of the split artifact; "-" means none.
	SplitName string
}

// CopyFiles is one CopyFiles= of a definition: Source, a path in the tree, is
// copied to Target, a path in the new file system. Both are absolute and clean.
type CopyFiles struct {
	Source, Target string
}
