package repart

import (
	"strings"

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

// Encrypt says what opens an encrypted partition, Encrypt= of repart.d(5).
type Encrypt string

// The values of Encrypt=. Those with a TPM are refused when definitions are
// read: nothing seals keys to one yet.
const (
	EncryptOff     Encrypt = ""
	EncryptKeyFile Encrypt = "key-file"
)

// KDF is how a passphrase becomes a key, EncryptKDF= of repart.d(5). The zero
// value leaves the choice to the program.
type KDF string

// The values of EncryptKDF=.
const (
	KDFArgon2id KDF = "argon2id"
	KDFPBKDF2   KDF = "pbkdf2"
	KDFMinimal  KDF = "minimal"
)

// The file systems of Format=. FormatEmpty stands for a partition that is set
// aside for later, FormatSwap for swap space.
const (
	FormatExt4     = "ext4"
	FormatBtrfs    = "btrfs"
	FormatXFS      = "xfs"
	FormatF2FS     = "f2fs"
	FormatVFAT     = "vfat"
	FormatErofs    = "erofs"
	FormatSquashfs = "squashfs"
	FormatSwap     = "swap"
	FormatEmpty    = "empty"
)

// EmptyLabel is the name of a partition with Format=empty that is given none.
const EmptyLabel = "_empty"

// CopyBlocksAuto as CopyBlocks= means the partition that the running system
// was started from.
const CopyBlocksAuto = "auto"

// defaultWeight is the share of a partition that says nothing about it.
const defaultWeight = 1000

// Definition is one partition as a repart.d(5) file describes it. Sizes are in
// bytes. A nil pointer means that the file says nothing.
type Definition struct {
	// File is the name of the file, without its folder.
	File string
	// Type is what the partition is.
	Type PartitionType
	// Label is the partition's name; empty means a name made from the type,
	// unless NoLabel says that the partition is to have none.
	Label   string
	NoLabel bool
	// UUID is the partition's identifier; nil means a derived one.
	UUID *uuid.UUID
	// Priority decides who is left out when there is no room: the highest
	// first, those of zero and below never.
	Priority int32

	// Format is the file system, one of the Format constants; empty means none.
	// FormatImplied says that it follows from other settings.
	Format        string
	FormatImplied bool
	// CopyBlocks is an absolute path to a file whose bytes the partition is
	// filled with, or CopyBlocksAuto.
	CopyBlocks string
	// CopyFiles is what the file system is filled with.
	CopyFiles []CopyFiles
	// ExcludeFiles are paths in the source tree that are left out; with a
	// slash at the end the folder itself is kept.
	ExcludeFiles []string
	// ExcludeFilesTarget are the same for paths in the new file system.
	ExcludeFilesTarget []string
	// MakeDirectories are folders to create, mode 0755, owned by root.
	MakeDirectories []string
	// MakeSymlinks are symbolic links to create, owned by root.
	MakeSymlinks []Symlink
	// Subvolumes are the folders that are subvolumes of a btrfs.
	Subvolumes []Subvolume
	// DefaultSubvolume is the folder that is mounted when nothing says which.
	DefaultSubvolume string
	// AddValidateFS says whether the root folder of the file system names the
	// partition that it belongs on; nil means the default of Format.
	AddValidateFS *bool
	// Compression and CompressionLevel are for file systems that compress.
	Compression, CompressionLevel string
	// FileSystemSectorSize is the sector size of file system, LUKS and verity;
	// zero means the larger of 4096 and that of the disk.
	FileSystemSectorSize uint32

	// Encrypt is what opens the partition.
	Encrypt Encrypt
	// EncryptKDF is how the passphrase becomes a key.
	EncryptKDF KDF
	// KeyFile is an absolute path to the passphrase; empty means that of the
	// image.
	KeyFile string
	// VolumeLabel is the name in the LUKS header; empty means "luks-" and the
	// partition's label.
	VolumeLabel string
	// Discard is whether the LUKS header allows discards; nil means yes.
	Discard *bool

	// Verity and VerityMatchKey are the partition's place in a verity set.
	Verity         VerityRole
	VerityMatchKey string
	// VerityDataBlockSize and VerityHashBlockSize are from 512 to 4096; zero
	// means 4096.
	VerityDataBlockSize, VerityHashBlockSize uint32

	// Minimize is how the content decides on the size.
	Minimize Minimize
	// SizeMin and SizeMax bound the size; nil means the default.
	SizeMin, SizeMax *uint64
	// PaddingMin and PaddingMax bound the free space that follows.
	PaddingMin, PaddingMax *uint64
	// Weight and PaddingWeight are the shares in space that is left over; nil
	// means 1000 and 0.
	Weight, PaddingWeight uint32
	// SupplementFor names the definition that this one is merged into where
	// that is possible, without ".conf".
	SupplementFor string

	// Flags are the partition attributes, before the next three are applied.
	Flags uint64
	// NoAuto, ReadOnly and GrowFileSystem are single attributes; nil means the
	// default for the type.
	NoAuto, ReadOnly, GrowFileSystem *bool
	// FactoryReset says that a factory reset removes the partition.
	FactoryReset bool

	// MountPoints are the lines of fstab(5) that the partition gets.
	MountPoints []MountPoint
	// EncryptedVolume is the line of crypttab(5) that the partition gets, or
	// nil.
	EncryptedVolume *EncryptedVolume

	// SplitName is the suffix of the split artifact, for ExpandSplitName; "-"
	// means none.
	SplitName string
}

// Name is what SupplementFor= of another definition calls this one.
func (d *Definition) Name() string { return strings.TrimSuffix(d.File, ".conf") }

// hasContent reports whether anything is to be put into the file system.
func (d *Definition) hasContent() bool {
	return len(d.CopyFiles) > 0 || len(d.MakeDirectories) > 0 || len(d.MakeSymlinks) > 0
}

// bootable reports whether firmware or boot loaders read the partition.
func (d *Definition) bootable() bool {
	return d.Type.Role == RoleESP || d.Type.Role == RoleXBOOTLDR
}

// CopyFiles is one CopyFiles= of a definition: Source, a path in the tree, is
// copied to Target, a path in the new file system. Both are absolute and clean.
type CopyFiles struct {
	Source, Target string
}

// Symlink is one link of MakeSymlinks=: Path is in the new file system, Target
// is what the link says.
type Symlink struct {
	Path, Target string
}

// Subvolume is one folder of Subvolumes=.
type Subvolume struct {
	Path                string
	ReadOnly, NoDataCow bool
}

// MountPoint is one MountPoint= of a definition.
type MountPoint struct {
	Where, Options string
}

// EncryptedVolume is EncryptedVolume= of a definition. Empty fields stand for
// the defaults.
type EncryptedVolume struct {
	Name, KeyFile, Options string
	// FixateVolumeKey says that the options name the hash of the volume key.
	FixateVolumeKey bool
}
