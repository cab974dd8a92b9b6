package luks

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// metadata is the JSON object in a header. The fields are in the order of
// cryptsetup's.
type metadata struct {
	Keyslots map[string]keyslot         `json:"keyslots"`
	Tokens   map[string]json.RawMessage `json:"tokens"`
	Segments map[string]segment         `json:"segments"`
	Digests  map[string]digest          `json:"digests"`
	Config   volumeConfig               `json:"config"`
}

// keyslot holds the volume key under one passphrase.
type keyslot struct {
	Type    string `json:"type"`
	KeySize int    `json:"key_size"`
	AF      struct {
		Type    string `json:"type"`
		Stripes int    `json:"stripes"`
		Hash    string `json:"hash"`
	} `json:"af"`
	Area struct {
		Type       string `json:"type"`
		Offset     number `json:"offset"`
		Size       number `json:"size"`
		Encryption string `json:"encryption"`
		KeySize    int    `json:"key_size"`
	} `json:"area"`
	KDF kdf `json:"kdf"`
}

// kdf makes the key of a key slot's area from a passphrase: pbkdf2 has a hash
// and iterations, the kinds of argon2 have the rest. Memory is in KiB.
type kdf struct {
	Type       string `json:"type"`
	Time       int    `json:"time,omitempty"`
	Memory     int    `json:"memory,omitempty"`
	CPUs       int    `json:"cpus,omitempty"`
	Hash       string `json:"hash,omitempty"`
	Iterations int    `json:"iterations,omitempty"`
	Salt       []byte `json:"salt"`
}

// segment is a part of the volume. Size is a number of bytes, or "dynamic" for
// all that follows Offset. IVTweak is the number of the first sector.
type segment struct {
	Type       string `json:"type"`
	Offset     number `json:"offset"`
	Size       string `json:"size"`
	IVTweak    number `json:"iv_tweak"`
	Encryption string `json:"encryption"`
	SectorSize int    `json:"sector_size"`
	// Integrity is there when each sector has a tag beside it.
	Integrity json.RawMessage `json:"integrity,omitempty"`
}

// digest recognizes the volume key.
type digest struct {
	Type       string   `json:"type"`
	Keyslots   []string `json:"keyslots"`
	Segments   []string `json:"segments"`
	Hash       string   `json:"hash"`
	Iterations int      `json:"iterations"`
	Salt       []byte   `json:"salt"`
	Digest     []byte   `json:"digest"`
}

type volumeConfig struct {
	JSONSize     number   `json:"json_size"`
	KeyslotsSize number   `json:"keyslots_size"`
	Flags        []string `json:"flags,omitempty"`
	Requirements struct {
		Mandatory []string `json:"mandatory,omitempty"`
	} `json:"requirements,omitzero"`
}

// number is an integer of 64 bits, which the format has as text.
type number int64

func (n number) MarshalText() ([]byte, error) {
	return strconv.AppendInt(nil, int64(n), 10), nil
}

func (n *number) UnmarshalText(b []byte) error {
	v, err := strconv.ParseUint(string(b), 10, 63)
	if err != nil {
		return fmt.Errorf("%q is not a number of bytes", b)
	}
	*n = number(v)
	return nil
}
