package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sassoftware/relic/v7/lib/pkcs7"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.FixedZone("", 3600))

func generate(t *testing.T) (keyPEM, certPEM []byte) {
	t.Helper()
	keyPEM, certPEM, err := Generate(GenerateOptions{CommonName: "mkosi of tests", ValidDays: 730, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return keyPEM, certPEM
}

func TestGenerate(t *testing.T) {
	keyPEM, certPEM := generate(t)
	key, err := ParseKey(keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	if bits := key.Public().(*rsa.PublicKey).N.BitLen(); bits != 2048 {
		t.Errorf("key has %d bits", bits)
	}
	cert, err := ParseCertificate(certPEM)
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckPair(key, cert); err != nil {
		t.Error(err)
	}
	if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		t.Error(err)
	}
	if got := cert.Subject.String(); got != "CN=mkosi of tests" || cert.Issuer.String() != got {
		t.Errorf("subject %s, issuer %s", got, cert.Issuer)
	}
	if !cert.NotBefore.Equal(now) || !cert.NotAfter.Equal(now.AddDate(0, 0, 730)) {
		t.Errorf("valid from %s to %s", cert.NotBefore, cert.NotAfter)
	}
	if cert.Version != 3 || cert.SignatureAlgorithm != x509.SHA256WithRSA || len(cert.SerialNumber.Bytes()) != 20 {
		t.Errorf("version %d, %s, serial %x", cert.Version, cert.SignatureAlgorithm, cert.SerialNumber)
	}
	if len(cert.Extensions) != 1 || len(cert.SubjectKeyId) != 20 {
		t.Errorf("extensions %v, key id %x", cert.Extensions, cert.SubjectKeyId)
	}
}

func TestGenerateRefuses(t *testing.T) {
	for _, o := range []GenerateOptions{
		{ValidDays: 1, Now: now},
		{CommonName: "x", Now: now},
		{CommonName: "x", ValidDays: 1, Now: now, Rand: strings.NewReader("short")},
	} {
		if _, _, err := Generate(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestWriteFiles(t *testing.T) {
	dir := t.TempDir()
	keyPath, certPath := filepath.Join(dir, "mkosi.key"), filepath.Join(dir, "mkosi.crt")
	keyPEM, certPEM := generate(t)
	if err := WriteFiles(keyPath, certPath, keyPEM, certPEM, false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadPair(keyPath, certPath); err != nil {
		t.Error(err)
	}
	for path, mode := range map[string]fs.FileMode{keyPath: 0o600, certPath: 0o644} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != mode {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
	}

	os.Remove(keyPath)
	if err := WriteFiles(keyPath, certPath, []byte("new"), []byte("new"), false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("replacing a certificate: %v", err)
	}
	if _, err := os.Stat(keyPath); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused write left a key: %v", err)
	}
	if err := WriteFiles(keyPath, certPath, keyPEM, certPEM, true); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(keyPath); err != nil {
		t.Error(err)
	}

	if err := WriteFiles(filepath.Join(dir, "k"), filepath.Join(dir, "missing", "c"), keyPEM, certPEM, true); err == nil {
		t.Error("wrote into a missing folder")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("a failed write left files: %v", entries)
	}
}

func TestParseKeyForms(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	for _, tt := range []struct {
		block string
		der   []byte
		want  crypto.PublicKey
	}{
		{"RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey), rsaKey.Public()},
		{"EC PRIVATE KEY", sec1, ec.Public()},
		{"PRIVATE KEY", pkcs8(ec), ec.Public()},
		{"PRIVATE KEY", pkcs8(edKey), edKey.Public()},
	} {
		text := append([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"),
			pem.EncodeToMemory(&pem.Block{Type: tt.block, Bytes: tt.der})...)
		key, err := ParseKey(text)
		if err != nil {
			t.Errorf("%s: %v", tt.block, err)
			continue
		}
		if !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(tt.want) {
			t.Errorf("%s: another key", tt.block)
		}
	}
	for _, text := range []string{
		"", "no PEM",
		"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
		"-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	} {
		if _, err := ParseKey([]byte(text)); err == nil {
			t.Errorf("%q was accepted as a key", text)
		}
		if _, err := ParseCertificate([]byte(text)); err == nil {
			t.Errorf("%q was accepted as a certificate", text)
		}
	}
}

func TestSignPKCS7Detached(t *testing.T) {
	keyPEM, certPEM := generate(t)
	key, _ := ParseKey(keyPEM)
	cert, _ := ParseCertificate(certPEM)
	data := []byte("root hash")
	der, err := SignPKCS7Detached(key, cert, data)
	if err != nil {
		t.Fatal(err)
	}
	again, err := SignPKCS7Detached(key, cert, data)
	if err != nil {
		t.Fatal(err)
	}
	if string(der) != string(again) {
		t.Error("two signatures of the same data differ")
	}
	signed, err := pkcs7.Unmarshal(der)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := signed.Content.Verify(data, false)
	if err != nil {
		t.Fatal(err)
	}
	if !sig.Certificate.Equal(cert) {
		t.Error("signature holds another certificate")
	}
	if _, err := signed.Content.Verify([]byte("other hash"), false); err == nil {
		t.Error("signature fits other data")
	}

	otherKey, _ := generate(t)
	other, _ := ParseKey(otherKey)
	if _, err := SignPKCS7Detached(other, cert, data); err == nil {
		t.Error("signed with a key that the certificate is not for")
	}
}

func TestSignWithECKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now, NotAfter: now.AddDate(1, 0, 0)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	der, err := SignPKCS7Detached(key, cert, []byte("data"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := pkcs7.Unmarshal(der)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signed.Content.Verify([]byte("data"), false); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if key, err := ParseKey(data); err == nil && key.Public() == nil {
			t.Error("key without a public half")
		}
		if cert, err := ParseCertificate(data); err == nil && len(cert.Raw) == 0 {
			t.Error("empty certificate")
		}
	})
}
