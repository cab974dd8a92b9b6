package keys

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"strings"
	"testing"

	"github.com/sassoftware/relic/v7/lib/pkcs7"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

// signed makes a signature of "content".
func signed(t testing.TB) (cert *x509.Certificate, der []byte) {
	t.Helper()
	keyPEM, certPEM, err := Generate(GenerateOptions{CommonName: "signer", ValidDays: 1, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey(keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = ParseCertificate(certPEM); err != nil {
		t.Fatal(err)
	}
	if der, err = SignPKCS7Detached(key, cert, []byte("content")); err != nil {
		t.Fatal(err)
	}
	return cert, der
}

func TestVerifyPKCS7Detached(t *testing.T) {
	cert, der := signed(t)
	other, _ := signed(t)
	got, err := VerifyPKCS7Detached(der, []byte("content"), []*x509.Certificate{other, cert})
	if err != nil || got != cert {
		t.Errorf("signed by %v, %v", got, err)
	}
	if _, err := VerifyPKCS7Detached(der, []byte("other"), []*x509.Certificate{cert}); err == nil || !strings.Contains(err.Error(), "CN=signer") {
		t.Errorf("other content: %v", err)
	}
	var unknown *UnknownSignerError
	if _, err := VerifyPKCS7Detached(der, []byte("content"), []*x509.Certificate{other}); !errors.As(err, &unknown) || !unknown.Signer.Equal(cert) {
		t.Errorf("unknown signer: %v", err)
	}
	// A certificate that has another's name and number is not the other.
	twin := *other
	twin.SerialNumber = cert.SerialNumber
	if _, err := VerifyPKCS7Detached(der, []byte("content"), []*x509.Certificate{&twin}); err == nil {
		t.Error("a twin's signature was accepted")
	}
	if got, err := VerifyPKCS7Detached(der, []byte("content"), []*x509.Certificate{&twin, cert}); err != nil || got != cert {
		t.Errorf("beside its twin: %v, %v", got, err)
	}
}

// A signature may come without the certificate; then it has to be given.
func TestVerifyPKCS7WithoutCertificate(t *testing.T) {
	cert, der := signed(t)
	parsed, err := pkcs7.Unmarshal(der)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Content.Certificates = nil
	if der, err = asn1.Marshal(*parsed); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyPKCS7Detached(der, []byte("content"), []*x509.Certificate{cert}); err != nil {
		t.Error(err)
	}
	_, err = PKCS7Signer(der, nil)
	var unknown *UnknownSignerError
	if !errors.As(err, &unknown) || unknown.Signer != nil || !strings.Contains(err.Error(), "CN=signer") {
		t.Errorf("without any certificate: %v", err)
	}
	if got, err := PKCS7Signer(der, []*x509.Certificate{cert}); err != nil || got != cert {
		t.Errorf("signer %v, %v", got, err)
	}
}

func TestVerifyPKCS7Refuses(t *testing.T) {
	cert, der := signed(t)
	change := func(f func(*pkcs7.ContentInfoSignedData)) []byte {
		parsed, err := pkcs7.Unmarshal(der)
		if err != nil {
			t.Fatal(err)
		}
		f(parsed)
		b, err := asn1.Marshal(*parsed)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sha1 := asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	for name, b := range map[string][]byte{
		"nothing": nil,
		"text":    []byte("-----BEGIN PKCS7-----"),
		"half":    der[:len(der)/2],
		"large":   make([]byte, maxPKCS7+1),
		"two signers": change(func(s *pkcs7.ContentInfoSignedData) {
			si := s.Content.SignerInfos[0]
			s.Content.SignerInfos = append(s.Content.SignerInfos, si)
		}),
		"SHA-1": change(func(s *pkcs7.ContentInfoSignedData) {
			s.Content.SignerInfos[0].RawContent = nil
			s.Content.SignerInfos[0].DigestAlgorithm.Algorithm = sha1
		}),
		"content": change(func(s *pkcs7.ContentInfoSignedData) {
			info, err := pkcs7.NewContentInfo(pkcs7.OidData, []byte("content"))
			if err != nil {
				t.Fatal(err)
			}
			s.Content.ContentInfo = info
		}),
	} {
		if _, err := VerifyPKCS7Detached(b, []byte("content"), []*x509.Certificate{cert}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzVerifyPKCS7(f *testing.F) {
	cert, der := signed(f)
	f.Add(der)
	f.Add(der[:200])
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzztest.Bound{Base: 4 << 20, PerByte: 1000}.Check(t, len(b), func() {
			if _, err := VerifyPKCS7Detached(b, []byte("something else"), []*x509.Certificate{cert}); err == nil {
				t.Error("accepted for what it does not sign")
			}
		})
	})
}
