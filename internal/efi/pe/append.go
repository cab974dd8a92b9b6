package pe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
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
	kept     int64  // of the original
	size     int64  // of the file so far
	memory   int64  // where the last section ends in memory
	data     uint64 // SizeOfInitializedData
	sections []Section
}

// NewAppender starts to add sections to a program that r has the file of. One
// that is signed is refused, since the signature would not be valid any more.
// Symbols for debuggers at the end of the file are dropped.
func NewAppender(f *File, r io.ReaderAt) (*Appender, error) {
	if f.Certificates.Size > 0 {
		return nil, errors.New("sections cannot be added to a program that is signed")
	}
	for _, n := range []uint32{f.FileAlignment, f.SectionAlignment} {
		if n == 0 || n&(n-1) != 0 || n > maxAlignment {
			return nil, fmt.Errorf("sections cannot be added to a program whose sections are aligned to %d bytes", n)
		}
	}
	a := &Appender{
		header: bytes.Clone(f.Header), file: f, kept: f.Size,
		data: uint64(le.Uint32(f.Header[f.optional+8:])), sections: append([]Section(nil), f.Sections...),
	}
	for _, s := range f.Sections {
		a.memory = max(a.memory, int64(s.VirtualAddress)+int64(s.VirtualSize))
	}
	if a.memory > maxMemory {
		return nil, fmt.Errorf("sections cannot be added to a program of %d bytes in memory", a.memory)
	}
	if err := a.dropSymbols(r); err != nil {
		return nil, fmt.Errorf("reading the symbols of a program: %w", err)
	}
	a.size = alignUp(a.kept, f.FileAlignment)
	return a, nil
}

// dropSymbols drops the table of symbols and their names, if these are the end
// of the file.
func (a *Appender) dropSymbols(r io.ReaderAt) error {
	const symbol = 18
	at := a.file.optional - fileHeaderSize + 12 // where the place of the table and their number are
	start, count := int64(le.Uint32(a.header[at:])), int64(le.Uint32(a.header[at+4:]))
	names := start + count*symbol // a size of four bytes, and the names
	if count == 0 || names > a.file.Size-4 {
		return nil
	}
	for _, s := range a.file.Sections {
		if s.Size > 0 && s.End() > start {
			return nil
		}
	}
	var size [4]byte
	if _, err := r.ReadAt(size[:], names); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if start < int64(len(a.header)) || names+int64(le.Uint32(size[:])) != a.file.Size {
		return nil
	}
	clear(a.header[at : at+8])
	a.kept = start
	return nil
}

// Kept is how many bytes of the original program stay as they are, apart from
// the headers.
func (a *Appender) Kept() int64 { return a.kept }

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
// within the room that it has in the file. In memory, the section may then
// reach into the next one if sections are aligned to less than the room; so it
// is for what is read from the file.
func (a *Appender) Resize(name string, size int64) error {
	i := slices.IndexFunc(a.sections, func(s Section) bool { return s.Name == name })
	if i < 0 {
		return fmt.Errorf("the program has no section %s", name)
	}
	if room := a.sections[i].Size; size > room {
		return fmt.Errorf("section %s of the program has room for %d bytes, not for %d", name, room, size)
	}
	a.sections[i].VirtualSize = uint32(size)
	return nil
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
