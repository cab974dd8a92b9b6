package variable

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/google/uuid"
)

const (
	// maxLists bounds what is read as lists of signatures, in bytes. The dbx
	// that is in use has about 25 KiB; OVMF stores variables of 64 KiB at most.
	maxLists = 1 << 20
	// listHeader is the size of the header of a list: type, and the sizes of
	// everything, of a header of the type's own, and of each signature.
	listHeader = GUIDSize + 12
)

// List is a list of signatures of one type and size (EFI_SIGNATURE_LIST,
// section 32.4.1).
type List struct {
	// Type says what the signatures are: [X509], [SHA256], or something else.
	Type uuid.UUID
	// Header is of the type; those named here have none.
	Header []byte
	// Signatures are certificates or digests, all of the same size.
	Signatures []Signature
}

// Signature is one entry of a list.
type Signature struct {
	// Owner is who put it there.
	Owner uuid.UUID
	// Data is the certificate in DER, or the digest.
	Data []byte
}

// X509 is the type of a list of certificates.
func X509() uuid.UUID { return uuid.MustParse("a5c059a1-94e4-4aa7-87b5-ab155c2bf072") }

// SHA256 is the type of a list of SHA-256 digests of programs.
func SHA256() uuid.UUID { return uuid.MustParse("c1c41626-504c-4092-aca9-41f936934328") }

// Certificate is the list of one certificate.
func Certificate(owner uuid.UUID, cert *x509.Certificate) List {
	return List{Type: X509(), Signatures: []Signature{{owner, cert.Raw}}}
}

// Digests is the list of SHA-256 digests of programs.
func Digests(owner uuid.UUID, digests ...[sha256.Size]byte) List {
	l := List{Type: SHA256()}
	for _, d := range digests {
		l.Signatures = append(l.Signatures, Signature{owner, d[:]})
	}
	return l
}

// MarshalLists writes lists one after the other, as variables hold them. A list
// of no signatures, or of signatures of several sizes, is refused.
func MarshalLists(lists ...List) ([]byte, error) {
	var b []byte
	for _, l := range lists {
		if len(l.Signatures) == 0 {
			return nil, fmt.Errorf("a list of signatures of type %s is empty", l.Type)
		}
		one := GUIDSize + len(l.Signatures[0].Data)
		size := listHeader + len(l.Header) + len(l.Signatures)*one
		if int64(size) > math.MaxUint32 {
			return nil, fmt.Errorf("a list of signatures of %d bytes is too large", size)
		}
		b = AppendGUID(b, l.Type)
		for _, n := range []int{size, len(l.Header), one} {
			b = binary.LittleEndian.AppendUint32(b, uint32(n))
		}
		b = append(b, l.Header...)
		for _, s := range l.Signatures {
			if GUIDSize+len(s.Data) != one {
				return nil, fmt.Errorf("a list of signatures has some of %d bytes and some of %d", one-GUIDSize, len(s.Data))
			}
			b = append(AppendGUID(b, s.Owner), s.Data...)
		}
	}
	return b, nil
}

// ParseLists reads the content of a variable. What it returns refers to b.
func ParseLists(b []byte) ([]List, error) {
	if len(b) > maxLists {
		return nil, fmt.Errorf("lists of signatures of %d bytes are larger than %d", len(b), maxLists)
	}
	var lists []List
	for len(b) > 0 {
		if len(b) < listHeader {
			return nil, fmt.Errorf("%d bytes are too few for a list of signatures", len(b))
		}
		number := func(at int) int64 { return int64(binary.LittleEndian.Uint32(b[at:])) }
		size, header, one := number(GUIDSize), number(GUIDSize+4), number(GUIDSize+8)
		content := size - listHeader - header
		if size > int64(len(b)) || content < 0 || one < GUIDSize || content%one != 0 {
			return nil, fmt.Errorf("a list of %d bytes of signatures with %d bytes each, and %d before, does not fit into %d", size, one, header, len(b))
		}
		l := List{Type: GUID(b)}
		if header > 0 {
			l.Header = b[listHeader:][:header]
		}
		for s := b[size-content : size]; len(s) > 0; s = s[one:] {
			l.Signatures = append(l.Signatures, Signature{GUID(s), s[GUIDSize:one]})
		}
		lists = append(lists, l)
		b = b[size:]
	}
	return lists, nil
}

// Certificates returns the certificates of lists. What is no certificate that
// can be read is left out.
func Certificates(lists []List) []*x509.Certificate {
	var certs []*x509.Certificate
	for _, l := range lists {
		if l.Type != X509() {
			continue
		}
		for _, s := range l.Signatures {
			if cert, err := x509.ParseCertificate(s.Data); err == nil {
				certs = append(certs, cert)
			}
		}
	}
	return certs
}
