package verity

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mkosi-go/mkosi/internal/keys"
)

// SignatureSize is the size of a signature partition in bytes.
const SignatureSize = 16384

// maxSignatureSize bounds what is read of a signature partition that others
// made.
const maxSignatureSize = 4 << 20

// Signature is what a signature partition holds (UAPI.2, "Verity signature
// partitions").
type Signature struct {
	// RootHash is what was signed, as hexadecimal text.
	RootHash []byte
	// Fingerprint is the SHA-256 digest of the certificate that signed; nil if
	// the partition does not say.
	Fingerprint []byte
	// DER is a detached PKCS#7 signature.
	DER []byte
}

// signature is the JSON object in a signature partition, in the order in which
// systemd-repart writes its fields.
type signature struct {
	RootHash               string `json:"rootHash"`
	CertificateFingerprint string `json:"certificateFingerprint"`
	Signature              []byte `json:"signature"`
}

// Sign returns the content of the signature partition for a root hash,
// SignatureSize bytes long: a JSON object with the hash, the SHA-256 digest of
// the certificate, and a PKCS#7 signature of the hash as hexadecimal text.
func Sign(key crypto.Signer, cert *x509.Certificate, rootHash []byte) ([]byte, error) {
	der, err := keys.SignPKCS7Detached(key, cert, SignedText(rootHash))
	if err != nil {
		return nil, fmt.Errorf("signing verity root hash: %w", err)
	}
	return FormatSignature(rootHash, keys.Fingerprint(cert), der)
}

// SignedText is what a signature of a root hash is one of: its digits.
func SignedText(rootHash []byte) []byte {
	return hex.AppendEncode(nil, rootHash)
}

// FormatSignature returns the content of a signature partition, SignatureSize
// bytes long, for a signature in DER that was made elsewhere. Fingerprint is
// the SHA-256 digest of the certificate. Nothing is checked but the size.
func FormatSignature(rootHash, fingerprint, der []byte) ([]byte, error) {
	b, err := json.Marshal(signature{hex.EncodeToString(rootHash), hex.EncodeToString(fingerprint), der})
	if err != nil {
		return nil, fmt.Errorf("encoding verity signature: %w", err)
	}
	if len(b) >= SignatureSize {
		return nil, fmt.Errorf("the verity signature, %d bytes, is larger than its partition of %d", len(b), SignatureSize)
	}
	return append(b, make([]byte, SignatureSize-len(b))...), nil
}

// ParseSignature reads the content of a signature partition: a JSON object and
// zeros. Fields that it does not know are ignored, as the specification asks
// for; one that is there twice is an error, since others might take the other.
func ParseSignature(b []byte) (*Signature, error) {
	b = bytes.TrimRight(b, "\x00")
	switch {
	case len(b) == 0:
		return nil, errors.New("verity signature: the partition is empty")
	case len(b) > maxSignatureSize:
		return nil, fmt.Errorf("verity signature: %d bytes are more than %d", len(b), maxSignatureSize)
	}
	fields, err := parseObject(b)
	if err != nil {
		return nil, fmt.Errorf("verity signature: %w", err)
	}
	var s Signature
	for _, f := range []struct {
		name     string
		to       *[]byte
		required bool
		decode   func(json.RawMessage) ([]byte, error)
	}{
		{"rootHash", &s.RootHash, true, parseHex},
		{"certificateFingerprint", &s.Fingerprint, false, parseHex},
		{"signature", &s.DER, true, parseBase64},
	} {
		raw, ok := fields[f.name]
		if !ok {
			if f.required {
				return nil, fmt.Errorf("verity signature: %s is missing", f.name)
			}
			continue
		}
		if *f.to, err = f.decode(raw); err != nil {
			return nil, fmt.Errorf("verity signature: %s: %w", f.name, err)
		}
	}
	if n := len(s.RootHash); n < 16 || n > 64 {
		return nil, fmt.Errorf("verity signature: a root hash of %d bytes cannot be", n)
	}
	return &s, nil
}

// parseObject returns the fields of a JSON object. Unlike package json it tells
// upper from lower case.
func parseObject(b []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil {
		return nil, err
	} else if t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	fields := map[string]json.RawMessage{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, _ := name.(string)
		if _, ok := fields[key]; ok {
			return nil, fmt.Errorf("%q is there twice", key)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		fields[key] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if rest := bytes.TrimSpace(b[d.InputOffset():]); len(rest) > 0 {
		return nil, errors.New("something follows the JSON object")
	}
	return fields, nil
}

func parseHex(raw json.RawMessage) ([]byte, error) {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil, err
	}
	return hex.DecodeString(text)
}

func parseBase64(raw json.RawMessage) ([]byte, error) {
	var b []byte
	err := json.Unmarshal(raw, &b)
	return b, err
}

// Verify checks that the signature is one of a root hash by one of the
// certificates. The error says by which certificate it is otherwise.
func (s *Signature) Verify(rootHash []byte, certs []*x509.Certificate) error {
	if !bytes.Equal(s.RootHash, rootHash) {
		return fmt.Errorf("the verity signature is one of root hash %x, not %x", s.RootHash, rootHash)
	}
	cert, err := keys.VerifyPKCS7Detached(s.DER, SignedText(rootHash), certs)
	if err != nil {
		return fmt.Errorf("verity signature: %w", err)
	}
	if s.Fingerprint != nil && !bytes.Equal(s.Fingerprint, keys.Fingerprint(cert)) {
		return fmt.Errorf("verity signature: made with the certificate %s, but the partition names one with the digest %x", keys.DescribeCertificate(cert), s.Fingerprint)
	}
	return nil
}
