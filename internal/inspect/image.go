// Package inspect looks into images that anybody may have made: disks, file
// systems, archives, trees and programs of UEFI firmware. It says what they
// are, checks what can be checked, and finds what differs between two of them.
// It only ever reads, and what it reads is not trusted.
package inspect

import (
	"encoding/hex"

	"github.com/google/uuid"
)

// Image is what is known of an image. As JSON it is what "mkosi inspect --json"
// prints: names of fields are the keys, and what there is nothing to say about
// is left out. Sizes and offsets are in bytes.
type Image struct {
	// Path is the image as it was named.
	Path string
	// Kind is what it is.
	Kind Kind
	// Size is that of the image, unpacked if it is compressed; not that of a
	// tree.
	Size int64 `json:",omitempty"`
	// Compression is how the whole file is compressed, such as "zstd".
	Compression string `json:",omitempty"`
	// Table and Partitions describe a disk.
	Table      *Table      `json:",omitempty"`
	Partitions []Partition `json:",omitempty"`
	// Boot is the boot catalogue of a disk that is a CD as well.
	Boot *BootCatalogue `json:",omitempty"`
	// Content is what there is in anything but a disk.
	Content *Content `json:",omitempty"`
}

// Kind is what an image is as a whole.
type Kind string

// The kinds of images.
const (
	KindDisk       Kind = "disk"
	KindFileSystem Kind = "file system"
	KindDirectory  Kind = "directory"
	KindArchive    Kind = "archive"
	KindPE         Kind = "UEFI program"
	KindVolume     Kind = "volume" // encrypted, swap, verity hashes or their signature
)

// Table is the partition table of a disk.
type Table struct {
	UUID       uuid.UUID // of the disk
	SectorSize int
	// Primary and Backup are the state of the two copies: "good", or what is
	// wrong. One of them always is good.
	Primary string
	Backup  string
	// FirstUsable and LastUsable are the sectors that partitions can have.
	FirstUsable, LastUsable uint64
}

// Good is the state of something that was checked and is as it has to be.
const Good = "good"

// Partition is a partition of a disk.
type Partition struct {
	Number int
	// Type is the name of the type as Type= of repart.d has it, or its UUID.
	Type     string
	TypeUUID uuid.UUID
	Label    string
	UUID     uuid.UUID
	Offset   int64
	Size     int64
	// Flags are the attribute bits, and Attributes the names of those that
	// have one.
	Flags      uint64
	Attributes []string `json:",omitempty"`
	Content    Content
}

// Content is what a partition or another piece of an image holds.
type Content struct {
	// Format is what it is, such as "erofs", "luks2" or "verity".
	Format     Format
	FileSystem *FileSystem `json:",omitempty"`
	Verity     *Verity     `json:",omitempty"`
	Signature  *Signature  `json:",omitempty"`
	LUKS       *LUKS       `json:",omitempty"`
	Swap       *Swap       `json:",omitempty"`
	Program    *Program    `json:",omitempty"`
	// Programs are those for the firmware on a file system, see Program.
	Programs []Program `json:",omitempty"`
	// Releases are the os-release and extension-release files.
	Releases []Release `json:",omitempty"`
	// Files is how many files, folders and others a tree has, and Bytes how
	// many bytes are in the files; hard links count once.
	Files int   `json:",omitempty"`
	Bytes int64 `json:",omitempty"`
	// Problem is why not all of it could be read.
	Problem string `json:",omitempty"`
}

// FileSystem is what a file system says of itself.
type FileSystem struct {
	// Kind tells variants of the format apart, such as "ext2" or "FAT32".
	Kind  string `json:",omitempty"`
	Label string `json:",omitempty"`
	// UUID is in the form of the file system: vfat has eight digits.
	UUID string `json:",omitempty"`
	Size int64  `json:",omitempty"`
	// Free is how much nothing uses yet; null where nothing says so.
	Free      *int64 `json:",omitempty"`
	BlockSize int64  `json:",omitempty"`
	// Compression is what its files are compressed with, as far as it says.
	Compression []string `json:",omitempty"`
	Features    []string `json:",omitempty"`
}

// Verity is a tree of dm-verity hashes.
type Verity struct {
	UUID                         uuid.UUID
	Algorithm                    string
	DataBlockSize, HashBlockSize int
	DataBlocks                   int64
	Salt                         Hex
	// RootHash is what the tree leads up to.
	RootHash Hex `json:",omitempty"`
	// Data is the number of the partition that the hashes are of, 0 if none
	// is found.
	Data int `json:",omitempty"`
	// MatchesUUIDs says that the UUIDs of the two partitions are the two
	// halves of the root hash, by which systemd finds them.
	MatchesUUIDs bool
	// State is "good" if all blocks are what the hashes say, else what is
	// wrong; "" if it was not checked.
	State string `json:",omitempty"`
	// Bad are the blocks that are not, MaxBad of them at most.
	Bad []BadBlock `json:",omitempty"`
}

