package luks

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"io"

	"golang.org/x/crypto/argon2"
)

// What a key slot of ours costs to open, and so each guess at the passphrase.
// cryptsetup measures the machine that it runs on, and takes what needs two
// seconds there and up to 1 GiB of memory. An image is opened elsewhere, often
// on a smaller machine or in a small initrd, and would depend on the builder's
// mood. So the memory is that of the second recommended option of RFC 9106,
// section 4, for where memory is scarce, which is also the least that
// cryptsetup takes by itself, with four times the passes to make up for some of
// the rest. "cryptsetup luksConvertKey" fits a slot to a machine.
const (
	argon2Memory = 64 << 10 // KiB
	argon2Time   = 12
	argon2CPUs   = 4
	// pbkdf2Iterations is about what OWASP asks for with SHA-256, and some more.
	pbkdf2Iterations = 1000000
	// minimalIterations is what systemd-repart takes, and the least that
	// cryptsetup accepts.
	minimalIterations = 1000
	// digestIterations is for recognizing the volume key, which is random and
	// so cannot be guessed.
	digestIterations = 1000

	slotSaltSize = 32
	stripes      = 4000
	// slotSize is the size of a key slot's area: the stripes, in whole pages.
	slotSize = (keySize*stripes + 4095) / 4096 * 4096
	// slotSector is the size of the sectors that an area is encrypted in.
	slotSector = 512
)

// newKDF is how a passphrase becomes a key, and the hash that goes with it.
func newKDF(kind KDF, salt []byte) (kdf, string, error) {
	switch kind {
	case "", KDFArgon2id:
		return kdf{Type: "argon2id", Time: argon2Time, Memory: argon2Memory, CPUs: argon2CPUs, Salt: salt}, "sha256", nil
	case KDFPBKDF2:
		return kdf{Type: "pbkdf2", Hash: "sha256", Iterations: pbkdf2Iterations, Salt: salt}, "sha256", nil
	case KDFMinimal:
		return kdf{Type: "pbkdf2", Hash: "sha512", Iterations: minimalIterations, Salt: salt}, "sha512", nil
	}
	return kdf{}, "", fmt.Errorf("unknown key derivation function %q", kind)
}

// makeHeader sets the header of a new volume.
func (v *Volume) makeHeader(o Options) error {
	salts := make([]byte, 2*slotSaltSize)
	if _, err := io.ReadFull(o.Rand, salts); err != nil {
		return err
	}
	var slot keyslot
	slot.Type, slot.KeySize = "luks2", keySize
	slot.Area.Type, slot.Area.Offset, slot.Area.Size = "raw", slotsOffset, slotSize
	slot.Area.Encryption, slot.Area.KeySize = cipherName, keySize
	slot.AF.Type, slot.AF.Stripes = "luks1", stripes
	var err error
	if slot.KDF, slot.AF.Hash, err = newKDF(o.KDF, salts[:slotSaltSize]); err != nil {
		return err
	}
	area, err := slot.seal(v.key, o.Passphrase, o.Rand)
	if err != nil {
		return err
	}
	d := digest{
		Type: "pbkdf2", Keyslots: []string{"0"}, Segments: []string{"0"},
		Hash: "sha256", Iterations: digestIterations, Salt: salts[slotSaltSize:],
	}
	if d.Digest, err = d.of(v.key, sha256.Size); err != nil {
		return err
	}
	m := metadata{
		Keyslots: map[string]keyslot{"0": slot},
		Tokens:   map[string]json.RawMessage{},
		Segments: map[string]segment{"0": {
			Type: "crypt", Offset: HeaderSize, Size: "dynamic", Encryption: cipherName, SectorSize: o.SectorSize,
		}},
		Digests: map[string]digest{"0": d},
		Config:  volumeConfig{JSONSize: metadataSize - binarySize, KeyslotsSize: HeaderSize - slotsOffset},
	}
	if o.AllowDiscards {
		m.Config.Flags = []string{"allow-discards"}
	}
	meta, err := json.Marshal(m)
	if err != nil {
		return err
	}
	v.header = []piece{{slotsOffset, area}}
	for i, copyMagic := range []string{magicFirst, magicSecond} {
		offset := int64(i) * metadataSize
		b, err := encodeHeader(o, copyMagic, offset, meta)
		if err != nil {
			return err
		}
		v.header = append(v.header, piece{offset, b})
	}
	return nil
}

