// Package variable reads and writes what the UEFI specification (2.10) has
// about Secure Boot in variables of the firmware: lists of signatures, which
// are the content of PK, KEK, db and dbx, and authenticated updates, the signed
// form in which a system hands a new content to the firmware.
//
// What it reads may be hostile.
package variable

import (
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf16"

	"github.com/google/uuid"
)

// Attributes are the attributes of a variable (section 8.2.1).
type Attributes uint32

// The attributes that are in use here.
const (
	// NonVolatile: the variable is kept when the power is gone.
	NonVolatile Attributes = 1 << 0
	// BootService: it can be seen until the system takes over.
	BootService Attributes = 1 << 1
	// Runtime: it can be seen after that, too.
	Runtime Attributes = 1 << 2
	// TimeBased: only a signed update with a later time changes it.
	TimeBased Attributes = 1 << 5
)

// KeyAttributes are those that the specification demands of PK, KEK, db and
// dbx.
const KeyAttributes = NonVolatile | BootService | Runtime | TimeBased

// ID tells variables apart: the name, and whose it is.
type ID struct {
	Name   string
	Vendor uuid.UUID
}

// PlatformKey is PK, which holds one certificate: who has its key may change
// KEK. With no PK, Secure Boot is in setup mode and everybody may set keys.
func PlatformKey() ID { return ID{"PK", GlobalVendor()} }

// ExchangeKeys is KEK: who has one of its keys may change db and dbx.
func ExchangeKeys() ID { return ID{"KEK", GlobalVendor()} }

// Allowed is db: certificates and digests of what may be booted.
func Allowed() ID { return ID{"db", securityVendor()} }

// Forbidden is dbx: certificates and digests of what may not be booted even if
// db allows it.
func Forbidden() ID { return ID{"dbx", securityVendor()} }

// GlobalVendor is the vendor of the variables that the specification itself
// defines (section 3.3).
func GlobalVendor() uuid.UUID { return uuid.MustParse("8be4df61-93ca-11d2-aa0d-00e098032b8c") }

// securityVendor is the vendor of db and dbx (section 32.4.1).
func securityVendor() uuid.UUID { return uuid.MustParse("d719b2cb-3d3a-4596-a3bc-dad00e67656f") }

// GUIDSize is the size of a GUID in bytes.
const GUIDSize = 16

// AppendGUID appends a UUID in the mixed byte order of the specification
// (appendix A).
func AppendGUID(b []byte, id uuid.UUID) []byte {
	le, be := binary.LittleEndian, binary.BigEndian
	b = le.AppendUint32(b, be.Uint32(id[0:]))
	b = le.AppendUint16(b, be.Uint16(id[4:]))
	b = le.AppendUint16(b, be.Uint16(id[6:]))
	return append(b, id[8:]...)
}

// GUID reads a UUID in that order from the first [GUIDSize] bytes of b.
func GUID(b []byte) (id uuid.UUID) {
	le, be := binary.LittleEndian, binary.BigEndian
	be.PutUint32(id[0:], le.Uint32(b))
	be.PutUint16(id[4:], le.Uint16(b[4:]))
	be.PutUint16(id[6:], le.Uint16(b[6:]))
	copy(id[8:], b[8:GUIDSize])
	return id
}

// TimeSize is the size of a time in bytes.
const TimeSize = 16

// AppendTime appends a time as updates have it (EFI_TIME, section 8.3.1, in
// seconds, of no time zone). The years that can be stored are 1900 to 9999.
func AppendTime(b []byte, t time.Time) ([]byte, error) {
	t = t.UTC()
	if t.Year() < 1900 || t.Year() > 9999 {
		return nil, fmt.Errorf("a variable of the firmware cannot be of the year %d", t.Year())
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(t.Year()))
	b = append(b, byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()), byte(t.Second()))
	return append(b, make([]byte, TimeSize-7)...), nil
}

// ParseTime reads a time as updates have it from the first [TimeSize] bytes of b.
func ParseTime(b []byte) (time.Time, error) {
	for _, c := range b[7:TimeSize] {
		if c != 0 {
			return time.Time{}, fmt.Errorf("the time %x of a variable has a fraction or a zone", b[:TimeSize])
		}
	}
	year := int(binary.LittleEndian.Uint16(b))
	t := time.Date(year, time.Month(b[2]), int(b[3]), int(b[4]), int(b[5]), int(b[6]), 0, time.UTC)
	again, err := AppendTime(nil, t)
	if err != nil {
		return time.Time{}, err
	}
	// The 31st of April would become the 1st of May.
	if string(again) != string(b[:TimeSize]) {
		return time.Time{}, fmt.Errorf("a variable has the time %x, which is none", b[:TimeSize])
	}
	return t, nil
}

// appendName appends the UTF-16 form of a name, without an end.
func appendName(b []byte, name string) []byte {
	for _, u := range utf16.Encode([]rune(name)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}
