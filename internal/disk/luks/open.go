package luks

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// What Open is willing to spend on a key slot, since a header may come from
// anybody. cryptsetup makes none that cost more.
const (
	maxArgon2Memory = 4 << 20 // KiB
	maxArgon2Time   = 1000
	maxIterations   = 1 << 30
	maxSlotArea     = 1 << 20
	maxSalt         = 1 << 10
	maxKeyslots     = 32
)

// Open opens a volume with a passphrase. If that is wrong, the error wraps
// ErrPassphrase. Volumes with another cipher than AES in XTS mode, with more
// than one segment, or whose header asks for something that Open does not know,
// are refused. A header can make it take up to 4 GiB of memory, as cryptsetup
// would.
func Open(ctx context.Context, r io.ReaderAt, passphrase []byte) (*Volume, error) {
	h, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	v, d, err := h.volume()
	if err != nil {
		return nil, fmt.Errorf("opening a LUKS volume: %w", err)
	}
	for _, name := range slotNames(h.metadata.Keyslots) {
		k := h.metadata.Keyslots[name]
		if !slices.Contains(d.Keyslots, name) || k.Type != "luks2" {
			continue
		}
		key, err := k.read(ctx, r, passphrase)
		if err != nil {
			return nil, fmt.Errorf("opening key slot %s of a LUKS volume: %w", name, err)
		}
		got, err := d.of(key, len(d.Digest))
		if err != nil {
			return nil, fmt.Errorf("opening a LUKS volume: %w", err)
		}
		if subtle.ConstantTimeCompare(got, d.Digest) == 1 {
			v.key = key
			return v, nil
		}
	}
	return nil, ErrPassphrase
}

// volume returns the volume that a header describes, without its key, and the
// digest that recognizes the key.
func (h *header) volume() (*Volume, *digest, error) {
	m := &h.metadata
	if len(m.Config.Requirements.Mandatory) > 0 {
		return nil, nil, fmt.Errorf("it requires %q, which is not supported", m.Config.Requirements.Mandatory)
	}
	s, ok := m.Segments["0"]
	if !ok || len(m.Segments) != 1 {
		return nil, nil, fmt.Errorf("volumes with %d segments are not supported", len(m.Segments))
	}
	if s.Integrity != nil {
		return nil, nil, errors.New("sectors with integrity tags are not supported")
	}
	if s.Type != "crypt" || s.Encryption != cipherName || s.IVTweak != 0 {
		return nil, nil, fmt.Errorf("segments of type %q with %q are not supported", s.Type, s.Encryption)
	}
	if !slices.Contains([]int{512, 1024, 2048, 4096}, s.SectorSize) {
		return nil, nil, fmt.Errorf("sectors of %d bytes are not supported", s.SectorSize)
	}
	for _, d := range m.Digests {
		if slices.Contains(d.Segments, "0") {
			if d.Iterations < 1 || d.Iterations > maxIterations || len(d.Salt) > maxSalt || len(d.Digest) < 16 || len(d.Digest) > maxSalt {
				return nil, nil, errors.New("the digest of the volume key is not valid")
			}
			return &Volume{id: h.uuid, sectorSize: s.SectorSize, offset: int64(s.Offset)}, &d, nil
		}
	}
	return nil, nil, errors.New("the segment has no digest")
}

// slotNames are the key slots in the order of their numbers, no more than there
// can be.
func slotNames(slots map[string]keyslot) []string {
	var names []string
	for i := range maxKeyslots {
		if name := strconv.Itoa(i); slots[name].Type != "" {
			names = append(names, name)
		}
	}
	return names
}

// read returns what a passphrase makes of a key slot.
func (k *keyslot) read(ctx context.Context, r io.ReaderAt, passphrase []byte) ([]byte, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	area := make([]byte, k.Area.Size)
	if _, err := io.ReadFull(io.NewSectionReader(r, int64(k.Area.Offset), int64(k.Area.Size)), area); err != nil {
		return nil, fmt.Errorf("reading its area: %w", err)
	}
	return k.open(ctx, area, passphrase)
}

// check returns an error when a key slot of others cannot be opened.
func (k *keyslot) check() error {
	valid := func(size int) bool { return size == 32 || size == 64 }
	switch {
	case k.Area.Type != "raw" || k.Area.Encryption != cipherName || k.AF.Type != "luks1":
		return fmt.Errorf("areas of type %q with %q are not supported", k.Area.Type, k.Area.Encryption)
	case !valid(k.KeySize) || !valid(k.Area.KeySize):
		return fmt.Errorf("keys of %d and %d bytes are not supported", k.KeySize, k.Area.KeySize)
	case k.AF.Stripes < 1 || k.AF.Stripes > maxSlotArea/k.KeySize:
		return fmt.Errorf("%d stripes are not supported", k.AF.Stripes)
	case k.Area.Size > maxSlotArea || k.Area.Size < number(k.KeySize*k.AF.Stripes) || k.Area.Size%slotSector != 0:
		return fmt.Errorf("an area of %d bytes is not supported", k.Area.Size)
	case len(k.KDF.Salt) > maxSalt:
		return fmt.Errorf("a salt of %d bytes is not supported", len(k.KDF.Salt))
	case k.KDF.Type == "pbkdf2":
		if k.KDF.Iterations < 1 || k.KDF.Iterations > maxIterations {
			return fmt.Errorf("%d iterations are not supported", k.KDF.Iterations)
		}
	case k.KDF.Time < 1 || k.KDF.Time > maxArgon2Time || k.KDF.Memory < 1 || k.KDF.Memory > maxArgon2Memory || k.KDF.CPUs < 1 || k.KDF.CPUs > 255:
		return fmt.Errorf("%s with %d passes over %d KiB in %d lanes is not supported", k.KDF.Type, k.KDF.Time, k.KDF.Memory, k.KDF.CPUs)
	}
	return nil
}
