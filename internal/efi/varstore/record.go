package varstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/mkosi-go/mkosi/internal/efi/variable"
)

// Places and sizes within the header of a record, which holds one variable, in
// bytes. The name follows, in UTF-16 with a zero at its end, then the content.
const (
	recordStateAt      = 2
	recordAttributesAt = 4
	recordCountAt      = 8
	recordTimeAt       = 16
	recordKeyAt        = 32
	recordNameSizeAt   = 36
	recordDataSizeAt   = 40
	recordVendorAt     = 44
	recordHeader       = 60

	recordMark      = 0x55aa
	recordAlignment = 4 // of where a record starts
)

// The states of a record. Flash memory is written by clearing bits, and so is
// the state, bit by bit: one bit when the header is there, one when everything
// is, one before the variable is replaced, and one when it has been.
const (
	stateAdded     = 0x3f
	stateReplacing = stateAdded &^ 1
)

// read reads all records. Those that were replaced, or never written to the end,
// are left out; one that was about to be replaced counts unless its replacement
// is there.
func (s *Store) read() error {
	replacing := map[variable.ID]Variable{}
	for at := s.start; at <= s.end-recordHeader; {
		b := s.image[at:s.end]
		if mark := binary.LittleEndian.Uint16(b); mark != recordMark {
			if mark != erased<<8|erased {
				return fmt.Errorf("the variable store is damaged: %#x at %d does not start a variable", mark, at)
			}
			break
		}
		size, err := recordSize(b)
		if err != nil {
			return fmt.Errorf("the variable store is damaged at %d: %w", at, err)
		}
		state := b[recordStateAt]
		if state == stateAdded || state == stateReplacing {
			id, v, err := parseRecord(b[:size])
			if err != nil {
				return fmt.Errorf("the variable store is damaged at %d: %w", at, err)
			}
			into := s.variables
			if state == stateReplacing {
				into = replacing
			}
			if _, twice := into[id]; twice {
				return fmt.Errorf("the variable store is damaged at %d: there is another variable %s", at, id.Name)
			}
			into[id] = v
		}
		at += aligned(size)
	}
	for id, v := range replacing {
		if _, ok := s.variables[id]; !ok {
			s.variables[id] = v
		}
	}
	return nil
}

// aligned is the distance from a record of this size to the next one. All start
// at multiples of recordAlignment from the first one.
func aligned(size int) int { return (size + recordAlignment - 1) &^ (recordAlignment - 1) }

// recordSize is the size of the record that b starts with.
func recordSize(b []byte) (int, error) {
	le := binary.LittleEndian
	name, data := int64(le.Uint32(b[recordNameSizeAt:])), int64(le.Uint32(b[recordDataSizeAt:]))
	size := recordHeader + name + data
	if size > int64(len(b)) {
		return 0, fmt.Errorf("a variable with a name of %d bytes and %d bytes of content does not fit in", name, data)
	}
	return int(size), nil
}

// parseRecord reads a whole record.
func parseRecord(b []byte) (variable.ID, Variable, error) {
	le := binary.LittleEndian
	name := b[recordHeader:][:le.Uint32(b[recordNameSizeAt:])]
	id := variable.ID{Name: parseName(name), Vendor: variable.GUID(b[recordVendorAt:])}
	if !nameValid(id.Name) || !bytes.Equal(name, appendName(nil, id.Name)) {
		return id, Variable{}, fmt.Errorf("a variable has the name %q", name)
	}
	v := Variable{
		Attributes: variable.Attributes(le.Uint32(b[recordAttributesAt:])),
		Data:       bytes.Clone(b[recordHeader+len(name):]),
		count:      le.Uint64(b[recordCountAt:]),
		key:        le.Uint32(b[recordKeyAt:]),
	}
	if len(v.Data) == 0 {
		return id, v, fmt.Errorf("the variable %s is empty", id.Name)
	}
	if stamp := b[recordTimeAt:][:variable.TimeSize]; !bytes.Equal(stamp, make([]byte, variable.TimeSize)) {
		t, err := variable.ParseTime(stamp)
		if err != nil {
			return id, v, err
		}
		v.Time = t
	}
	return id, v, nil
}

// Bytes returns the content of the file, of the same size as the one that was
// read: the variables by their names, without those that were replaced or
// deleted. What lies outside of the store stays. It is an error if the variables
// do not fit in.
func (s *Store) Bytes() ([]byte, error) {
	var b []byte
	for _, id := range s.IDs() {
		for len(b)%recordAlignment != 0 {
			b = append(b, erased)
		}
		var err error
		if b, err = appendRecord(b, id, s.variables[id]); err != nil {
			return nil, err
		}
	}
	if size := s.end - s.start; len(b) > size {
		return nil, fmt.Errorf("the firmware variables need %d bytes, and there are %d", len(b), size)
	}
	image := bytes.Clone(s.image)
	rest := image[s.start:s.end]
	rest = rest[copy(rest, b):]
	copy(rest, bytes.Repeat([]byte{erased}, len(rest)))
	return image, nil
}

func appendRecord(b []byte, id variable.ID, v Variable) ([]byte, error) {
	name, le := appendName(nil, id.Name), binary.LittleEndian
	if uint64(len(v.Data)) > maxFile {
		return nil, errors.New("the firmware variable " + id.Name + " is too large")
	}
	b = le.AppendUint16(b, recordMark)
	b = append(b, stateAdded, 0)
	b = le.AppendUint32(b, uint32(v.Attributes))
	b = le.AppendUint64(b, v.count)
	b, err := appendTime(b, v.Time)
	if err != nil {
		return nil, err
	}
	b = le.AppendUint32(b, v.key)
	b = le.AppendUint32(b, uint32(len(name)))
	b = le.AppendUint32(b, uint32(len(v.Data)))
	b = append(variable.AppendGUID(b, id.Vendor), name...)
	return append(b, v.Data...), nil
}

func appendTime(b []byte, t time.Time) ([]byte, error) {
	if t.IsZero() {
		return append(b, make([]byte, variable.TimeSize)...), nil
	}
	return variable.AppendTime(b, t)
}

// maxName bounds the name of a variable, in characters: no firmware stores
// longer ones.
const maxName = 1024

func nameValid(name string) bool {
	return name != "" && len(name) <= maxName && !strings.ContainsRune(name, 0) && !strings.ContainsRune(name, '\uFFFD')
}

// parseName reads a name with the zero at its end; what is not one becomes a
// name that is not valid, or that is written in another way.
func parseName(b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, binary.LittleEndian.Uint16(b))
	}
	return strings.TrimSuffix(string(utf16.Decode(units)), "\x00")
}

func appendName(b []byte, name string) []byte {
	for _, u := range utf16.Encode([]rune(name + "\x00")) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}
