// Package keys makes, stores and loads the key and certificate that images are
// signed with, and signs with them.
package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxFileSize bounds what is read from a key or certificate file.
const maxFileSize = 1 << 20

// LoadKey reads a private key from a PEM file: PKCS#8, PKCS#1 (RSA) or SEC 1
// (EC). An encrypted key is refused.
func LoadKey(path string) (crypto.Signer, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading private key: %w", err)
	}
	key, err := ParseKey(data)
	if err != nil {
		return nil, fmt.Errorf("reading private key %s: %w", path, err)
	}
	return key, nil
}

// LoadCertificate reads the first certificate from a PEM file.
func LoadCertificate(path string) (*x509.Certificate, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading certificate: %w", err)
	}
	cert, err := ParseCertificate(data)
	if err != nil {
		return nil, fmt.Errorf("reading certificate %s: %w", path, err)
	}
	return cert, nil
}

// LoadPair reads a private key and its certificate and checks that they belong
// together.
func LoadPair(keyPath, certPath string) (crypto.Signer, *x509.Certificate, error) {
	key, err := LoadKey(keyPath)
	if err != nil {
		return nil, nil, err
	}
	cert, err := LoadCertificate(certPath)
	if err != nil {
		return nil, nil, err
	}
	if err := CheckPair(key, cert); err != nil {
		return nil, nil, fmt.Errorf("%s and %s: %w", keyPath, certPath, err)
	}
	return key, cert, nil
}

// CheckPair returns an error when the certificate is not for the key.
func CheckPair(key crypto.Signer, cert *x509.Certificate) error {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(cert.PublicKey) {
		return errors.New("the certificate does not belong to the private key")
	}
	return nil
}

// errEncrypted says what to do with a key that a program cannot use by itself.
var errEncrypted = errors.New("the key is protected by a passphrase, which nobody is asked for: use one without (openssl pkey -in OLD -out NEW), or keep it in a token")

// ParseKey finds the private key in PEM text, see LoadKey.
func ParseKey(data []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, err
			}
			return signer(key)
		case "RSA PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, errEncrypted
			}
			key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
			if err != nil {
				return nil, err
			}
			return key, nil
		case "EC PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, errEncrypted
			}
			key, err := x509.ParseECPrivateKey(block.Bytes)
			if err != nil {
				return nil, err
			}
			return key, nil
		case "ENCRYPTED PRIVATE KEY":
			return nil, errEncrypted
		}
	}
	return nil, errors.New("no private key in PEM form found")
}

func signer(key any) (crypto.Signer, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case *ecdsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, fmt.Errorf("keys of type %T cannot sign", key)
}

// ParseCertificate finds the first certificate in PEM text.
func ParseCertificate(data []byte) (*x509.Certificate, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, errors.New("no certificate in PEM form found")
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if n > maxFileSize {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFileSize)
	}
	return b.Bytes(), nil
}
