// Package luks makes encrypted volumes in the LUKS2 format of cryptsetup
// without the help of the kernel, and reads them: the "LUKS2 On-Disk Format
// Specification", version 1.1. A volume is a header with a key slot for a
// passphrase, and sectors encrypted with AES-256 in XTS mode.
package luks

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
)

// HeaderSize is how many bytes of a volume come before the encrypted sectors,
// as cryptsetup has it by default: room for more key slots.
const HeaderSize = 16 << 20

// ErrPassphrase says that a passphrase opens no key slot.
var ErrPassphrase = errors.New("no key slot can be opened with this passphrase")

const (
	// keySize is that of the volume key: two of AES-256, as XTS takes them.
	keySize    = 64
	cipherName = "aes-xts-plain64"
	// labelSize is that of the fields for label and subsystem, whose last byte
	// is zero.
	labelSize   = 48
	defaultSize = 4096
)

// KDF says how a passphrase becomes the key of a key slot, as EncryptKDF= of
// repart.d(5) names it.
type KDF string

// The values of KDF. The zero value stands for KDFArgon2id.
const (
	KDFArgon2id KDF = "argon2id"
	KDFPBKDF2   KDF = "pbkdf2"
	// KDFMinimal does next to nothing, for keys that nobody could guess.
	KDFMinimal KDF = "minimal"
)

// Options describe a new volume.
type Options struct {
	// UUID identifies the volume.
	UUID uuid.UUID
	// Label and Subsystem are shown by tools, and may be empty. At most 47
	// bytes each, without zero bytes.
	Label, Subsystem string
	// Passphrase opens the volume: any bytes, even none. A key file is a
	// passphrase as a whole, with a newline at its end if it has one. It is
	// kept nowhere after New.
	Passphrase []byte
	// KDF is how the passphrase becomes a key.
	KDF KDF
	// SectorSize is the size of the encrypted sectors in bytes: 512, 1024, 2048
	// or 4096. Zero means 4096.
	SectorSize int
	// AllowDiscards asks who opens the volume to pass discards through, which
	// shows on the disk which sectors are unused.
	AllowDiscards bool
	// Rand is where keys and salts come from; nil means crypto/rand.
	Rand io.Reader
}

func (o *Options) check() error {
	switch o.SectorSize {
	case 512, 1024, 2048, 4096:
	default:
		return fmt.Errorf("LUKS sector size %d is none of 512, 1024, 2048, 4096", o.SectorSize)
	}
	for _, s := range []string{o.Label, o.Subsystem} {
		if len(s) >= labelSize {
			return fmt.Errorf("LUKS label %q is %d bytes long, the limit is %d", s, len(s), labelSize-1)
		}
		if strings.ContainsRune(s, 0) {
			return fmt.Errorf("LUKS label %q has a zero byte in it", s)
		}
	}
	return nil
}

// Volume is an encrypted volume whose key is known. Its methods may be called
// by several goroutines.
type Volume struct {
	id         uuid.UUID
	key        []byte
	sectorSize int
	// offset is where the encrypted sectors start.
	offset int64
	// header is what WriteHeader writes, in parts; nil for a volume that was
	// opened.
	header []piece
}

// piece is a part of the header and where it goes.
type piece struct {
	offset int64
	data   []byte
}

// New makes the key and the header of a new volume. With KDFArgon2id it takes
// 64 MiB of memory for a moment, see argon2Memory.
func New(o Options) (*Volume, error) {
	if o.SectorSize == 0 {
		o.SectorSize = defaultSize
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	v := &Volume{id: o.UUID, key: make([]byte, keySize), sectorSize: o.SectorSize, offset: HeaderSize}
	if _, err := io.ReadFull(o.Rand, v.key); err != nil {
		return nil, fmt.Errorf("making a LUKS volume key: %w", err)
	}
	if err := v.makeHeader(o); err != nil {
		return nil, fmt.Errorf("making a LUKS header: %w", err)
	}
	return v, nil
}

// UUID identifies the volume.
func (v *Volume) UUID() uuid.UUID { return v.id }

// DataOffset is where the encrypted sectors start, in bytes from the start of
// the volume: HeaderSize for one of New.
func (v *Volume) DataOffset() int64 { return v.offset }

// SectorSize is the size of the encrypted sectors in bytes.
func (v *Volume) SectorSize() int { return v.sectorSize }

// WriteHeader writes the header of a volume of New to the start of w, where
// HeaderSize bytes of zeros are expected: it leaves out what is unused, while
// cryptsetup fills that with random bytes. They hide nothing, since the header
// says which key slots there are, and would be 16 MiB that cannot be compressed.
func (v *Volume) WriteHeader(w io.WriterAt) error {
	if v.header == nil {
		return errors.New("writing a LUKS header: the volume exists already")
	}
	for _, p := range v.header {
		if _, err := w.WriteAt(p.data, p.offset); err != nil {
			return fmt.Errorf("writing a LUKS header: %w", err)
		}
	}
	return nil
}

// VolumeKeyHash is what the option fixate-volume-key= of crypttab(5) has to say
// of the volume's key, when the volume is opened under a certain name: an
// HMAC-SHA256 with the key, found by comparing with systemd-repart.
func (v *Volume) VolumeKeyHash(name string) string {
	mac := hmac.New(sha256.New, v.key)
	fmt.Fprintf(mac, "cryptsetup:%s:%s", name, v.id)
	return hex.EncodeToString(mac.Sum(nil))
}
