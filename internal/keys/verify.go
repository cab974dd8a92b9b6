package keys

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/sassoftware/relic/v7/lib/pkcs7"
	"github.com/sassoftware/relic/v7/lib/x509tools"
)

// maxPKCS7 bounds what is parsed as a signature.
const maxPKCS7 = 1 << 20

// UnknownSignerError is the error for a signature by none of the certificates
// that it was checked with.
type UnknownSignerError struct {
	// Signer is the certificate by which it was made; nil if the signature
	// does not hold it.
	Signer *x509.Certificate
	// Issuer and Serial name the certificate in any case.
	Issuer string
	Serial *big.Int
}

func (e *UnknownSignerError) Error() string {
	if e.Signer != nil {
		return fmt.Sprintf("signed with the certificate %s, which is none of those given", DescribeCertificate(e.Signer))
	}
	return fmt.Sprintf("signed with the certificate number %x of %s, which is none of those given", e.Serial, e.Issuer)
}

// DescribeCertificate names a certificate for people: its subject, and its
// fingerprint, which is its SHA-256 digest.
func DescribeCertificate(cert *x509.Certificate) string {
	return fmt.Sprintf("%s (SHA-256 %s)", cert.Subject, hex.EncodeToString(Fingerprint(cert)))
}

// Fingerprint is the SHA-256 digest of a certificate.
func Fingerprint(cert *x509.Certificate) []byte {
	digest := sha256.Sum256(cert.Raw)
	return digest[:]
}

// VerifyPKCS7Detached checks a PKCS#7 signature of data in DER, such as
// SignPKCS7Detached makes, and returns the certificate that it was made with,
// one of those that are trusted. Like systemd and the kernel it does not ask
// who issued the certificate, nor until when it is valid. A signature by
// another certificate is an *UnknownSignerError.
func VerifyPKCS7Detached(der, data []byte, trusted []*x509.Certificate) (*x509.Certificate, error) {
	signed, si, err := parsePKCS7(der)
	if err != nil {
		return nil, err
	}
	cert, err := si.FindCertificate(trusted)
	if err != nil {
		return nil, unknownSigner(signed, si)
	}
	// Two certificates of one issuer may have the same number, by mistake.
	for _, c := range trusted {
		if !bytes.Equal(c.RawIssuer, cert.RawIssuer) || c.SerialNumber.Cmp(cert.SerialNumber) != 0 {
			continue
		}
		if _, err = si.Verify(data, false, []*x509.Certificate{c}); err == nil {
			return c, nil
		}
	}
	return nil, fmt.Errorf("the signature with the certificate %s is not one of this content: %w", DescribeCertificate(cert), err)
}

// PKCS7Signer returns the certificate with which a signature in DER says that
// it was made, from those that it holds and others. It checks nothing. If there
// is none, the error is an *UnknownSignerError.
func PKCS7Signer(der []byte, others []*x509.Certificate) (*x509.Certificate, error) {
	signed, si, err := parsePKCS7(der)
	if err != nil {
		return nil, err
	}
	if cert, err := si.FindCertificate(others); err == nil {
		return cert, nil
	}
	unknown := unknownSigner(signed, si)
	if unknown.Signer == nil {
		return nil, unknown
	}
	return unknown.Signer, nil
}

func parsePKCS7(der []byte) (*pkcs7.SignedData, *pkcs7.SignerInfo, error) {
	if len(der) > maxPKCS7 {
		return nil, nil, fmt.Errorf("a signature of %d bytes is larger than %d", len(der), maxPKCS7)
	}
	signed, err := pkcs7.Unmarshal(der)
	if err != nil {
		return nil, nil, fmt.Errorf("not a PKCS#7 signature: %w", err)
	}
	if !signed.ContentType.Equal(pkcs7.OidSignedData) || len(signed.Content.SignerInfos) != 1 {
		return nil, nil, errors.New("not a PKCS#7 signature by one signer")
	}
	content, err := signed.Content.ContentInfo.Bytes()
	if err != nil || content != nil {
		return nil, nil, errors.New("the PKCS#7 signature holds what it signs, or something else")
	}
	si := &signed.Content.SignerInfos[0]
	hash, err := x509tools.PkixDigestToHashE(si.DigestAlgorithm)
	if err != nil || !slices.Contains([]crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}, hash) {
		return nil, nil, errors.New("the PKCS#7 signature uses none of SHA-256, SHA-384 and SHA-512")
	}
	if si.IssuerAndSerialNumber.SerialNumber == nil {
		return nil, nil, errors.New("the PKCS#7 signature does not say by which certificate it is")
	}
	return &signed.Content, si, nil
}

func unknownSigner(signed *pkcs7.SignedData, si *pkcs7.SignerInfo) *UnknownSignerError {
	e := &UnknownSignerError{
		Issuer: x509tools.FormatPkixName(si.IssuerAndSerialNumber.IssuerName.FullBytes, x509tools.NameStyleLdap),
		Serial: si.IssuerAndSerialNumber.SerialNumber,
	}
	// What cannot be parsed of the certificates is not there.
	held, _ := signed.Certificates.Parse()
	if cert, err := si.FindCertificate(held); err == nil {
		e.Signer = cert
	}
	return e
}
