package authenticode

import (
	"encoding/binary"
	"errors"
)

const (
	// entryHeader is what is before each signature in the table: its length
	// with that, a revision, and its type (WIN_CERTIFICATE).
	entryHeader   = 8
	entryRevision = 0x200
	// TypePKCS7 is the type of a signature in the form of PKCS#7.
	TypePKCS7 = 2

	// maxSignatures is how many signatures of a file are looked at.
	maxSignatures = 32
)

// Signature is an entry of the table of signatures.
type Signature struct {
	// Type is [TypePKCS7], or something that firmware for UEFI does not know.
	Type uint16
	// Content is the signature itself.
	Content []byte
}

// ErrTable is what [ParseTable] returns for a table that is damaged.
var ErrTable = errors.New("the table of signatures is damaged")

// ParseTable reads the table of signatures, the 32 first of them, which refer to
// table. If it is damaged, the signatures up to there are returned with
// [ErrTable].
func ParseTable(table []byte) ([]Signature, error) {
	var list []Signature
	for len(table) >= entryHeader && len(list) < maxSignatures {
		length := int64(binary.LittleEndian.Uint32(table))
		if length < entryHeader || length > int64(len(table)) {
			return list, ErrTable
		}
		list = append(list, Signature{binary.LittleEndian.Uint16(table[6:]), table[entryHeader:length]})
		table = table[min((length+tableAlignment-1)&^(tableAlignment-1), int64(len(table))):]
	}
	return list, nil
}

// appendEntry appends a signature to a table whose end is at a multiple of
// tableAlignment.
func appendEntry(b, der []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(entryHeader+len(der)))
	b = le.AppendUint16(b, entryRevision)
	b = le.AppendUint16(b, TypePKCS7)
	b = append(b, der...)
	return append(b, make([]byte, -(entryHeader+len(der))&(tableAlignment-1))...)
}
