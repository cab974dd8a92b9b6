package inspect

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/efi/authenticode"
)

// testProgram is a unified kernel image with a signature.
func testProgram(p pair) []byte {
	image := testImage()
	m := append(memory(image), make([]byte, 4096)...)
	size, err := authenticode.Sign(m, int64(len(image)), p.key, p.cert)
	if err != nil {
		panic(err)
	}
	return m[:size]
}

func TestProgram(t *testing.T) {
	p, other := newPair(t, "signer"), newPair(t, "other")
	b := testProgram(p)
	im := inspect(t, b, other.cert, p.cert)
	got := im.Content.Program
	if im.Kind != KindPE || !got.UKI || got.Architecture != "x86-64" || got.Uname != "6.1.0" || got.CommandLine != "root=/dev/sda quiet" {
		t.Errorf("%+v", got)
	}
	if got.Release.Fields["PRETTY_NAME"] != `Test "system"` {
		t.Errorf("release %v", got.Release)
	}
	for i, s := range testSections {
		sum := sha256.Sum256([]byte(s.Text))
		if g := got.Sections[i]; g.Name != s.Name || g.Size != int64(len(s.Text)) || !bytes.Equal(g.SHA256, sum[:]) {
			t.Errorf("section %+v, want %s of %d bytes", g, s.Name, len(s.Text))
		}
	}
	if s := got.Signatures; len(s) != 1 || s[0].State != Good || s[0].Signer != "CN=signer" {
		t.Errorf("signatures %+v", s)
	}
	if !im.Verifiable() || !im.Checks()[0].Good {
		t.Errorf("checks %+v", im.Checks())
	}
	for name, tt := range map[string]struct {
		change func(b []byte) []byte
		certs  []*x509.Certificate
		want   string
	}{
		"changed kernel":      {func(b []byte) []byte { b[len(testImage())-600] ^= 1; return b }, []*x509.Certificate{p.cert}, "the program was changed"},
		"changed header":      {func(b []byte) []byte { b[70] ^= 1; return b }, []*x509.Certificate{p.cert}, "the program was changed"},
		"other certificate":   {func(b []byte) []byte { return b }, []*x509.Certificate{other.cert}, "none of those that are trusted"},
		"no certificate":      {func(b []byte) []byte { return b }, nil, "no certificate"},
		"changed signature":   {func(b []byte) []byte { b[len(b)-12] ^= 1; return b }, []*x509.Certificate{p.cert}, "not valid"},
		"bytes after":         {func(b []byte) []byte { return append(b, 1) }, []*x509.Certificate{p.cert}, "no signature covers them"},
		"no signature at all": {func(b []byte) []byte { clear(b[len(testImage())+8:]); return b }, []*x509.Certificate{p.cert}, "not a PKCS#7 signature"},
	} {
		im := inspect(t, tt.change(bytes.Clone(b)), tt.certs...)
		if s := im.Content.Program.Signatures; len(s) != 1 || !strings.Contains(s[0].State, tt.want) {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
