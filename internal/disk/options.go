package disk

import (
	"crypto"
	"crypto/x509"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// Options says what Build writes and from what.
type Options struct {
	// Path is the image file. Build creates it; it is an error if it exists,
	// unless Existing is set. Build leaves removing it after an error to the
	// caller.
	Path string
	// Existing says that Path is a finished image with a partition table:
	// partitions that it has already are matched with the definitions by their
	// types and may grow, the others are added. When Build fails before it
	// writes the table, the old table still describes what is there.
	Existing bool

	// Definitions are the partitions in the order in which they are placed.
	Definitions []repart.Definition
	// Include and Exclude name partition types, as in Type=: with Include only
	// these are made, and those of Exclude are not.
	Include, Exclude []string
	// Defer names the partition types whose space is reserved but which are
	// neither written nor entered into the partition table, so that they can
	// be added later. DeferEmpty and DeferFactoryReset do the same for those
	// with Format=empty and FactoryReset=yes.
	Defer                         []string
	DeferEmpty, DeferFactoryReset bool

	// Root is the directory that CopyFiles= paths are relative to.
	Root string
	// GenerateFstab and GenerateCrypttab are paths in Root of the fstab(5) and
	// crypttab(5) that the partitions' MountPoint= and EncryptedVolume= go to,
	// before Root is read; empty means that nothing is written. AppendFstab
	// says what becomes of a file that is there already: "no" is an error,
	// "replace" replaces it, and "auto" only what was generated in it.
	GenerateFstab, GenerateCrypttab, AppendFstab string
	// Seed is what all identifiers are derived from, see DiskUUID and
	// PartitionUUID. The zero value is a seed like any other.
	Seed uuid.UUID
	// SectorSize is the logical sector size in bytes: 512, 1024, 2048 or
	// 4096. Zero means 512, with file systems that expect 4096.
	SectorSize int
	// GrainSize is what partitions start at and are sized in multiples of, in
	// bytes; zero means 4096.
	GrainSize int64
	// Size is the size of the image in bytes; zero means as small as the
	// partitions allow. An existing image is never made smaller.
	Size int64
	// SourceDateEpoch, when set, is the latest modification time, in seconds
	// since 1970, that a file may have in the image, and the time at which the
	// file systems say that they were made.
	SourceDateEpoch *int64
	// ElTorito, when set, makes the image bootable as a CD-ROM.
	ElTorito *ElTorito

	// Key and Certificate sign the root hash of each verity signature
	// partition that is not deferred and not among JoinSignatures.
	Key         crypto.Signer
	Certificate *x509.Certificate
	// JoinSignatures are signatures of root hashes that were made elsewhere.
	JoinSignatures []JoinedSignature
	// Passphrase opens the partitions with Encrypt=key-file; with nil, each needs
	// a KeyFile= of its own.
	Passphrase []byte

	// Getenv looks up the variables that change how file systems are made,
	// SYSTEMD_REPART_MKFS_OPTIONS_* and SYSTEMD_REPART_OVERRIDE_FSTYPE*; nil
	// means that none is set.
	Getenv func(name string) string
	// TempDir is a private directory for temporary files, best on the file
	// system of the image; empty means that of the image.
	TempDir string
	// Warn is called with things that the user should know of and that are no
	// reason to stop, by several goroutines at a time; nil means that nobody
	// listens.
	Warn func(text string)
	// Run runs programs; nil means program.Run.
	Run program.RunFunc
}

// ElTorito is the identifiers in the ISO 9660 descriptors of an image that can
// be started as a CD-ROM. They may be empty.
type ElTorito struct {
	System, Volume, Publisher string
}

// Result describes a finished image.
type Result struct {
	// Size is the size of the image file in bytes.
	Size int64
	// SectorSize is in bytes.
	SectorSize int
	// UUID identifies the disk.
	UUID uuid.UUID
	// Partitions are in the order of their definitions, deferred ones
	// included. Those that there was no room for are missing.
	Partitions []Partition
}

// Partition is one partition of a finished image.
type Partition struct {
	// File is the name of the definition file.
	File string
	// Type is the kind of partition.
	Type repart.PartitionType
	// Label is the partition's name in the partition table.
	Label string
	// UUID identifies the partition.
	UUID uuid.UUID
	// Number counts from 1 in the partition table; deferred partitions have
	// theirs already.
	Number int
	// Offset and Size are in bytes from the start of the image.
	Offset, Size int64
	// RootHash is the root hash of the verity set that the partition belongs
	// to; nil when it belongs to none.
	RootHash []byte
	// SplitName is the suffix for split artifacts; empty means none.
	SplitName string
	// Deferred says that the partition's space is reserved, but empty.
	Deferred bool
	// Existing says that the partition was there before.
	Existing bool
}
