package inspect

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/sassoftware/relic/v7/lib/pkcs7"
	"github.com/sassoftware/relic/v7/lib/x509tools"

	"github.com/mkosi-go/mkosi/internal/keys"
)

// indirectData is what a signature of a program signs: the digest of the
// program, with something about its kind.
type indirectData struct {
	Data   asn1.RawValue
	Digest struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
}

// maxProgramSignatures is how many signatures of a program are told of.
const maxProgramSignatures = 32

// checkProgram checks the signatures in the table of a program whose SHA-256
// digest is known.
func checkProgram(table, digest []byte, trusted []*x509.Certificate) []Signature {
	const head, signedData = 8, 2
	var list []Signature
	for len(table) >= head && len(list) < maxProgramSignatures {
		length, kind := int64(le.Uint32(table)), le.Uint16(table[6:])
		if length < head || length > int64(len(table)) {
			return append(list, Signature{State: "the table of signatures is damaged"})
		}
		if kind == signedData {
			list = append(list, checkAuthenticode(table[head:length], digest, trusted))
		} else {
			list = append(list, Signature{State: fmt.Sprintf("signatures of type %d are not supported", kind)})
		}
		table = table[min((length+7)&^7, int64(len(table))):]
	}
	return list
}

// checkAuthenticode checks one signature.
func checkAuthenticode(der, digest []byte, trusted []*x509.Certificate) Signature {
	var s Signature
	signer, err := s.verify(der, digest)
	if signer != nil {
		s.Signer, s.Fingerprint = signer.Subject.String(), keys.Fingerprint(signer)
	}
	if err == nil && !isTrusted(signer, trusted) {
		err = errors.New("its certificate is none of those that are trusted")
		if len(trusted) == 0 {
			err = errors.New("there is no certificate to check it with")
		}
	}
	s.State = state(err)
	return s
}

func isTrusted(cert *x509.Certificate, trusted []*x509.Certificate) bool {
	for _, c := range trusted {
		if c.Equal(cert) {
			return true
		}
	}
	return false
}

// verify checks that the signature is one of the digest, and returns the
// certificate that it was made with.
func (s *Signature) verify(der, digest []byte) (*x509.Certificate, error) {
	signed, err := pkcs7.Unmarshal(der)
	if err != nil {
		return nil, fmt.Errorf("not a PKCS#7 signature: %w", err)
	}
	infos := signed.Content.SignerInfos
	if len(infos) != 1 {
		return nil, fmt.Errorf("a PKCS#7 signature by %d signers", len(infos))
	}
	// What cannot be parsed of the certificates is not there.
	held, _ := signed.Content.Certificates.Parse()
	cert, err := infos[0].FindCertificate(held)
	if err != nil {
		return nil, errors.New("it does not hold the certificate that it was made with")
	}
	switch hash, err := x509tools.PkixDigestToHashE(infos[0].DigestAlgorithm); {
	case err != nil:
		return cert, err
	case hash != crypto.SHA256 && hash != crypto.SHA384 && hash != crypto.SHA512:
		return cert, errors.New("it uses none of SHA-256, SHA-384 and SHA-512")
	}
	if _, err := signed.Content.Verify(nil, false); err != nil {
		return cert, fmt.Errorf("it is not valid: %w", err)
	}
	var data indirectData
	if err := signed.Content.ContentInfo.Unmarshal(&data); err != nil {
		return cert, fmt.Errorf("it is not one of a program: %w", err)
	}
	if !data.Digest.Algorithm.Algorithm.Equal(asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}) {
		return cert, errors.New("it is of another digest than SHA-256, which is not supported")
	}
	if !bytes.Equal(data.Digest.Digest, digest) {
		return cert, fmt.Errorf("the program was changed: it has the digest %x, and the signature is of %x", digest, data.Digest.Digest)
	}
	return cert, nil
}
