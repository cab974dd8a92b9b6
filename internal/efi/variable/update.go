package variable

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/keys"
)

const (
	// maxUpdate bounds what is read as an update, in bytes.
	maxUpdate = 1 << 20

	// certificateHeader is the size of what is before the signature, apart
	// from the time: length, revision and type of a WIN_CERTIFICATE, and the
	// type of the signature (section 32.2.4).
	certificateHeader   = 8 + GUIDSize
	certificateRevision = 0x200
	certificateGUID     = 0xef1 // the signature is of a type that a GUID says
)

// pkcs7Type is the type of a signature in the form of PKCS#7.
func pkcs7Type() uuid.UUID { return uuid.MustParse("4aafd29d-68df-49ee-8aa9-347d375665a7") }

// Update is a signed new content of a variable, the data that a system passes to
// SetVariable() for one with the attribute [TimeBased]
// (EFI_VARIABLE_AUTHENTICATION_2, section 8.2.2).
type Update struct {
	// Time is when it was made; the firmware refuses updates that are not
	// later than the last one.
	Time time.Time
	// PKCS7 is the signature in DER: a SignedData structure, alone as the
	// specification has it, or within a ContentInfo structure, as some programs
	// write it and some firmware refuses it.
	PKCS7 []byte
	// Data is the new content.
	Data []byte
}

// Sign makes an update of a variable. Of the time, seconds count, and the years
// 1900 to 9999. The signature is a SignedData structure without ContentInfo.
func Sign(key crypto.Signer, cert *x509.Certificate, id ID, attributes Attributes, t time.Time, data []byte) ([]byte, error) {
	text, err := signedText(id, attributes, t, data)
	if err != nil {
		return nil, err
	}
	der, err := keys.SignPKCS7Detached(key, cert, text)
	if err != nil {
		return nil, err
	}
	bare, err := unwrap(der)
	if err != nil {
		return nil, err
	}
	b, err := AppendTime(nil, t)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(certificateHeader+len(bare)))
	b = le.AppendUint16(b, certificateRevision)
	b = le.AppendUint16(b, certificateGUID)
	b = append(AppendGUID(b, pkcs7Type()), bare...)
	return append(b, data...), nil
}

// signedText is what an update's signature is of.
func signedText(id ID, attributes Attributes, t time.Time, data []byte) ([]byte, error) {
	b := AppendGUID(appendName(nil, id.Name), id.Vendor)
	b = binary.LittleEndian.AppendUint32(b, uint32(attributes))
	b, err := AppendTime(b, t)
	if err != nil {
		return nil, err
	}
	return append(b, data...), nil
}

// ParseUpdate reads an update; it checks no signature. What it returns refers to
// b.
func ParseUpdate(b []byte) (*Update, error) {
	if len(b) > maxUpdate {
		return nil, fmt.Errorf("an update of a variable of %d bytes is larger than %d", len(b), maxUpdate)
	}
	if len(b) < TimeSize+certificateHeader {
		return nil, fmt.Errorf("%d bytes are too few for an update of a variable", len(b))
	}
	t, err := ParseTime(b)
	if err != nil {
		return nil, err
	}
	b = b[TimeSize:]
	le := binary.LittleEndian
	size, revision, kind := int64(le.Uint32(b)), le.Uint16(b[4:]), le.Uint16(b[6:])
	if size < certificateHeader || size > int64(len(b)) {
		return nil, fmt.Errorf("the signature of an update, %d bytes, does not fit into %d", size, len(b))
	}
	if revision != certificateRevision || kind != certificateGUID || GUID(b[8:]) != pkcs7Type() {
		return nil, errors.New("an update of a variable is not signed in the form of PKCS#7")
	}
	return &Update{Time: t, PKCS7: b[certificateHeader:size], Data: b[size:]}, nil
}

// Verify checks that the update is one of this variable, with these attributes,
// and signed with one of the trusted certificates, which it returns. A signature
// by another one is a *[keys.UnknownSignerError].
func (u *Update) Verify(id ID, attributes Attributes, trusted []*x509.Certificate) (*x509.Certificate, error) {
	text, err := signedText(id, attributes, u.Time, u.Data)
	if err != nil {
		return nil, err
	}
	der := u.PKCS7
	if _, err := unwrap(der); err != nil {
		if der, err = wrap(der); err != nil {
			return nil, err
		}
	}
	return keys.VerifyPKCS7Detached(der, text, trusted)
}

// contentInfo is the structure of that name (RFC 2315, section 7). The content
// is within an element with the tag 0.
type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue
}

// unwrap returns the SignedData structure within a ContentInfo structure.
func unwrap(der []byte) ([]byte, error) {
	var info contentInfo
	rest, err := asn1.Unmarshal(der, &info)
	if err != nil || len(rest) > 0 || info.Content.Class != asn1.ClassContextSpecific || info.Content.Tag != 0 {
		return nil, errors.New("not a PKCS#7 ContentInfo structure")
	}
	return info.Content.Bytes, nil
}

// wrap puts a SignedData structure into a ContentInfo structure.
func wrap(der []byte) ([]byte, error) {
	b, err := asn1.Marshal(contentInfo{
		Type:    asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2},
		Content: asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: der},
	})
	if err != nil {
		return nil, fmt.Errorf("not a PKCS#7 SignedData structure: %w", err)
	}
	return b, nil
}
