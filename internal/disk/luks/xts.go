package luks

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
)

// ivUnit is what sectors are numbered in, whatever their size: a sector of 4096
// bytes has a number divisible by 8.
const ivUnit = 512

// sectorCipher is AES in XTS mode (IEEE 1619) with the number of the sector as
// tweak, what the kernel calls aes-xts-plain64. Package xts of x/crypto works
// byte by byte, at a fifth of the speed.
type sectorCipher struct {
	data, tweak cipher.Block
}

// newSectorCipher takes two AES keys of 16 or 32 bytes, one behind the other.
func newSectorCipher(key []byte) (*sectorCipher, error) {
	data, err := aes.NewCipher(key[:len(key)/2])
	if err != nil {
		return nil, err
	}
	tweak, err := aes.NewCipher(key[len(key)/2:])
	if err != nil {
		return nil, err
	}
	return &sectorCipher{data, tweak}, nil
}

// sectorWorker is a sectorCipher with room for the tweaks of a sector, for one
// goroutine.
type sectorWorker struct {
	*sectorCipher
	tweaks []byte
}

func (c *sectorCipher) newWorker(sectorSize int) *sectorWorker {
	return &sectorWorker{c, make([]byte, sectorSize)}
}

// encrypt encrypts whole sectors in place; iv is the number of the first.
func (w *sectorWorker) encrypt(b []byte, iv uint64) {
	for n := len(w.tweaks); len(b) >= n; b = b[n:] {
		sector := b[:n]
		w.setTweaks(iv)
		subtle.XORBytes(sector, sector, w.tweaks)
		for s := sector; len(s) > 0; s = s[aes.BlockSize:] {
			w.data.Encrypt(s[:aes.BlockSize], s[:aes.BlockSize])
		}
		subtle.XORBytes(sector, sector, w.tweaks)
		iv += uint64(n / ivUnit)
	}
}

// decrypt is the reverse of encrypt.
func (w *sectorWorker) decrypt(b []byte, iv uint64) {
	for n := len(w.tweaks); len(b) >= n; b = b[n:] {
		sector := b[:n]
		w.setTweaks(iv)
		subtle.XORBytes(sector, sector, w.tweaks)
		for s := sector; len(s) > 0; s = s[aes.BlockSize:] {
			w.data.Decrypt(s[:aes.BlockSize], s[:aes.BlockSize])
		}
		subtle.XORBytes(sector, sector, w.tweaks)
		iv += uint64(n / ivUnit)
	}
}

// setTweaks sets the tweaks of the blocks of a sector: each is the one before
// multiplied by x, as a polynomial modulo x^128 + x^7 + x^2 + x + 1.
func (w *sectorWorker) setTweaks(iv uint64) {
	var first [aes.BlockSize]byte
	le := binary.LittleEndian
	le.PutUint64(first[:], iv)
	w.tweak.Encrypt(first[:], first[:])
	low, high := le.Uint64(first[:8]), le.Uint64(first[8:])
	for t := w.tweaks; len(t) >= aes.BlockSize; t = t[aes.BlockSize:] {
		le.PutUint64(t, low)
		le.PutUint64(t[8:], high)
		carry := uint64(int64(high) >> 63)
		high = high<<1 | low>>63
		low = low<<1 ^ carry&0x87
	}
}
