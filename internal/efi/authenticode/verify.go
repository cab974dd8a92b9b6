package authenticode

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/sassoftware/relic/v7/lib/pkcs7"
	"github.com/sassoftware/relic/v7/lib/x509tools"

	"github.com/mkosi-go/mkosi/internal/efi/pe"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// ErrUnsigned is what [Verify] returns for a file without signatures.
var ErrUnsigned = errors.New("the program is not signed")

// List returns the signatures of a file of size bytes, see [ParseTable].
func List(r io.ReaderAt, size int64) ([]Signature, error) {
	f, err := pe.Parse(r, size)
	if err != nil {
		return nil, err
	}
	table := make([]byte, f.Certificates.Size)
	if _, err := r.ReadAt(table, f.Certificates.Offset); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return ParseTable(table)
}

// Verify checks that a file of size bytes has a signature by one of the trusted
// certificates, and returns that. Like firmware, it does not ask until when a
// certificate is valid; unlike firmware, it asks for the certificate itself, not
// for one by its issuer. If there is no such signature, the error says what is
// wrong with each.
func Verify(r io.ReaderAt, size int64, trusted []*x509.Certificate) (*x509.Certificate, error) {
	list, err := List(r, size)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, ErrUnsigned
	}
	digest, err := Digest(r, size, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var problems []error
	for i, s := range list {
		cert, err := s.Verify(digest)
		if err == nil && slices.ContainsFunc(trusted, cert.Equal) {
			return cert, nil
		}
		if err == nil {
			err = &keys.UnknownSignerError{Signer: cert}
		}
		problems = append(problems, fmt.Errorf("signature %d: %w", i+1, err))
	}
	return nil, errors.Join(problems...)
}

// Verify checks that the signature is one of the SHA-256 digest of a file, and
// returns the certificate with which it was made, which may be anybody's. There
// may be one with an error, too: that which the signature names.
func (s Signature) Verify(digest []byte) (*x509.Certificate, error) {
	if s.Type != TypePKCS7 {
		return nil, fmt.Errorf("signatures of type %d are not supported", s.Type)
	}
	signed, err := pkcs7.Unmarshal(s.Content)
	if err != nil {
		return nil, fmt.Errorf("not a PKCS#7 signature: %w", err)
	}
	infos := signed.Content.SignerInfos
	if len(infos) != 1 || infos[0].IssuerAndSerialNumber.SerialNumber == nil {
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
	return cert, checkDigest(signed.Content.ContentInfo, digest)
}

// checkDigest checks that what was signed is the digest.
func checkDigest(signed pkcs7.ContentInfo, digest []byte) error {
	var data indirectData
	if !signed.ContentType.Equal(oidIndirectData()) {
		return errors.New("it is not one of a program")
	}
	if err := signed.Unmarshal(&data); err != nil {
		return fmt.Errorf("it is not one of a program: %w", err)
	}
	if sha256, _ := x509tools.PkixDigestAlgorithm(crypto.SHA256); !data.Digest.Algorithm.Algorithm.Equal(sha256.Algorithm) {
		return errors.New("it is of another digest than SHA-256, which is not supported")
	}
	if !bytes.Equal(data.Digest.Digest, digest) {
		return fmt.Errorf("the program was changed: it has the digest %x, and the signature is of %x", digest, data.Digest.Digest)
	}
	return nil
}
