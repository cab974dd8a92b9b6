package inspect

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"

	"github.com/sassoftware/relic/v7/lib/pkcs7"

	"github.com/mkosi-go/mkosi/internal/efi/pe"
)

// testProgram is a unified kernel image with a signature.
func testProgram(p pair) []byte {
	b := testImage()
	h, err := pe.ParseHeader(b, int64(len(b)))
	if err != nil {
		panic(err)
	}
	w := newScanner(h)
	if err := w.scan(bytes.NewReader(b), int64(len(b))); err != nil {
		panic(err)
	}
	der := signDigest(p, w.digest.Sum(nil))
	table := le.AppendUint32(nil, uint32(8+len(der)))
	table = le.AppendUint16(le.AppendUint16(table, 0x200), 2)
	table = append(table, der...)
	table = append(table, make([]byte, -len(table)&7)...)
	le.PutUint32(b[h.CertEntryOffset:], uint32(len(b)))
	le.PutUint32(b[h.CertEntryOffset+4:], uint32(len(table)))
	return append(b, table...)
}

// signDigest makes an Authenticode signature of a digest.
func signDigest(p pair, digest []byte) []byte {
	var data indirectData
	data.Data.FullBytes = []byte{0x30, 0}
	data.Digest.Algorithm = pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}}
	data.Digest.Digest = digest
	builder := pkcs7.NewBuilder(p.key, []*x509.Certificate{p.cert}, crypto.SHA256)
	if err := builder.SetContent(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 4}, data); err != nil {
		panic(err)
	}
	signed, err := builder.Sign()
	if err != nil {
		panic(err)
	}
	der, err := asn1.Marshal(*signed)
	if err != nil {
		panic(err)
	}
	return der
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
		"no signature at all": {func(b []byte) []byte { clear(b[len(testImage())+8:]); return b }, []*x509.Certificate{p.cert}, "not a PKCS#7 signature"},
	} {
		im := inspect(t, tt.change(bytes.Clone(b)), tt.certs...)
		if s := im.Content.Program.Signatures; len(s) != 1 || !strings.Contains(s[0].State, tt.want) {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
