package verity

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// pair makes a key and its certificate.
func pair(t *testing.T, name string) (crypto.Signer, *x509.Certificate) {
	t.Helper()
	keyPEM, certPEM, err := keys.Generate(keys.GenerateOptions{CommonName: name, ValidDays: 1, Now: time.Unix(1700000000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	key, err := keys.ParseKey(keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := keys.ParseCertificate(certPEM)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

func TestSign(t *testing.T) {
	key, cert := pair(t, "test")
	root := bytes.Repeat([]byte{0xab}, 32)
	b, err := Sign(key, cert, root)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != 16384 {
		t.Errorf("%d bytes", len(b))
	}
	text := string(bytes.TrimRight(b, "\x00"))
	fingerprint := sha256.Sum256(cert.Raw)
	want := `{"rootHash":"` + strings.Repeat("ab", 32) + `","certificateFingerprint":"` + hex.EncodeToString(fingerprint[:]) + `","signature":"MII`
	if !strings.HasPrefix(text, want) || !strings.HasSuffix(text, `"}`) {
		t.Errorf("signature partition %.250s", text)
	}
	var sig struct{ Signature []byte }
	if err := json.Unmarshal([]byte(text), &sig); err != nil {
		t.Fatal(err)
	}
	der, err := keys.SignPKCS7Detached(key, cert, []byte(strings.Repeat("ab", 32)))
	if err != nil || !bytes.Equal(der, sig.Signature) {
		t.Errorf("the signature is not one of the hash as text: %v", err)
	}
	cert.Raw = make([]byte, 100)
	cert.PublicKey = nil
	if _, err := Sign(key, cert, root); err == nil {
		t.Error("signed with another key's certificate")
	}
}

func TestVerifySignature(t *testing.T) {
	key, cert := pair(t, "signer")
	_, other := pair(t, "other")
	root := bytes.Repeat([]byte{0xab}, 32)
	b, err := Sign(key, cert, root)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseSignature(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.RootHash, root) || !bytes.Equal(s.Fingerprint, keys.Fingerprint(cert)) {
		t.Errorf("read as %x by %x", s.RootHash, s.Fingerprint)
	}
	if err := s.Verify(root, []*x509.Certificate{other, cert}); err != nil {
		t.Error(err)
	}
	broken := *s
	broken.RootHash = bytes.Repeat([]byte{0xac}, 32)
	renamed := *s
	renamed.Fingerprint = keys.Fingerprint(other)
	foreign := *s
	foreign.DER = s.DER[:100]
	for _, tt := range []struct {
		s     *Signature
		root  []byte
		certs []*x509.Certificate
		want  string
	}{
		{s, broken.RootHash, []*x509.Certificate{cert}, "root hash abab"},
		{s, root, []*x509.Certificate{other}, "CN=signer (SHA-256 " + hex.EncodeToString(keys.Fingerprint(cert)) + "), which is none of those given"},
		{s, root, nil, "none of those given"},
		{&broken, broken.RootHash, []*x509.Certificate{cert}, "CN=signer"},
		{&renamed, root, []*x509.Certificate{cert}, hex.EncodeToString(keys.Fingerprint(other))},
		{&foreign, root, []*x509.Certificate{cert}, "not a PKCS#7 signature"},
	} {
		if err := tt.s.Verify(tt.root, tt.certs); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want one with %q", err, tt.want)
		}
	}
}

func TestParseSignature(t *testing.T) {
	hash := strings.Repeat("0a", 32)
	s, err := ParseSignature([]byte(` {"signature":"AQI=","more":{"rootHash":1},"rootHash":"` + hash + `"}` + "\n\x00\x00"))
	if err != nil || hex.EncodeToString(s.RootHash) != hash || s.Fingerprint != nil || !bytes.Equal(s.DER, []byte{1, 2}) {
		t.Errorf("read as %+v, %v", s, err)
	}
	for _, text := range []string{
		"", "\x00\x00", "x", "[]", "{", `{"rootHash":"` + hash + `"}`, `{"signature":"AQI="}`,
		`{"signature":"AQI=","rootHash":"0a"}`, `{"signature":"AQI=","rootHash":"xx"}`, `{"signature":"!","rootHash":"` + hash + `"}`,
		`{"signature":"AQI=","rootHash":1}`, `{"signature":"AQI=","RootHash":"` + hash + `"}`,
		`{"signature":"AQI=","rootHash":"` + hash + `","rootHash":"` + hash + `"}`,
		`{"signature":"AQI=","rootHash":"` + hash + `"}{}`, `{"signature":"AQI=","rootHash":"` + hash + `","x":}`,
		strings.Repeat(" ", maxSignatureSize+1),
	} {
		if s, err := ParseSignature([]byte(text)); err == nil {
			t.Errorf("%.200q was read as %+v", text, s)
		}
	}
}

func TestFormatSignatureTooLarge(t *testing.T) {
	if _, err := FormatSignature(make([]byte, 32), make([]byte, 32), make([]byte, 13000)); err == nil {
		t.Error("a signature that does not fit was accepted")
	}
}

func FuzzParseSignature(f *testing.F) {
	f.Add([]byte(`{"rootHash":"` + strings.Repeat("ab", 32) + `","certificateFingerprint":"` + strings.Repeat("cd", 32) + `","signature":"MIIE"}` + "\x00"))
	f.Add([]byte(`{"a":[[[{"b":1}]]],"signature":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzztest.Bound{Base: 1 << 20, PerByte: 200}.Check(t, len(b), func() {
			s, err := ParseSignature(b)
			if err != nil {
				return
			}
			if s.Verify(s.RootHash, nil) == nil {
				t.Error("a signature was accepted that nobody made")
			}
		})
	})
}