// BadBlock is a block that is not what its hash says.
type BadBlock struct {
	// Partition is the number of the partition that the block is in.
	Partition int
	// Block is its number: within the data, or within a level of the hashes.
	Block int64
	// Level is -1 for data, else that of the hashes from the data upwards.
	Level int
	// Offset is where the block starts, from the start of the partition.
	Offset int64
	// DiskOffset is where it starts, from the start of the image.
	DiskOffset int64
	// File is the file whose content the block is part of, if that is known.
	File string `json:",omitempty"`
}

// Signature is a signature of something with one of the certificates that are
// trusted, or not.
type Signature struct {
	// RootHash is what a verity signature is of.
	RootHash Hex `json:",omitempty"`
	// Fingerprint is the SHA-256 digest of the certificate, and Signer its
	// subject, if that is known.
	Fingerprint Hex    `json:",omitempty"`
	Signer      string `json:",omitempty"`
	// State is "good" if the signature is one with a trusted certificate, else
	// what is wrong.
	State string
}

// LUKS is the header of an encrypted volume.
type LUKS struct {
	Version    int
	UUID       string
	Label      string `json:",omitempty"`
	Cipher     string
	KeySize    int `json:",omitempty"` // in bits
	SectorSize int `json:",omitempty"`
	// Slots are the ways to the key, and Tokens what some of them need.
	Slots  []LUKSSlot `json:",omitempty"`
	Tokens []string   `json:",omitempty"`
	// Requirements are what a program has to know that opens the volume.
	Requirements []string `json:",omitempty"`
}

// LUKSSlot is a key slot.
type LUKSSlot struct {
	Number int
	KDF    string // such as "argon2id"
}

// Swap is swap space.
type Swap struct {
	UUID  uuid.UUID
	Label string `json:",omitempty"`
	Size  int64
}

// Program is a program for UEFI firmware, perhaps a unified kernel image.
type Program struct {
	// Path is where it is in its file system.
	Path string `json:",omitempty"`
	// Architecture is that of its code, such as "x86-64".
	Architecture string `json:",omitempty"`
	// UKI says that it is a unified kernel image: it has a kernel in it.
	UKI      bool
	Size     int64
	Sections []Section `json:",omitempty"`
	// Uname and CommandLine are what the sections .uname and .cmdline say, and
	// Release what .osrel does.
	Uname       string   `json:",omitempty"`
	CommandLine string   `json:",omitempty"`
	Release     *Release `json:",omitempty"`
	// Boots are the ways to boot a unified kernel image, one for each of its
	// profiles; one of an image without profiles.
	Boots []Boot `json:",omitempty"`
	// Signatures are those for Secure Boot.
	Signatures []Signature `json:",omitempty"`
	Problem    string      `json:",omitempty"`
}

// Boot is one way to boot a unified kernel image.
type Boot struct {
	// ID and Title are those of its profile.
	ID          string `json:",omitempty"`
	Title       string `json:",omitempty"`
	CommandLine string `json:",omitempty"`
	// Register is what register 11 of a TPM, in the SHA-256 bank, holds when
	// the initrd starts. It is not there for an image whose stub chooses a
	// devicetree or firmware.
	Register Hex `json:",omitempty"`
	// Policies are how many policies for values of that register are there in
	// that bank, and PoliciesState whether they are for this image and signed
	// with the key in it: Good, or what is wrong.
	Policies      int    `json:",omitempty"`
	PoliciesState string `json:",omitempty"`
}

// Section is a section of a program.
type Section struct {
	Name   string
	Size   int64
	SHA256 Hex
}

// Release is an os-release or extension-release file.
type Release struct {
	Path   string `json:",omitempty"`
	Fields map[string]string
}

// BootCatalogue is an El Torito catalogue, with which firmware boots a CD.
type BootCatalogue struct {
	Volume string `json:",omitempty"`
	// EFI says that its first entry is for UEFI firmware, and Bootable that it
	// can be started; Offset is where it leads to.
	EFI, Bootable bool
	Offset        int64
	// Problem is why it could not be read.
	Problem string `json:",omitempty"`
}

// Hex is bytes that are written in hexadecimal digits.
type Hex []byte

// String returns the digits.
func (h Hex) String() string { return hex.EncodeToString(h) }

// MarshalText implements encoding.TextMarshaler.
func (h Hex) MarshalText() ([]byte, error) { return []byte(h.String()), nil }
