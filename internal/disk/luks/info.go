package luks

import (
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"strconv"

	"github.com/google/uuid"
)

// Info is what the header of a volume says without a passphrase. All of it may
// be anything where the header is not of our making.
type Info struct {
	// UUID, Label and Subsystem name the volume.
	UUID             uuid.UUID
	Label, Subsystem string
	// Keyslots, Segments and Tokens are in the order of their numbers.
	Keyslots []KeyslotInfo
	Segments []SegmentInfo
	Tokens   []TokenInfo
	// Flags are what whoever opens the volume is asked for, such as
	// "allow-discards".
	Flags []string
	// Requirements are what whoever opens the volume has to know, such as
	// "online-reencrypt-v2".
	Requirements []string
}

// KeyslotInfo describes a key slot.
type KeyslotInfo struct {
	Number int
	// Type is "luks2", or "reencrypt" for a slot that is none.
	Type string
	// KDF is argon2id, argon2i or pbkdf2. The first two have the next three
	// fields, with Memory in KiB; pbkdf2 the two after those.
	KDF                string
	Time, Memory, CPUs int
	Hash               string
	Iterations         int
	// Cipher encrypts the slot, KeySize is that of the key in it in bits.
	Cipher  string
	KeySize int
}

// SegmentInfo describes a part of the volume.
type SegmentInfo struct {
	Number int
	// Type is "crypt" for encrypted sectors.
	Type string
	// Offset is in bytes from the start of the volume, Size in bytes, -1 for
	// all that follows.
	Offset, Size int64
	// Cipher is as the kernel names it, SectorSize in bytes.
	Cipher     string
	SectorSize int
}

// TokenInfo is about something that opens key slots, such as a TPM.
type TokenInfo struct {
	Number int
	// Type is such as "systemd-tpm2".
	Type string
	// Keyslots are the numbers of those that it opens.
	Keyslots []string
}

// ReadInfo reads the header of a LUKS2 volume, or the second copy of it where
// the first is damaged. If there is none, the error wraps ErrNoHeader; LUKS1 is
// refused. A header takes up to 4 MiB, and a few times that in memory.
func ReadInfo(r io.ReaderAt) (*Info, error) {
	h, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	m := &h.metadata
	info := &Info{
		UUID: h.uuid, Label: h.label, Subsystem: h.subsystem,
		Flags: m.Config.Flags, Requirements: m.Config.Requirements.Mandatory,
	}
	for _, number := range numbers(m.Keyslots) {
		k := m.Keyslots[strconv.Itoa(number)]
		info.Keyslots = append(info.Keyslots, KeyslotInfo{
			Number: number, Type: k.Type,
			KDF: k.KDF.Type, Time: k.KDF.Time, Memory: k.KDF.Memory, CPUs: k.KDF.CPUs, Hash: k.KDF.Hash, Iterations: k.KDF.Iterations,
			Cipher: k.Area.Encryption, KeySize: k.KeySize * 8,
		})
	}
	for _, number := range numbers(m.Segments) {
		s := m.Segments[strconv.Itoa(number)]
		size := int64(-1)
		if s.Size != "dynamic" {
			if size, err = strconv.ParseInt(s.Size, 10, 64); err != nil || size < 0 {
				return nil, errDamaged
			}
		}
		info.Segments = append(info.Segments, SegmentInfo{
			Number: number, Type: s.Type, Offset: int64(s.Offset), Size: size, Cipher: s.Encryption, SectorSize: s.SectorSize,
		})
	}
	for _, number := range numbers(m.Tokens) {
		var t struct {
			Type     string   `json:"type"`
			Keyslots []string `json:"keyslots"`
		}
		if err := json.Unmarshal(m.Tokens[strconv.Itoa(number)], &t); err != nil {
			return nil, errDamaged
		}
		info.Tokens = append(info.Tokens, TokenInfo{Number: number, Type: t.Type, Keyslots: t.Keyslots})
	}
	return info, nil
}

// numbers are the names in a part of the metadata that are numbers as they have
// to be written, in order.
func numbers[T any](objects map[string]T) []int {
	var list []int
	for name := range objects {
		if n, err := strconv.Atoi(name); err == nil && n >= 0 && strconv.Itoa(n) == name {
			list = append(list, n)
		}
	}
	slices.SortFunc(list, cmp.Compare)
	return list
}
