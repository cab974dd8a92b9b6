package keys

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"

	"github.com/sassoftware/relic/v7/lib/pkcs7"
)

// SignPKCS7Detached signs data and returns a PKCS#7 SignedData structure (RFC
// 2315) in DER that holds the certificate, but neither data nor attributes. It
// is what the kernel's dm-verity and systemd expect of a signed root hash, and
// the same as "openssl smime -sign -noattr -binary -outform DER" makes.
func SignPKCS7Detached(key crypto.Signer, cert *x509.Certificate, data []byte) ([]byte, error) {
	if err := CheckPair(key, cert); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	digest := sha256.Sum256(data)
	b := pkcs7.NewBuilder(Deterministic(key), []*x509.Certificate{cert}, crypto.SHA256)
	if err := b.SetDetachedContent(pkcs7.OidData, digest[:]); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	signed, err := b.Sign()
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	der, err := asn1.Marshal(*signed)
	if err != nil {
		return nil, fmt.Errorf("encoding signature: %w", err)
	}
	return der, nil
}
