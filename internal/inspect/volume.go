package inspect

import (
	"io"

	"github.com/mkosi-go/mkosi/internal/disk/luks"
)

// luks describes an encrypted volume by its header.
func (c *Content) luks(r io.ReaderAt) error {
	in, err := luks.ReadInfo(r)
	if err != nil {
		return err
	}
	l := &LUKS{Version: 2, UUID: in.UUID.String(), Label: in.Label, Requirements: in.Requirements}
	for _, s := range in.Keyslots {
		l.Slots = append(l.Slots, LUKSSlot{s.Number, s.KDF})
		l.KeySize = max(l.KeySize, s.KeySize)
	}
	for _, s := range in.Segments {
		if l.Cipher == "" {
			l.Cipher, l.SectorSize = s.Cipher, s.SectorSize
		}
	}
	for _, t := range in.Tokens {
		l.Tokens = append(l.Tokens, t.Type)
	}
	c.LUKS = l
	return nil
}