// seal returns the content of the area of a key slot for a volume key.
func (k *keyslot) seal(key, passphrase []byte, random io.Reader) ([]byte, error) {
	newHash, err := hashByName(k.AF.Hash)
	if err != nil {
		return nil, err
	}
	area := make([]byte, k.Area.Size)
	if err := split(area[:len(key)*k.AF.Stripes], key, newHash, random); err != nil {
		return nil, err
	}
	c, err := k.cipher(passphrase)
	if err != nil {
		return nil, err
	}
	c.newWorker(slotSector).encrypt(area, 0)
	return area, nil
}

// open returns what a passphrase makes of the content of the area of a key
// slot: the volume key, if it is the right one.
func (k *keyslot) open(ctx context.Context, area, passphrase []byte) ([]byte, error) {
	newHash, err := hashByName(k.AF.Hash)
	if err != nil {
		return nil, err
	}
	c, err := k.cipher(passphrase)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.newWorker(slotSector).decrypt(area, 0)
	return merge(area[:k.KeySize*k.AF.Stripes], k.KeySize, newHash), nil
}

// cipher is what the area of a key slot is encrypted with.
func (k *keyslot) cipher(passphrase []byte) (*sectorCipher, error) {
	key, err := k.KDF.key(passphrase, k.Area.KeySize)
	if err != nil {
		return nil, err
	}
	return newSectorCipher(key)
}

// key makes a key of a passphrase.
func (k *kdf) key(passphrase []byte, size int) ([]byte, error) {
	switch k.Type {
	case "argon2id":
		return argon2.IDKey(passphrase, k.Salt, uint32(k.Time), uint32(k.Memory), uint8(k.CPUs), uint32(size)), nil
	case "argon2i":
		return argon2.Key(passphrase, k.Salt, uint32(k.Time), uint32(k.Memory), uint8(k.CPUs), uint32(size)), nil
	case "pbkdf2":
		newHash, err := hashByName(k.Hash)
		if err != nil {
			return nil, err
		}
		return pbkdf2.Key(newHash, string(passphrase), k.Salt, k.Iterations, size)
	}
	return nil, fmt.Errorf("key derivation function %q is not supported", k.Type)
}

// of is the digest of a key.
func (d *digest) of(key []byte, size int) ([]byte, error) {
	if d.Type != "pbkdf2" {
		return nil, fmt.Errorf("digests of type %q are not supported", d.Type)
	}
	newHash, err := hashByName(d.Hash)
	if err != nil {
		return nil, err
	}
	return pbkdf2.Key(newHash, string(key), d.Salt, d.Iterations, size)
}

func hashByName(name string) (func() hash.Hash, error) {
	switch name {
	case "sha1":
		return sha1.New, nil
	case "sha256":
		return sha256.New, nil
	case "sha512":
		return sha512.New, nil
	}
	return nil, fmt.Errorf("hash function %q is not supported", name)
}

// split spreads a key over all of to, a number of stripes of its size, so that no part of
// it can be had without every bit of to: the anti-forensic splitter of LUKS.
func split(to, key []byte, newHash func() hash.Hash, random io.Reader) error {
	last := to[len(to)-len(key):]
	if _, err := io.ReadFull(random, to[:len(to)-len(key)]); err != nil {
		return err
	}
	subtle.XORBytes(last, key, mixed(to, len(key), newHash))
	return nil
}

// merge is the key that split spread.
func merge(from []byte, size int, newHash func() hash.Hash) []byte {
	key := make([]byte, size)
	subtle.XORBytes(key, from[len(from)-size:], mixed(from, size, newHash))
	return key
}

// mixed mixes all stripes but the last.
func mixed(b []byte, size int, newHash func() hash.Hash) []byte {
	mix := make([]byte, size)
	for ; len(b) > size; b = b[size:] {
		subtle.XORBytes(mix, mix, b[:size])
		diffuse(mix, newHash())
	}
	return mix
}

// diffuse replaces each part of b that is as long as a digest by the digest of
// its number and itself, cut where b ends.
func diffuse(b []byte, h hash.Hash) {
	for i := uint32(0); len(b) > 0; i++ {
		n := min(len(b), h.Size())
		h.Reset()
		h.Write(binary.BigEndian.AppendUint32(nil, i))
		h.Write(b[:n])
		copy(b, h.Sum(nil)[:n])
		b = b[n:]
	}
}
