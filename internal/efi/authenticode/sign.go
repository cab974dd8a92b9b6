package authenticode

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf16"

	"github.com/sassoftware/relic/v7/lib/pkcs7"
	"github.com/sassoftware/relic/v7/lib/x509tools"

	"github.com/mkosi-go/mkosi/internal/efi/pe"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// File is a file that is signed in place, such as an [os.File] that is open for
// reading and writing.
type File interface {
	io.ReaderAt
	io.WriterAt
}

// Sign adds a signature to a file of size bytes, behind those that it has, and
// returns the new size. The digest is SHA-256. The same key, file and
// certificate give the same bytes: no time is in them, and random numbers only if
// hardware with an ECDSA key adds them. After an error the file may be damaged.
func Sign(f File, size int64, key crypto.Signer, cert *x509.Certificate) (int64, error) {
	if err := keys.CheckPair(key, cert); err != nil {
		return 0, fmt.Errorf("signing a program: %w", err)
	}
	size, err := appendSignature(f, size, func(digest []byte) ([]byte, error) { return SignDigest(key, cert, digest) })
	if err != nil {
		return 0, fmt.Errorf("signing a program: %w", err)
	}
	return size, nil
}

func appendSignature(f File, size int64, sign func(digest []byte) ([]byte, error)) (int64, error) {
	p, err := pe.Parse(f, size)
	if err != nil {
		return 0, err
	}
	if p.CertEntryOffset == 0 {
		return 0, errors.New("its headers have no place for signatures")
	}
	if p.Certificates.Offset%tableAlignment != 0 {
		return 0, fmt.Errorf("its signatures are at %d, which is no multiple of %d", p.Certificates.Offset, tableAlignment)
	}
	if _, err := List(f, size); err != nil {
		return 0, err
	}
	d, err := NewDigester(p, crypto.SHA256)
	if err != nil {
		return 0, err
	}
	sum := checksum{at: int64(len(p.Header))}
	d.Write(p.Header)
	body := io.NewSectionReader(f, sum.at, size-sum.at)
	if err := copyFile(io.MultiWriter(d, &sum), body, body.Size()); err != nil {
		return 0, err
	}
	digest, err := d.Sum()
	if err != nil {
		return 0, err
	}
	der, err := sign(digest)
	if err != nil {
		return 0, err
	}
	// What a file lacks to a multiple counts to it; the table starts there.
	added := make([]byte, -size&(tableAlignment-1), tableAlignment+entryHeader+len(der)+tableAlignment)
	table := pe.Range{Offset: size + int64(len(added))}
	if p.Certificates.Size > 0 {
		table.Offset = p.Certificates.Offset
	}
	added = appendEntry(added, der)
	table.Size = size + int64(len(added)) - table.Offset
	if table.Size > pe.MaxCertificates || table.End() > math.MaxUint32 {
		return 0, fmt.Errorf("%d bytes of signatures in a file of %d bytes are too many", table.Size, table.End())
	}
	if _, err := f.WriteAt(added, size); err != nil {
		return 0, err
	}
	sum.Write(added)
	return table.End(), writeHeader(f, p, table, sum)
}

// writeHeader says in the headers where the signatures are, and completes the
// checksum, which is that of everything else.
func writeHeader(f File, p *pe.File, table pe.Range, sum checksum) error {
	header, le := bytes.Clone(p.Header), binary.LittleEndian
	le.PutUint32(header[p.CertEntryOffset:], uint32(table.Offset))
	le.PutUint32(header[p.CertEntryOffset+4:], uint32(table.Size))
	le.PutUint32(header[p.ChecksumOffset:], 0)
	size := sum.at
	sum.at = 0
	sum.Write(header)
	le.PutUint32(header[p.ChecksumOffset:], sum.value(size))
	_, err := f.WriteAt(header[p.ChecksumOffset:p.CertEntryOffset+8], p.ChecksumOffset)
	return err
}

// Remove takes all signatures from a file of size bytes. It returns the size to
// which the file has to be cut, which is size if there are none. After an error
// the file may be damaged.
func Remove(f File, size int64) (int64, error) {
	p, err := pe.Parse(f, size)
	if err != nil {
		return 0, fmt.Errorf("removing signatures: %w", err)
	}
	if p.Certificates.Size == 0 {
		return size, nil
	}
	if err := checkEnd(p); err != nil {
		return 0, fmt.Errorf("removing signatures: %w", err)
	}
	sum := checksum{at: int64(len(p.Header))}
	body := io.NewSectionReader(f, sum.at, p.Certificates.Offset-sum.at)
	if err := copyFile(&sum, body, body.Size()); err != nil {
		return 0, fmt.Errorf("removing signatures: %w", err)
	}
	if err := writeHeader(f, p, pe.Range{}, sum); err != nil {
		return 0, fmt.Errorf("removing signatures: %w", err)
	}
	return p.Certificates.Offset, nil
}

// indirectData is what a signature signs: the digest of the program, after
// something about its kind (SpcIndirectDataContent).
type indirectData struct {
	Data   asn1.RawValue
	Digest struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
}

// imageData says that the digest is that of a PE file (SpcPeImageData). What it
// could say more is out of use, and so does it say.
type imageData struct {
	Type  asn1.ObjectIdentifier
	Value struct {
		Flags asn1.BitString
		Link  struct {
			File struct {
				Text []byte `asn1:"tag:0"`
			} `asn1:"tag:2"`
		} `asn1:"tag:0"`
	}
}

// Object identifiers of Authenticode.
func oidIndirectData() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 4}
}
func oidProgramInfo() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 12}
}
func oidImageData() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 15}
}

// SignDigest makes a signature of the SHA-256 digest of a file: a PKCS#7
// ContentInfo structure in DER, with a SignedData structure in it that holds the
// certificate.
func SignDigest(key crypto.Signer, cert *x509.Certificate, digest []byte) ([]byte, error) {
	image := imageData{Type: oidImageData()}
	for _, u := range utf16.Encode([]rune("<<<Obsolete>>>")) {
		image.Value.Link.File.Text = binary.BigEndian.AppendUint16(image.Value.Link.File.Text, u)
	}
	kind, err := asn1.Marshal(image)
	if err != nil {
		return nil, err
	}
	var data indirectData
	data.Data.FullBytes = kind
	data.Digest.Algorithm, _ = x509tools.PkixDigestAlgorithm(crypto.SHA256)
	data.Digest.Digest = digest
	b := pkcs7.NewBuilder(keys.Deterministic(key), []*x509.Certificate{cert}, crypto.SHA256)
	if err := b.SetContent(oidIndirectData(), data); err != nil {
		return nil, err
	}
	// Attributes are signed in the order in which they are encoded, and DER has
	// the shortest first: this one, then those that the builder adds by itself,
	// the type of the content and its digest.
	if err := b.AddAuthenticatedAttribute(oidProgramInfo(), struct{}{}); err != nil {
		return nil, err
	}
	signed, err := b.Sign()
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(*signed)
}
