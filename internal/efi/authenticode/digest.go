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

// Digester takes the digest of a file that is written to it from start to end:
// of all but the checksum, the place of the signatures, and these themselves.
type Digester struct {
	hash hash.Hash
	skip []pe.Range // in order
	at   int64      // how much was written
	size int64      // how much has to be, at least
	pad  int64
}

// NewDigester returns one for a file with these headers. It is an error if the
// digest would depend on who takes it: when something lies between sections, or
// after the signatures, which programs that check signatures do not agree about.
func NewDigester(f *pe.File, h crypto.Hash) (*Digester, error) {
	if !h.Available() {
		return nil, fmt.Errorf("digests of the type %s are not supported", h)
	}
	if err := checkCovered(f); err != nil {
		return nil, err
	}
	d := &Digester{hash: h.New(), size: f.Size, pad: -f.Size & (tableAlignment - 1)}
	d.skip = append(d.skip, pe.Range{Offset: f.ChecksumOffset, Size: 4})
	if f.CertEntryOffset > 0 {
		d.skip = append(d.skip, pe.Range{Offset: f.CertEntryOffset, Size: 8})
	}
	if f.Certificates.Size > 0 {
		d.skip = append(d.skip, f.Certificates)
		d.size, d.pad = f.Certificates.Offset, 0
	}
	return d, nil
}

// checkCovered returns an error when a part of the file is none that everybody
// takes the digest of.
func checkCovered(f *pe.File) error {
	end := int64(len(f.Header))
	for _, s := range f.InFileOrder() {
		if s.Size == 0 {
			continue
		}
		if s.Offset != end {
			return fmt.Errorf("%d bytes in front of section %q of the program belong to no section, and no signature covers them", s.Offset-end, s.Name)
		}
		end = s.End()
	}
	if c := f.Certificates; c.Size > 0 && c.End() != f.Size {
		return fmt.Errorf("%d bytes follow the signatures of the program, and no signature covers them", f.Size-c.End())
	}
	return nil
}

// Write takes the next bytes of the file. It does not fail.
func (d *Digester) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		for len(d.skip) > 0 && d.skip[0].End() <= d.at {
			d.skip = d.skip[1:]
		}
		part := p
		if len(d.skip) > 0 {
			next := d.skip[0]
			if d.at >= next.Offset {
				part = p[:min(int64(len(p)), next.End()-d.at)]
				p, d.at = p[len(part):], d.at+int64(len(part))
				continue
			}
			part = p[:min(int64(len(p)), next.Offset-d.at)]
		}
		d.hash.Write(part)
		p, d.at = p[len(part):], d.at+int64(len(part))
	}
	return n, nil
}

// Sum returns the digest, once everything up to the signatures was written.
func (d *Digester) Sum() ([]byte, error) {
	if d.at < d.size {
		return nil, fmt.Errorf("the program ends after %d of %d bytes", d.at, d.size)
	}
	d.hash.Write(make([]byte, d.pad))
	d.pad = 0
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
