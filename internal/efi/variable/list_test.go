package variable

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
	"github.com/mkosi-go/mkosi/internal/keys/keystest"
)

var owner = uuid.MustParse("00112233-4455-6677-8899-aabbccddeeff")

func TestMarshalLists(t *testing.T) {
	digests := Digests(owner, [sha256.Size]byte{1}, [sha256.Size]byte{2})
	cert := Certificate(uuid.Nil, &x509.Certificate{Raw: []byte("abc")})
	b, err := MarshalLists(digests, cert)
	if err != nil {
		t.Fatal(err)
	}
	// The bytes of the specification, in order: type, sizes, owner and data.
	zeros := func(n int) string { return hex.EncodeToString(make([]byte, n)) }
	mixed := "33221100554477668899aabbccddeeff"
	want := "2616c4c14c509240aca941f936934328" + "7c000000" + "00000000" + "30000000" +
		mixed + "01" + zeros(31) + mixed + "02" + zeros(31) +
		"a159c0a5e494a74a87b5ab155c2bf072" + "2f000000" + "00000000" + "13000000" + zeros(16) + "616263"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	lists, err := ParseLists(b)
	if diff := cmp.Diff([]List{digests, cert}, lists); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if _, err := MarshalLists(List{Type: X509()}); err == nil {
		t.Error("an empty list was written")
	}
	uneven := List{Type: X509(), Signatures: []Signature{{Data: []byte("a")}, {Data: []byte("ab")}}}
	if _, err := MarshalLists(uneven); err == nil {
		t.Error("a list of signatures of two sizes was written")
	}
}

func TestCertificates(t *testing.T) {
	_, cert := keystest.Pair(t, "owner")
	certs := Certificates([]List{
		Digests(owner, [sha256.Size]byte{}),
		Certificate(owner, &x509.Certificate{Raw: []byte("damaged")}),
		Certificate(owner, cert),
	})
	if len(certs) != 1 || !certs[0].Equal(cert) {
		t.Errorf("%d certificates: %v", len(certs), certs)
	}
}

// list is a list with these numbers in its header, and so many bytes after it.
func list(size, header, one byte, content int) []byte {
	b := AppendGUID(nil, X509())
	b = append(b, size, 0, 0, 0, header, 0, 0, 0, one, 0, 0, 0)
	return append(b, make([]byte, content)...)
}

func TestParseListsDamaged(t *testing.T) {
	huge := list(28+17, 0, 17, 17)
	huge[19], huge[23], huge[27] = 0xff, 0xff, 0xff
	for name, b := range map[string][]byte{
		"header cut off":           list(28+17, 0, 17, 0)[:27],
		"cut off":                  list(28+17, 0, 17, 16),
		"smaller than its header":  list(27, 0, 17, 17),
		"header of the type":       list(28+17, 18, 17, 17),
		"signature of no size":     list(28+17, 0, 0, 17),
		"signature without owner":  list(28+30, 0, 15, 30),
		"half a signature":         list(28+20, 0, 17, 20),
		"bytes after":              append(list(28+17, 0, 17, 17), 1),
		"numbers beyond all sizes": huge,
	} {
		if lists, err := ParseLists(b); err == nil {
			t.Errorf("%s: read as %+v", name, lists)
		}
	}
	if _, err := ParseLists(make([]byte, maxLists+1)); err == nil {
		t.Error("a list beyond the limit was read")
	}
	lists, err := ParseLists(list(28+3+17, 3, 17, 3+17))
	if err != nil || len(lists) != 1 || len(lists[0].Header) != 3 || len(lists[0].Signatures) != 1 {
		t.Errorf("a list with a header of the type: %+v, %v", lists, err)
	}
}

// FuzzParseLists reads anything: what is accepted is written the same again.
func FuzzParseLists(f *testing.F) {
	f.Add(list(28+17, 0, 17, 17))
	f.Add(list(28+3+34, 3, 17, 3+34))
	f.Add(append(list(28+17, 0, 17, 17), list(28+16, 0, 16, 16)...))
	f.Add(list(28, 0, 17, 0))
	bound := fuzztest.Bound{Base: 1 << 20, PerByte: 100}
	f.Fuzz(func(t *testing.T, b []byte) {
		var lists []List
		var err error
		bound.Check(t, len(b), func() { lists, err = ParseLists(b) })
		if err != nil {
			return
		}
		Certificates(lists)
		for _, l := range lists {
			if len(l.Signatures) == 0 {
				return // such a list is read, but not written
			}
		}
		if again, err := MarshalLists(lists...); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x became %x, %v", b, again, err)
		}
	})
}
