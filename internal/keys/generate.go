package keys

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
)

const rsaBits = 2048

// GenerateOptions says what Generate makes.
type GenerateOptions struct {
	// CommonName is the certificate's subject and issuer.
	CommonName string
	// ValidDays is how long the certificate is valid, from Now on.
	ValidDays int
	// Now is the current time.
	Now time.Time
	// Rand is where the serial number comes from; nil means crypto/rand. The
	// key always comes from the system's secure source.
	Rand io.Reader
}

// Generate makes an RSA key of 2048 bits and a self-signed certificate for it
// (X.509 version 3, SHA-256, a subject key identifier and no other extension),
// both as PEM text, the key as PKCS#8.
func Generate(o GenerateOptions) (keyPEM, certPEM []byte, err error) {
	if o.CommonName == "" {
		return nil, nil, errors.New("generating a key: the common name is empty")
	}
	if o.ValidDays < 1 {
		return nil, nil, fmt.Errorf("generating a key: %d days of validity are too few", o.ValidDays)
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	key, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, nil, fmt.Errorf("generating a key: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the key: %w", err)
	}
	certDER, err := selfSign(key, o)
	if err != nil {
		return nil, nil, fmt.Errorf("making the certificate: %w", err)
	}
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certDER})
	return keyPEM, certPEM, nil
}

func selfSign(key *rsa.PrivateKey, o GenerateOptions) ([]byte, error) {
	// 159 bits, so that the number is positive and at most 20 bytes (RFC 5280, 4.1.2.2).
	serialBytes := make([]byte, 20)
	if _, err := io.ReadFull(o.Rand, serialBytes); err != nil {
		return nil, err
	}
	serialBytes[0] = serialBytes[0]&0x7f | 0x40

	// Written out because x509.CreateCertificate shortens a SHA-256 hash here,
	// where openssl has the SHA-1 hash of the public key (RFC 5280, 4.2.1.2).
	keyID := sha1.Sum(x509.MarshalPKCS1PublicKey(&key.PublicKey))
	keyIDValue, err := asn1.Marshal(keyID[:])
	if err != nil {
		return nil, err
	}
	name := pkix.Name{CommonName: o.CommonName}
	template := &x509.Certificate{
		SerialNumber:       new(big.Int).SetBytes(serialBytes),
		Subject:            name,
		Issuer:             name,
		NotBefore:          o.Now.UTC(),
		NotAfter:           o.Now.UTC().AddDate(0, 0, o.ValidDays),
		SignatureAlgorithm: x509.SHA256WithRSA,
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 14}, Value: keyIDValue},
		},
	}
	return x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
}

// WriteFiles stores a key (mode 0600) and its certificate (mode 0644). Unless
// force is set it refuses to replace either, with an error that wraps
// fs.ErrExist. Each file is either complete or as it was before.
func WriteFiles(keyPath, certPath string, keyPEM, certPEM []byte, force bool) error {
	if !force {
		for _, path := range []string{keyPath, certPath} {
			if _, err := os.Lstat(path); err == nil {
				return fmt.Errorf("%s: %w", path, fs.ErrExist)
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	key, err := stage(keyPath, keyPEM, 0o600)
	if err != nil {
		return err
	}
	defer key.Cleanup()
	cert, err := stage(certPath, certPEM, 0o644)
	if err != nil {
		return err
	}
	defer cert.Cleanup()
	// Both are on the disk now; what can still fail is a rename.
	if err := key.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("writing %s: %w", keyPath, err)
	}
	if err := cert.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("writing %s: %w", certPath, err)
	}
	return nil
}

// stage writes data to a temporary file beside path.
func stage(path string, data []byte, mode fs.FileMode) (*renameio.PendingFile, error) {
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(mode))
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Cleanup()
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	return f, nil
}
