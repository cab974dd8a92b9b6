package verity

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/mkosi-go/mkosi/internal/keys"
)

// SignatureSize is the size of a signature partition in bytes.
const SignatureSize = 16384

// signature is the JSON object in a signature partition, in the order in which
// systemd-repart writes its fields (UAPI.2, "Verity signature partitions").
type signature struct {
	RootHash               string `json:"rootHash"`
	CertificateFingerprint string `json:"certificateFingerprint"`
	Signature              []byte `json:"signature"`
}

// Sign returns the content of the signature partition for a root hash,
// SignatureSize bytes long: a JSON object with the hash, the SHA-256 digest of
// the certificate, and a PKCS#7 signature of the hash as hexadecimal text.
func Sign(key crypto.Signer, cert *x509.Certificate, rootHash []byte) ([]byte, error) {
	text := hex.EncodeToString(rootHash)
	der, err := keys.SignPKCS7Detached(key, cert, []byte(text))
	if err != nil {
		return nil, fmt.Errorf("signing verity root hash: %w", err)
	}
	fingerprint := sha256.Sum256(cert.Raw)
	b, err := json.Marshal(signature{text, hex.EncodeToString(fingerprint[:]), der})
	if err != nil {
		return nil, fmt.Errorf("encoding verity signature: %w", err)
	}
	if len(b) >= SignatureSize {
		return nil, fmt.Errorf("the verity signature, %d bytes, is larger than its partition of %d", len(b), SignatureSize)
	}
	return append(b, make([]byte, SignatureSize-len(b))...), nil
}
