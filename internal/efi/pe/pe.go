// Package pe reads and writes programs for UEFI firmware: files in the PE
// format (Microsoft Portable Executable and Common Object File Format
// Specification), such as boot loaders, kernels and unified kernel images.
//
// It knows headers and the table of sections, and no machine code. What it
// reads may be hostile: every place and size that [Parse] returns lies within
// the file, and sections neither overlap each other nor the headers or the
// signatures.
package pe

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

const (
	// MaxHeaders is how many bytes the headers of a file may have.
	MaxHeaders = 64 << 10
	// MaxSections is how many sections a file may have: the format allows
	// 65535, and firmware far fewer.
	MaxSections = 200
	// MaxCertificates is how many bytes the table of signatures may have.
	MaxCertificates = 1 << 20
)

// ErrFormat is what [Parse] returns for a file that is not in the PE format at
// all. A file in the format that cannot be read is another error.
var ErrFormat = errors.New("not a program for UEFI firmware")

var le = binary.LittleEndian

// Machines, as in the file header.
const (
	MachineX86       = 0x14c
	MachineX8664     = 0x8664
	MachineARM       = 0x1c2
	MachineARM64     = 0xaa64
	MachineRISCV64   = 0x5064
	MachineLoongArch = 0x6264
)

// Sizes and places within the headers, in bytes.
const (
	dosHeaderSize     = 64 // of the header that older systems see
	peOffsetAt        = 60 // where that has the place of the signature "PE"
	fileHeaderSize    = 24 // of the signature and the file header
	sectionHeaderSize = 40
	// minOptional is the size of the optional header up to its directories,
	// in the form for 32 bits; the one for 64 bits has directoryShift more.
	minOptional    = 96
	directoryShift = 16
	magic64        = 0x20b // the mark of the form for 64 bits

	certDirectory = 4 // the number of the directory that has the place of the signatures
	directorySize = 8
)

// File is what the headers of a file say. Offsets count bytes from the start
// of the file.
type File struct {
	// Header is the start of the file, up to the first byte that belongs to
	// no header: as many bytes as SizeOfHeaders says.
	Header []byte
	// Size is the size of the file in bytes.
	Size int64
	// Machine is the processor that the file is for, one of the Machine
	// constants or something else.
	Machine uint16
	// Subsystem is what the file runs under; 10 is a program for EFI.
	Subsystem uint16
	// SectionAlignment and FileAlignment are what the places of sections in
	// memory and in the file are multiples of. They are as the file has them,
	// even if they make no sense.
	SectionAlignment, FileAlignment uint32
	// Sections are in the order of their table.
	Sections []Section
	// Certificates is where the table of signatures is; of size 0 when there
	// is none.
	Certificates Range
	// ChecksumOffset is where the header has its checksum, of 4 bytes.
	ChecksumOffset int64
	// CertEntryOffset is where the header has the place and the size of the
	// table of signatures, 4 bytes each; 0 when its directories end before.
	CertEntryOffset int64

	optional int64 // where the optional header is
	table    int64 // where the table of sections is
}

// Range is a part of a file, in bytes.
type Range struct{ Offset, Size int64 }

// End is where the range ends.
func (r Range) End() int64 { return r.Offset + r.Size }

// Section is one section of a file.
type Section struct {
	// Name has 8 bytes at most.
	Name string
	// Range is where its data is in the file. Of a section of size 0, the
	// offset means nothing.
	Range
	// VirtualAddress and VirtualSize say where it is in memory. A VirtualSize
	// beyond Size is filled with zeros; one below leaves padding in the file.
	VirtualAddress, VirtualSize uint32
	// Characteristics are the flags of the section.
	Characteristics uint32
}

// Used is how many bytes of the section's data in the file are its content:
// the rest is padding.
func (s Section) Used() int64 { return min(s.Size, int64(s.VirtualSize)) }

// Parse reads the headers of a file of size bytes.
func Parse(r io.ReaderAt, size int64) (*File, error) {
	head := make([]byte, max(0, min(size, MaxHeaders)))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return ParseHeader(head, size)
}

