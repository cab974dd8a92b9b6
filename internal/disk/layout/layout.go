// Package layout decides where the partitions of a disk go and how large they
// are, as systemd-repart(8) does. It knows numbers only. Its rules were found
// by comparing the tables of random partitions on random disks.
package layout

import (
	"math"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
)

// DefaultGrain is what partitions start at and are sized in multiples of, in
// bytes, unless something else is asked for or the sectors are larger.
const DefaultGrain = 4096

// DefaultMinSize is the size that a partition has at least when nothing says
// otherwise, in bytes, and SmallestSize what it has in any case.
const (
	DefaultMinSize = 10 << 20
	SmallestSize   = 4096
)

// alignment is where the first partition of a disk that is not tiny starts, in
// bytes, and what a disk of automatic size sets aside for that.
const alignment = 1 << 20

// Unlimited is the upper bound of a size that has none.
const Unlimited = math.MaxInt64

// Bounds is what limits a partition and the free space behind it. Sizes are in
// bytes.
type Bounds struct {
	// Weight and PaddingWeight are the shares in space that is left over.
	Weight, PaddingWeight uint32
	// MinSize and MaxSize bound the size, MinPadding and MaxPadding that of
	// the free space behind it. Use Unlimited for an upper bound that there
	// is not. An upper bound below the lower one counts for nothing.
	MinSize, MaxSize       int64
	MinPadding, MaxPadding int64
}

// Partition is what the layout has to know about a partition, and what it
// finds out.
type Partition struct {
	Bounds
	// Name stands for the partition in errors.
	Name string
	// Type is what the partition is. A partition on the disk that has the type
	// is taken for this one.
	Type uuid.UUID
	// Priority decides who is dropped when there is no room: the highest
	// first, those of zero and below never.
	Priority int32
	// Target is the partition in the list that this one supplements, or nil:
	// as long as there is room for that, only Target is made, with the bounds
	// in Merged.
	Target *Partition
	Merged Bounds

	// Existing is the partition if it is on the disk already. Place sets it and
	// everything below.
	Existing *gpt.Partition
	// Number is that of the entry in the table.
	Number int
	// Offset and Size say where the partition is, Padding how much behind it
	// stays free, in bytes.
	Offset, Size, Padding int64
	// Dropped says that there is no room for the partition or, if it exists,
	// for its growth.
	Dropped bool
	// IsMerged says that the partition is not made because Target does for it.
	IsMerged bool
}
