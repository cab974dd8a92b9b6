package inspect

import (
	"errors"
	"io"

	"github.com/mkosi-go/mkosi/internal/disk/eltorito"
	"github.com/mkosi-go/mkosi/internal/disk/luks"
	"github.com/mkosi-go/mkosi/internal/disk/swap"
)

// boot describes the boot catalogue of a disk that is a CD as well.
func (im *Image) boot(s *Source) {
	in, err := eltorito.ReadInfo(s.r, s.size)
	switch {
	case errors.Is(err, eltorito.ErrNone):
	case err != nil:
		im.Boot = &BootCatalogue{Problem: err.Error()}
	default:
		im.Boot = &BootCatalogue{Volume: in.Volume, EFI: in.EFI, Bootable: in.Bootable, Offset: in.Offset}
	}
}

// swap describes swap space.
func (c *Content) swap(r io.ReaderAt, size int64) error {
	in, err := swap.ReadInfo(r, size)
	if err != nil {
		return err
	}
	c.Swap = &Swap{UUID: in.UUID, Label: in.Label, Size: in.Size}
	return nil
}

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
