package disk

import (
	"context"
	"crypto"
	"crypto/x509"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// Options says what Build writes and from what.
type Options struct {
	// Path is the image file. Build creates it; it is an error if it
	// exists, and leaves removing it after an error to the caller.
	Path string

	// Definitions are the partitions in the order in which they are placed,
	// usually from ParseDefinitions or ExtensionDefinitions.
	Definitions []repart.Definition

	// Root is the directory that CopyFiles= paths are relative to.
	Root string

	// Seed is what all identifiers are derived from, see DiskUUID and
	// PartitionUUID. The zero value is a seed like any other.
	Seed uuid.UUID

	// SectorSize is the logical sector size in bytes: 512, 1024, 2048 or
	// 4096. Zero means 512.
	SectorSize int

	// Size is the size of the image in bytes; zero means as small as the
	// partitions allow.
	Size int64

	// SourceDateEpoch, when set, is the latest modification time, in seconds
	// since 1970, that a file may have in the image, and the time at which the
	// file systems say that they were made.
	SourceDateEpoch *int64

	// Key and Certificate sign the root hash of each verity signature
	// partition that is not deferred.
	Key         crypto.Signer
	Certificate *x509.Certificate

	// Defer names the partition types, as in Type=, whose space is reserved
	// but which are neither written nor entered into the partition table, so
	// that they can be added later.
	Defer []string

	// Run runs a program of the host with the given environment added to a
	// minimal one; nil means RunProgram.
	Run RunFunc
}

// RunFunc runs argv to its end. env holds variables in the form NAME=value.
// The error of a failing program must hold what it said on standard error.
type RunFunc func(ctx context.Context, argv, env []string) error

// Result describes a finished image.
type Result struct {
	// Size is the size of the image file in bytes.
	Size int64
	// UUID identifies the disk.
	UUID uuid.UUID
	// Partitions are in the order of their definitions, deferred ones
	// included.
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
	// Number counts from 1 in the partition table; zero when deferred.
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
}
