// Package petest makes small programs for UEFI firmware, for tests of what
// reads, extends or signs them.
package petest

import "encoding/binary"

// Section is a section of a program that is made.
type Section struct{ Name, Text string }

// What programs are made with.
const (
	// FileAlignment and SectionAlignment are what the places of sections are
	// multiples of.
	FileAlignment, SectionAlignment = 512, 4096
	// Headers is how large the headers are.
	Headers = 1024
	// Optional is where the optional header is, Table where the sections are.
	Optional, Table = peAt + 24, peAt + 24 + optionalSize

	peAt, optionalSize = 64, 240
)

// Program makes a program for x86-64 of these sections, in the form for 64
// bits. It does not run.
func Program(sections ...Section) []byte {
	le := binary.LittleEndian
	b := make([]byte, Headers)
	copy(b, "MZ")
	le.PutUint32(b[60:], peAt)
	copy(b[peAt:], "PE\x00\x00\x64\x86")
	le.PutUint16(b[peAt+6:], uint16(len(sections)))
	le.PutUint16(b[peAt+20:], optionalSize)
	address := uint32(SectionAlignment)
	for i, s := range sections {
		h := b[Table+40*i:]
		copy(h[:8], s.Name)
		size := uint32(len(s.Text))
		le.PutUint32(h[8:], size)
		le.PutUint32(h[12:], address)
		le.PutUint32(h[16:], (size+FileAlignment-1)/FileAlignment*FileAlignment)
		le.PutUint32(h[20:], uint32(len(b)))
		le.PutUint32(h[36:], 0x40000040)
		b = append(b, s.Text...)
		b = append(b, make([]byte, -len(b)&(FileAlignment-1))...)
		address += (size + SectionAlignment - 1) / SectionAlignment * SectionAlignment
	}
	opt := b[Optional:]
	le.PutUint16(opt, 0x20b)
	le.PutUint32(opt[32:], SectionAlignment)
	le.PutUint32(opt[36:], FileAlignment)
	le.PutUint32(opt[56:], address)
	le.PutUint32(opt[60:], Headers)
	le.PutUint16(opt[68:], 10)
	le.PutUint32(opt[108:], 16)
	return b
}
