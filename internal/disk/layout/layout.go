// Package layout decides where the partitions of a disk go and how large they
// are, as systemd-repart(8) does. It knows numbers only.
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

// Partition is what the layout has to know about a partition, and what it
// finds out. All sizes are in bytes.
type Partition struct {
	// Name stands for the partition in errors.
	Name string
	// Type is what the partition is.
	Type uuid.UUID
	// Priority decides who is dropped when there is no room: the highest
	// first, those of zero and below never.
	Priority int32
	// Weight and PaddingWeight are the shares in space that is left over.
	Weight, PaddingWeight uint32
	// MinSize and MaxSize bound the size, MinPadding and MaxPadding that of
	// the free space behind it. Use Unlimited for an upper bound that there
	// is not.
	MinSize, MaxSize       int64
	MinPadding, MaxPadding int64

	// Existing is the partition if it is on the disk already.
	Existing *gpt.Partition

	// Number is that of the entry in the table, Offset and Size say where the
	// partition is, Padding how much behind it stays free. Place sets them.
	Number                int
	Offset, Size, Padding int64
	// Dropped says that there is no room for the partition.
	Dropped bool
}
