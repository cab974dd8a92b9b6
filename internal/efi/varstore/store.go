// Package varstore reads and writes the files in which OVMF, the UEFI firmware
// of virtual machines, keeps its variables, such as OVMF_VARS_4M.fd: an image of
// flash memory that is a firmware volume (UEFI Platform Initialization
// Specification 1.8, volume 3, section 3.2) with a store of authenticated
// variables, as EDK II lays it out, at its start.
//
// Content and keys of a machine that has not started yet are written this way,
// past all signatures that its firmware will demand later.
package varstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/efi/variable"
)

// maxFile bounds what is read as such a file, in bytes: that of the firmware for
// arm64 has 64 MiB.
const maxFile = 64 << 20

// Places and sizes within the header of the volume, in bytes.
const (
	volumeTypeAt     = 16
	volumeLengthAt   = 32
	volumeMarkAt     = 40
	volumeHeaderAt   = 48 // where it has its own size
	volumeRevisionAt = 55
	volumeHeaderMin  = 72

	volumeMark     = "_FVH"
	volumeRevision = 2
)

// Places and sizes within the header of the store, in bytes.
const (
	storeLengthAt = 16 // of everything, the header too
	storeFormatAt = 20
	storeStateAt  = 21
	storeHeader   = 28

	storeFormatted = 0x5a
	storeHealthy   = 0xfe
)

// erased is what every byte of flash memory is that was not written yet.
const erased = 0xff

// Store is the content of a file.
type Store struct {
	image      []byte // the whole file
	start, end int    // where in it the variables are
	variables  map[variable.ID]Variable
}

// Variable is the value of a variable.
type Variable struct {
	Attributes variable.Attributes
	// Time is when one with the attribute [variable.TimeBased] was changed
	// last, in seconds; others have the zero Time.
	Time time.Time
	// Data is the content, at least one byte.
	Data []byte

	count uint64 // two ways to authenticate changes that are not in use any more
	key   uint32
}

// Open reads a file, see [Parse].
func Open(path string) (*Store, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.LimitReader(f, maxFile+1)); err != nil {
		return nil, err
	}
	s, err := Parse(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("reading the firmware variables in %s: %w", path, err)
	}
	return s, nil
}

// Parse reads the content of a file, which is not changed later.
func Parse(b []byte) (*Store, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("%d bytes are more than the %d of the largest variable store", len(b), maxFile)
	}
	start, end, err := locate(b)
	if err != nil {
		return nil, err
	}
	s := &Store{bytes.Clone(b), start, end, map[variable.ID]Variable{}}
	return s, s.read()
}

// locate checks the headers, and returns where the variables are.
func locate(b []byte) (start, end int, err error) {
	le := binary.LittleEndian
	if len(b) < volumeHeaderMin || string(b[volumeMarkAt:][:len(volumeMark)]) != volumeMark || variable.GUID(b[volumeTypeAt:]) != volumeType() {
		return 0, 0, errors.New("not a store of firmware variables")
	}
	length, header := le.Uint64(b[volumeLengthAt:]), int(le.Uint16(b[volumeHeaderAt:]))
	if length > uint64(len(b)) || header < volumeHeaderMin || header%recordAlignment != 0 || uint64(header) > length || int(length)-header < storeHeader {
		return 0, 0, fmt.Errorf("a firmware volume of %d bytes with a header of %d does not fit into %d bytes", length, header, len(b))
	}
	if b[volumeRevisionAt] != volumeRevision {
		return 0, 0, fmt.Errorf("firmware volumes of revision %d are not supported", b[volumeRevisionAt])
	}
	var sum uint16
	for word := range slices.Chunk(b[:header], 2) {
		sum += le.Uint16(word)
	}
	if sum != 0 {
		return 0, 0, errors.New("the header of the firmware volume is damaged: its checksum is wrong")
	}
	store := b[header:length]
	if variable.GUID(store) != storeType() {
		return 0, 0, fmt.Errorf("variable stores of type %s are not supported", variable.GUID(store))
	}
	size := int64(le.Uint32(store[storeLengthAt:]))
	if size < storeHeader || size > int64(len(store)) {
		return 0, 0, fmt.Errorf("a variable store of %d bytes does not fit into %d", size, len(store))
	}
	if store[storeFormatAt] != storeFormatted || store[storeStateAt] != storeHealthy {
		return 0, 0, fmt.Errorf("the variable store is not in use: its format is %#x and its state %#x", store[storeFormatAt], store[storeStateAt])
	}
	return header + storeHeader, header + int(size), nil
}

// volumeType is the type of a firmware volume for variables.
func volumeType() uuid.UUID { return uuid.MustParse("fff12b8d-7696-4c8b-a985-2747075b4f50") }

// storeType is the type of a store whose variables can be authenticated.
func storeType() uuid.UUID { return uuid.MustParse("aaf32c78-947b-439a-a180-2e144ec37792") }

// IDs returns which variables there are, sorted by their names.
func (s *Store) IDs() []variable.ID {
	return slices.SortedFunc(maps.Keys(s.variables), func(a, b variable.ID) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return bytes.Compare(a.Vendor[:], b.Vendor[:])
	})
}

// Get returns a variable, if there is one.
func (s *Store) Get(id variable.ID) (Variable, bool) {
	v, ok := s.variables[id]
	return v, ok
}

// Set makes or replaces a variable. Whether everything fits into the file is
// known once [Store.Bytes] is called.
func (s *Store) Set(id variable.ID, v Variable) error {
	switch {
	case !nameValid(id.Name):
		return fmt.Errorf("a firmware variable cannot have the name %q", id.Name)
	case len(v.Data) == 0:
		return fmt.Errorf("the firmware variable %s cannot be empty", id.Name)
	}
	if _, err := appendTime(nil, v.Time); err != nil {
		return fmt.Errorf("setting the firmware variable %s: %w", id.Name, err)
	}
	v.Data = bytes.Clone(v.Data)
	s.variables[id] = v
	return nil
}

// Delete removes a variable, if there is one.
func (s *Store) Delete(id variable.ID) { delete(s.variables, id) }