// ParseHeader is [Parse] for a reader that has read the first min(size,
// [MaxHeaders]) bytes of the file already. The file keeps b.
func ParseHeader(b []byte, size int64) (*File, error) {
	if len(b) < dosHeaderSize || string(b[:2]) != "MZ" {
		return nil, ErrFormat
	}
	at := int64(le.Uint32(b[peOffsetAt:]))
	if at > int64(len(b))-fileHeaderSize || string(b[at:at+4]) != "PE\x00\x00" {
		return nil, ErrFormat
	}
	count, optional := int64(le.Uint16(b[at+6:])), int64(le.Uint16(b[at+20:]))
	f := &File{Size: size, Machine: le.Uint16(b[at+4:]), optional: at + fileHeaderSize}
	f.table = f.optional + optional
	end := f.table + count*sectionHeaderSize
	if count > MaxSections || optional < minOptional || end > int64(len(b)) {
		return nil, fmt.Errorf("a program with %d sections and headers of %d bytes cannot be read", count, optional)
	}
	headers := int64(le.Uint32(b[f.optional+60:]))
	if headers < end || headers > min(size, int64(len(b))) {
		return nil, fmt.Errorf("a program with headers of %d bytes cannot be read", headers)
	}
	f.Header = b[:headers:headers]
	if err := f.parseOptional(); err != nil {
		return nil, err
	}
	for s := range slices.Chunk(b[f.table:end], sectionHeaderSize) {
		f.Sections = append(f.Sections, parseSection(s))
	}
	return f, f.check()
}

// parseOptional reads the optional header, which programs always have.
func (f *File) parseOptional() error {
	opt := f.Header[f.optional:f.table]
	f.SectionAlignment, f.FileAlignment = le.Uint32(opt[32:]), le.Uint32(opt[36:])
	f.ChecksumOffset, f.Subsystem = f.optional+64, le.Uint16(opt[68:])
	directories := minOptional
	if f.Is64() {
		directories += directoryShift
	}
	entry := directories + certDirectory*directorySize
	if entry+directorySize > len(opt) || le.Uint32(opt[directories-4:]) <= certDirectory {
		return nil
	}
	f.CertEntryOffset = f.optional + int64(entry)
	c := Range{int64(le.Uint32(opt[entry:])), int64(le.Uint32(opt[entry+4:]))}
	if c.Size == 0 {
		return nil
	}
	if c.Size > MaxCertificates || c.Offset < int64(len(f.Header)) || c.Offset > f.Size-c.Size {
		return fmt.Errorf("the signatures of a program, %d bytes at %d, lie outside of it", c.Size, c.Offset)
	}
	f.Certificates = c
	return nil
}

// Is64 is whether the optional header has the form for 64 bits.
func (f *File) Is64() bool { return le.Uint16(f.Header[f.optional:]) == magic64 }

func parseSection(b []byte) Section {
	name, _, _ := bytes.Cut(b[:8], []byte{0})
	return Section{
		Name:            string(name),
		VirtualSize:     le.Uint32(b[8:]),
		VirtualAddress:  le.Uint32(b[12:]),
		Range:           Range{Size: int64(le.Uint32(b[16:])), Offset: int64(le.Uint32(b[20:]))},
		Characteristics: le.Uint32(b[36:]),
	}
}

// check makes sure that sections lie in the file and do not overlap.
func (f *File) check() error {
	end, limit := int64(len(f.Header)), f.Size
	if f.Certificates.Size > 0 {
		limit = f.Certificates.Offset
	}
	for _, s := range f.InFileOrder() {
		if s.Size == 0 {
			continue
		}
		if s.Offset < end || s.End() > limit {
			return fmt.Errorf("section %q of a program, %d bytes at %d, lies outside of it or over another", s.Name, s.Size, s.Offset)
		}
		end = s.End()
	}
	return nil
}

// InFileOrder returns the sections by their place in the file; those without
// data in it are among them.
func (f *File) InFileOrder() []Section {
	return slices.SortedStableFunc(slices.Values(f.Sections), func(a, b Section) int { return cmp.Compare(a.Offset, b.Offset) })
}

// Section returns the first section of that name.
func (f *File) Section(name string) (Section, bool) {
	i := slices.IndexFunc(f.Sections, func(s Section) bool { return s.Name == name })
	if i < 0 {
		return Section{}, false
	}
	return f.Sections[i], true
}

// Architecture names the machine as repart.d(5) names architectures, or by its
// number.
func (f *File) Architecture() string {
	switch f.Machine {
	case MachineX86:
		return "x86"
	case MachineX8664:
		return "x86-64"
	case MachineARM:
		return "arm"
	case MachineARM64:
		return "arm64"
	case MachineRISCV64:
		return "riscv64"
	case MachineLoongArch:
		return "loongarch64"
	}
	return fmt.Sprintf("machine %#x", f.Machine)
}
