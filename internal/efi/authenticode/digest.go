// Package authenticode signs programs for UEFI firmware and checks their
// signatures, as the Windows Authenticode Portable Executable Signature Format
// describes them and Secure Boot demands them (UEFI specification 2.10, section
// 32.2): a table at the end of the file holds PKCS#7 signatures of its digest.
//
// A file may have several signatures, one after the other, and firmware starts
// it when it trusts one of them. Files are read as a stream, and may be hostile.
package authenticode

import (
	"crypto"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/mkosi-go/mkosi/internal/efi/pe"
)

// tableAlignment is what the place of the table and of every signature in it is
// a multiple of, in bytes. A file without signatures counts as if zeros filled
// it up.
const tableAlignment = 8

// maxGaps bounds what may lie between the sections of a file, in bytes. There is
// nothing, or padding.
const maxGaps = 1 << 20

// Digester takes the digest of a file that is written to it from start to end.
// These parts count, in this order: the headers without the checksum and without
// the place of the signatures; the sections by their place; and what follows the
// number of bytes so far, up to the signatures. If there are gaps between the
// sections, these do not count, and as many bytes in front of the end of the last
// section count twice.
type Digester struct {
	hash  hash.Hash
	parts []pe.Range // headers and sections
	twice pe.Range   // the end of them that counts a second time
	held  []byte     // what was written of that
	tail  pe.Range   // what follows the last section
	pad   int64
	at    int64 // how much was written
}

// NewDigester returns one for a file with these headers. It is an error if bytes
// follow the signatures, about which programs that take digests do not agree, or
// if more than 1 MiB lies between sections, which is no padding.
func NewDigester(f *pe.File, h crypto.Hash) (*Digester, error) {
	if !h.Available() {
		return nil, fmt.Errorf("digests of the type %s are not supported", h)
	}
	if err := checkEnd(f); err != nil {
		return nil, err
	}
	d := &Digester{hash: h.New(), pad: -f.Size & (tableAlignment - 1)}
	limit := f.Size
	if f.Certificates.Size > 0 {
		limit, d.pad = f.Certificates.Offset, 0
	}
	end := d.add(0, f.ChecksumOffset) + 4
	if f.CertEntryOffset > 0 {
		end = d.add(end, f.CertEntryOffset) + 8
	}
	end = d.add(end, int64(len(f.Header)))
	var gaps int64
	for _, s := range f.InFileOrder() {
		if s.Size > 0 {
			gaps += s.Offset - end
			end = d.add(s.Offset, s.End())
		}
	}
	if gaps > maxGaps {
		return nil, fmt.Errorf("%d bytes of the program belong to no section, and no signature covers them", gaps)
	}
	d.twice = pe.Range{Offset: end - gaps, Size: gaps}
	d.tail = pe.Range{Offset: end, Size: limit - end}
	return d, nil
}

// add adds the part between two places, and returns the second.
func (d *Digester) add(start, end int64) int64 {
	d.parts = append(d.parts, pe.Range{Offset: start, Size: end - start})
	return end
}

// checkEnd returns an error when something follows the signatures.
func checkEnd(f *pe.File) error {
	if c := f.Certificates; c.Size > 0 && c.End() != f.Size {
		return fmt.Errorf("%d bytes follow the signatures of the program, and no signature covers them", f.Size-c.End())
	}
	return nil
}

// Write takes the next bytes of the file. It does not fail.
func (d *Digester) Write(p []byte) (int, error) {
	for _, r := range d.parts {
		d.hash.Write(d.overlap(p, r))
	}
	d.held = append(d.held, d.overlap(p, d.twice)...)
	if tail := d.overlap(p, d.tail); len(tail) > 0 {
		d.endSections()
		d.hash.Write(tail)
	}
	d.at += int64(len(p))
	return len(p), nil
}

// overlap is what of the next bytes of the file lies in a part of it.
func (d *Digester) overlap(p []byte, r pe.Range) []byte {
	start, end := max(r.Offset-d.at, 0), min(r.End()-d.at, int64(len(p)))
	if start >= end {
		return nil
	}
	return p[start:end]
}

// endSections takes what counts a second time once the last section was written.
func (d *Digester) endSections() {
	d.hash.Write(d.held)
	d.held = nil
}

// Sum returns the digest, once everything up to the signatures was written. It
// can be called once.
func (d *Digester) Sum() ([]byte, error) {
	if d.at < d.tail.End() {
		return nil, fmt.Errorf("the program ends after %d of %d bytes", d.at, d.tail.End())
	}
	d.endSections()
	d.hash.Write(make([]byte, d.pad))
	return d.hash.Sum(nil), nil
}

// Digest takes the digest of a file of size bytes.
func Digest(r io.ReaderAt, size int64, h crypto.Hash) ([]byte, error) {
	f, err := pe.Parse(r, size)
	if err != nil {
		return nil, err
	}
	d, err := NewDigester(f, h)
	if err != nil {
		return nil, err
	}
	if err := copyFile(d, r, size); err != nil {
		return nil, err
	}
	return d.Sum()
}

// copyFile writes the first size bytes of r to w.
func copyFile(w io.Writer, r io.ReaderAt, size int64) error {
	n, err := io.CopyBuffer(w, io.NewSectionReader(r, 0, size), make([]byte, 256<<10))
	if err == nil && n < size {
		err = errors.New("the program became shorter while it was read")
	}
	return err
}
