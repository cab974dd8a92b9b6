package erofs

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"strings"

	"github.com/google/uuid"
)

// Info is what the superblock of an image says.
type Info struct {
	UUID  uuid.UUID
	Label string
	// BlockSize is in bytes, and Size, the size of the file system, too.
	BlockSize int
	Size      int64
	// Inodes is the number of inodes.
	Inodes uint64
	// BuildTime is when the image was made, in seconds since 1970.
	BuildTime int64
	// Features are the names of the format's features that the image uses, as
	// dump.erofs(1) calls them; those without a name are numbers.
	Features []string
	// Algorithms are those that content may be compressed with.
	Algorithms []string
	// Checksum is the state of the superblock's checksum.
	Checksum Checksum
}

// Checksum is whether a superblock is intact.
type Checksum string

// The states of the checksum.
const (
	ChecksumAbsent Checksum = "absent"
	ChecksumGood   Checksum = "good"
	ChecksumBad    Checksum = "bad"
)

// compatNames and incompatNames are the names of features, by their bits.
// Several bits were given to two features that came with the same kernel.
var (
	compatNames   = []string{"sb_csum", "mtime", "xattr_filter", "shared_ea_in_metabox", "plain_xattr_pfx"}
	incompatNames = []string{
		"lz4_0padding", "compr_cfgs", "chunked_file", "device_table", "ztailpacking",
		"fragments", "xattr_prefixes", "48bit", "metabox",
	}
	algorithmNames = []string{"lz4", "lzma", "deflate", "zstd"}
)

// maxBlockBits is the largest block size that is read, as a power of two.
const maxBlockBits = 16

// superblock is what reading an image needs to know about it.
type superblock struct {
	compat, incompat uint32
	blockBits        int
	root             uint64
	inodes           uint64
	buildTime        int64
	buildNsec        uint32
	blocks           int64
	meta             int64
	shared           int64
	uuid             uuid.UUID
	label            string
	algorithms       uint16
	slots            int
	prefixes         int
	prefixStart      int64
	packed           uint64
	checksum         Checksum
}

// blockSize is the size of a block in bytes.
func (s *superblock) blockSize() int64 { return 1 << s.blockBits }

// ReadInfo reads the superblock of the image in r, which is size bytes long.
func ReadInfo(r io.ReaderAt, size int64) (*Info, error) {
	s, err := readSuperblock(r, size)
	if err != nil {
		return nil, err
	}
	i := &Info{
		UUID: s.uuid, Label: s.label, BlockSize: int(s.blockSize()), Size: s.blocks << s.blockBits,
		Inodes: s.inodes, BuildTime: s.buildTime, Checksum: s.checksum,
	}
	i.Features = append(bitNames(s.compat, compatNames, "compat"), bitNames(s.incompat, incompatNames, "incompat")...)
	if s.algorithms != 0 {
		i.Algorithms = bitNames(uint32(s.algorithms), algorithmNames, "algorithm")
	}
	return i, nil
}

// bitNames returns the names of the bits that are set.
func bitNames(set uint32, names []string, kind string) []string {
	var out []string
	for set != 0 {
		i := bits.TrailingZeros32(set)
		set &^= 1 << i
		if i < len(names) {
			out = append(out, names[i])
		} else {
			out = append(out, fmt.Sprintf("%s_%#x", kind, uint32(1)<<i))
		}
	}
	return out
}

// readSuperblock reads the superblock and checks what can be checked without
// the rest of the image.
func readSuperblock(r io.ReaderAt, size int64) (*superblock, error) {
	b := make([]byte, superSize)
	if size < superOffset+superSize {
		return nil, fmt.Errorf("no EROFS file system: only %d bytes", size)
	}
	if _, err := r.ReadAt(b, superOffset); err != nil {
		return nil, fmt.Errorf("reading the superblock: %w", err)
	}
	le := binary.LittleEndian
	if le.Uint32(b) != magic {
		return nil, fmt.Errorf("no EROFS file system: the magic number is missing")
	}
	s := &superblock{
		compat:    le.Uint32(b[8:]),
		incompat:  le.Uint32(b[80:]),
		blockBits: int(b[12]),
		slots:     int(b[13]),
		root:      uint64(le.Uint16(b[14:])),
		inodes:    le.Uint64(b[16:]),
		buildTime: int64(le.Uint64(b[24:])),
		buildNsec: le.Uint32(b[32:]),
		blocks:    int64(le.Uint32(b[36:])),
		label:     strings.TrimRight(string(b[64:80]), "\x00"),
		prefixes:  int(b[91]),
		packed:    le.Uint64(b[96:]),
	}
	copy(s.uuid[:], b[48:64])
	if s.blockBits < 9 || s.blockBits > maxBlockBits {
		return nil, fmt.Errorf("EROFS blocks of 2^%d bytes are not supported", s.blockBits)
	}
	if b[90] != 0 {
		return nil, fmt.Errorf("EROFS folders with blocks of their own size are not supported")
	}
	if s.incompat&incompat48Bit != 0 {
		s.blocks |= int64(le.Uint16(b[14:])) << 32
		s.root = le.Uint64(b[112:])
	}
	s.meta = int64(le.Uint32(b[40:])) << s.blockBits
	s.shared = int64(le.Uint32(b[44:])) << s.blockBits
	s.prefixStart = int64(le.Uint32(b[92:])) * 4
	switch {
	case s.incompat&incompatConfigs != 0:
		s.algorithms = le.Uint16(b[84:])
	case s.incompat&incompatPaddedFront != 0:
		s.algorithms = 1 << algorithmLZ4
	}
	var err error
	s.checksum, err = s.verify(r, size)
	return s, err
}

// verify computes the checksum of the superblock.
func (s *superblock) verify(r io.ReaderAt, size int64) (Checksum, error) {
	if s.compat&compatChecksum == 0 {
		return ChecksumAbsent, nil
	}
	n := s.blockSize()
	if n > superOffset {
		n -= superOffset
	}
	if size < superOffset+n {
		return ChecksumBad, nil
	}
	b := make([]byte, n)
	if _, err := r.ReadAt(b, superOffset); err != nil {
		return "", fmt.Errorf("reading the superblock: %w", err)
	}
	want := binary.LittleEndian.Uint32(b[4:])
	clear(b[4:8])
	if checksum(b) != want {
		return ChecksumBad, nil
	}
	return ChecksumGood, nil
}
