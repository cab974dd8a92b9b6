package pe

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// Characteristics of sections that are added to a program.
const (
	// Data is initialized data that is only read.
	Data = 0x40000040
	// Code is code that is only read: the kernel within an image, which is
	// executed in a copy.
	Code = 0x40000020
)

// maxAlignment is what the places of sections may be aligned to. Programs for
// firmware use a page or less.
const maxAlignment = 1 << 24

// maxMemory is how large a program may be in memory, so that aligning it does
// not lead beyond 4 GiB.
const maxMemory = math.MaxUint32 - maxAlignment

// Appender adds sections to a program. It keeps the accounts of the headers;
// the content of the sections is written by the caller, in the order in which
// they are added, to where it says.
type Appender struct {
	header   []byte
	file     *File
	size     int64  // of the file so far
	memory   int64  // where the last section ends in memory
	data     uint64 // SizeOfInitializedData
	sections []Section
}

// NewAppender starts to add sections to a program. One that is signed is
// refused, since the signature would not be valid any more.
func NewAppender(f *File) (*Appender, error) {
	if f.Certificates.Size > 0 {
		return nil, errors.New("sections cannot be added to a program that is signed")
	}
	for _, n := range []uint32{f.FileAlignment, f.SectionAlignment} {
		if n == 0 || n&(n-1) != 0 || n > maxAlignment {
			return nil, fmt.Errorf("sections cannot be added to a program whose sections are aligned to %d bytes", n)
		}
	}
	a := &Appender{
		header: bytes.Clone(f.Header), file: f, size: alignUp(f.Size, f.FileAlignment),
		data: uint64(le.Uint32(f.Header[f.optional+8:])), sections: append([]Section(nil), f.Sections...),
	}
	for _, s := range f.Sections {
		a.memory = max(a.memory, int64(s.VirtualAddress)+int64(s.VirtualSize))
	}
	if a.memory > maxMemory {
		return nil, fmt.Errorf("sections cannot be added to a program of %d bytes in memory", a.memory)
	}
	return a, nil
}

// Size is how many bytes the file has so far, padding included. The content of
// the next section begins there.
func (a *Appender) Size() int64 { return a.size }

// Sections are the sections so far.
func (a *Appender) Sections() []Section { return a.sections }

// Add adds a section with content of so many bytes.
func (a *Appender) Add(name string, size int64, characteristics uint32) error {
	if len(name) > 8 || name == "" {
		return fmt.Errorf("%q cannot be the name of a section, which has 1 to 8 bytes", name)
	}
	end := a.file.table + int64(len(a.sections)+1)*sectionHeaderSize
	if len(a.sections) == MaxSections || end > int64(len(a.header)) {
		return fmt.Errorf("the headers of the program have no room for section %s, number %d", name, len(a.sections)+1)
	}
	address := alignUp(a.memory, a.file.SectionAlignment)
	raw := alignUp(size, a.file.FileAlignment)
	if size < 0 || size > maxMemory || address+size > maxMemory || a.size+raw > math.MaxUint32 {
		return fmt.Errorf("the program with section %s of %d bytes is larger than the format allows, 4 GiB", name, size)
	}
	a.sections = append(a.sections, Section{
		Name: name, Range: Range{a.size, raw}, VirtualAddress: uint32(address), VirtualSize: uint32(size), Characteristics: characteristics,
	})
	a.size += raw
	a.memory = address + size
	a.data += uint64(size)
	return nil
}

// Resize changes how much of the first section of that name is its content,
// within the room that it has in the file.
func (a *Appender) Resize(name string, size int64) error {
	for i := range a.sections {
		s := &a.sections[i]
		if s.Name != name {
			continue
		}
		room := s.Size
		for _, other := range a.sections {
			if other.VirtualAddress > s.VirtualAddress {
				room = min(room, int64(other.VirtualAddress-s.VirtualAddress))
			}
		}
		if size > room {
			return fmt.Errorf("section %s of the program has room for %d bytes, not for %d", name, room, size)
		}
		s.VirtualSize = uint32(size)
		return nil
	}
	return fmt.Errorf("the program has no section %s", name)
}

// Header returns the headers with all that was added. The checksum is 0, which
// is none: firmware does not look at it, and who signs the program computes it.
func (a *Appender) Header() []byte {
	h := bytes.Clone(a.header)
	le.PutUint16(h[a.file.optional-fileHeaderSize+6:], uint16(len(a.sections)))
	le.PutUint32(h[a.file.optional+8:], uint32(a.data))
	var end int64
	for i, s := range a.sections {
		b := h[a.file.table+int64(i)*sectionHeaderSize:]
		end = max(end, int64(s.VirtualAddress)+int64(s.VirtualSize))
		if i < len(a.file.Sections) {
			le.PutUint32(b[8:], s.VirtualSize)
			continue
		}
		clear(b[:sectionHeaderSize])
		copy(b[:8], s.Name)
		le.PutUint32(b[8:], s.VirtualSize)
		le.PutUint32(b[12:], s.VirtualAddress)
		le.PutUint32(b[16:], uint32(s.Size))
		le.PutUint32(b[20:], uint32(s.Offset))
		le.PutUint32(b[36:], s.Characteristics)
	}
	le.PutUint32(h[a.file.optional+56:], uint32(alignUp(end, a.file.SectionAlignment)))
	le.PutUint32(h[a.file.ChecksumOffset:], 0)
	return h
}

func alignUp(n int64, alignment uint32) int64 {
	m := int64(alignment) - 1
	return (n + m) &^ m
}
