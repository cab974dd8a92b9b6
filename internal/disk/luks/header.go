package luks

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"
)

// The header is there twice, each time a block with what does not fit into
// JSON, and JSON up to the end of the metadata area. The key slots follow.
const (
	binarySize   = 4096
	metadataSize = 16 << 10
	slotsOffset  = 2 * metadataSize

	magicFirst  = "LUKS\xba\xbe"
	magicSecond = "SKUL\xba\xbe"

	saltAt     = 104
	saltSize   = 64
	checksumAt = 448
)

// encodeHeader is one of the two copies of a header.
func encodeHeader(o Options, copyMagic string, offset int64, meta []byte) ([]byte, error) {
	b := make([]byte, metadataSize)
	be := binary.BigEndian
	copy(b, copyMagic)
	be.PutUint16(b[6:], 2) // version
	be.PutUint64(b[8:], metadataSize)
	be.PutUint64(b[16:], 1) // how often it was written
	copy(b[24:], o.Label)
	copy(b[72:], "sha256")
	if _, err := io.ReadFull(o.Rand, b[saltAt:saltAt+saltSize]); err != nil {
		return nil, err
	}
	copy(b[168:], o.UUID.String())
	copy(b[208:], o.Subsystem)
	be.PutUint64(b[256:], uint64(offset))
	copy(b[binarySize:], meta)
	sum := checksum(b)
	copy(b[checksumAt:], sum[:])
	return b, nil
}

// checksum is the checksum of a copy of the header, whose field for it counts
// as zeros.
func checksum(b []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(b[:checksumAt])
	h.Write(make([]byte, saltSize))
	h.Write(b[checksumAt+saltSize:])
	return [sha256.Size]byte(h.Sum(nil))
}

// header is what is read of a header.
type header struct {
	sequence         uint64
	label, subsystem string
	uuid             uuid.UUID
	metadata         metadata
}

// metadataSizes are those that a metadata area can have, and so where the
// second copy of the header can be.
var metadataSizes = []int64{16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20}

// ErrNoHeader says that there is no LUKS header.
var ErrNoHeader = errors.New("no LUKS header")

// readHeader returns the newer of the two copies of the header that are
// undamaged.
func readHeader(r io.ReaderAt) (*header, error) {
	best, err := readCopy(r, magicFirst, 0)
	if err != nil && !errors.Is(err, errDamaged) && !errors.Is(err, ErrNoHeader) {
		return nil, err
	}
	for _, offset := range metadataSizes {
		h, copyErr := readCopy(r, magicSecond, offset)
		if copyErr == nil && (best == nil || h.sequence > best.sequence) {
			best = h
		}
		if copyErr != nil && errors.Is(err, ErrNoHeader) && !errors.Is(copyErr, ErrNoHeader) {
			err = copyErr
		}
	}
	if best == nil {
		return nil, err
	}
	return best, nil
}

var errDamaged = errors.New("the LUKS header is damaged")

// readCopy reads one copy of the header.
func readCopy(r io.ReaderAt, copyMagic string, offset int64) (*header, error) {
	b := make([]byte, binarySize)
	if n, err := r.ReadAt(b, offset); n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			return nil, ErrNoHeader
		}
		return nil, fmt.Errorf("reading a LUKS header: %w", err)
	}
	be := binary.BigEndian
	if string(b[:6]) != copyMagic {
		return nil, ErrNoHeader
	}
	if version := be.Uint16(b[6:]); version != 2 {
		return nil, fmt.Errorf("LUKS version %d is not supported", version)
	}
	size := be.Uint64(b[8:])
	if size < metadataSize || size > uint64(metadataSizes[len(metadataSizes)-1]) || size&(size-1) != 0 || be.Uint64(b[256:]) != uint64(offset) || offset > 0 && size != uint64(offset) {
		return nil, fmt.Errorf("%w: size and offset are wrong", errDamaged)
	}
	if alg := text(b[72:104]); alg != "sha256" {
		return nil, fmt.Errorf("LUKS headers with %q checksums are not supported", alg)
	}
	b = append(b, make([]byte, size-binarySize)...)
	if _, err := io.ReadFull(io.NewSectionReader(r, offset+binarySize, int64(size)-binarySize), b[binarySize:]); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if sum := checksum(b); !bytes.Equal(sum[:], b[checksumAt:checksumAt+len(sum)]) {
		return nil, fmt.Errorf("%w: its checksum is wrong", errDamaged)
	}
	h := &header{sequence: be.Uint64(b[16:]), label: text(b[24:72]), subsystem: text(b[208:256])}
	var err error
	if h.uuid, err = uuid.Parse(text(b[168:208])); err != nil {
		return nil, fmt.Errorf("%w: its UUID is not valid", errDamaged)
	}
	meta, _, _ := bytes.Cut(b[binarySize:], []byte{0})
	if err := json.Unmarshal(meta, &h.metadata); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return h, nil
}

// text is a string in a field of a header, which a zero byte ends.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}
