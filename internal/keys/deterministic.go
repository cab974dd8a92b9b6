package keys

import (
	"crypto"
	"crypto/ecdsa"
	"io"
)

// Deterministic returns a key that signs the same twice: the numbers that ECDSA
// needs are derived from key and digest (RFC 6979) where they would be random
// else. It returns keys of other types as they are, since RSA (PKCS #1 v1.5) and
// Ed25519 need none, and keys in hardware make their own.
func Deterministic(key crypto.Signer) crypto.Signer {
	if private, ok := key.(*ecdsa.PrivateKey); ok {
		return deterministic{private}
	}
	return key
}

type deterministic struct{ *ecdsa.PrivateKey }

func (k deterministic) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.PrivateKey.Sign(nil, digest, opts)
}
