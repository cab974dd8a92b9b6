package variable

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
	"github.com/mkosi-go/mkosi/internal/keys"
	"github.com/mkosi-go/mkosi/internal/keys/keystest"
)

var signTime = time.Date(2026, 11, 29, 10, 17, 3, 999, time.UTC)

func TestEnrol(t *testing.T) {
	key, cert := keystest.Pair(t, "owner")
	files, err := Enrol(key, cert, signTime)
	if err != nil {
		t.Fatal(err)
	}
	ids := []ID{PlatformKey(), ExchangeKeys(), Allowed()}
	if len(files) != len(ids) {
		t.Fatalf("%d files", len(files))
	}
	for i, id := range ids {
		if files[i].Name != id.Name+".auth" {
			t.Errorf("%s has the file %s", id.Name, files[i].Name)
		}
		u, err := ParseUpdate(files[i].Update)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := u.Verify(id, KeyAttributes, []*x509.Certificate{cert}); err != nil || !got.Equal(cert) {
			t.Errorf("%s: %v", files[i].Name, err)
		}
		lists, err := ParseLists(u.Data)
		if err != nil || len(lists) != 1 || len(lists[0].Signatures) != 1 || lists[0].Signatures[0].Owner != uuid.Nil {
			t.Fatalf("%s holds %+v, %v", files[i].Name, lists, err)
		}
		if certs := Certificates(lists); len(certs) != 1 || !certs[0].Equal(cert) {
			t.Errorf("%s holds the certificates %v", files[i].Name, certs)
		}
	}
	again, err := Enrol(key, cert, signTime)
	if err != nil || !bytes.Equal(again[0].Update, files[0].Update) {
		t.Errorf("the second time, it is another file: %v", err)
	}
}

// TestSignLayout compares an update with the specification, byte by byte up to
// the signature, and looks at how that starts: with the tag of a SEQUENCE, and
// in it the version, which a ContentInfo structure does not have.
func TestSignLayout(t *testing.T) {
	key, cert := keystest.Pair(t, "owner")
	b, err := Sign(key, cert, Allowed(), KeyAttributes, signTime, []byte("data"))
	if err != nil {
		t.Fatal(err)
	}
	const size = "00000000" // which depends on the certificate
	want := "ea070b1d0a110300" + "0000000000000000" + size + "0002f10e" + "9dd2af4adf68ee498aa9347d375665a7" + "3082"
	got := bytes.Clone(b[:42])
	if n := le32(got[16:]); n != len(b)-16-4 {
		t.Errorf("the signature has %d of %d bytes", n, len(b))
	}
	clear(got[16:20])
	if hex.EncodeToString(got) != want || hex.EncodeToString(b[44:47]) != "020101" {
		t.Errorf("got %x...%x, want %s", got, b[44:47], want)
	}
}

func le32(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 | int(b[3])<<24 }

func TestVerify(t *testing.T) {
	key, cert := keystest.Pair(t, "owner")
	_, other := keystest.Pair(t, "other")
	b, err := Sign(key, cert, Allowed(), KeyAttributes, signTime, []byte("data"))
	if err != nil {
		t.Fatal(err)
	}
	u, err := ParseUpdate(b)
	if err != nil {
		t.Fatal(err)
	}
	if !u.Time.Equal(signTime.Truncate(time.Second)) || string(u.Data) != "data" {
		t.Errorf("read as %v with %q", u.Time, u.Data)
	}
	trusted := []*x509.Certificate{other, cert}
	if _, err := u.Verify(Allowed(), KeyAttributes, trusted); err != nil {
		t.Error(err)
	}
	var unknown *keys.UnknownSignerError
	if _, err := u.Verify(Allowed(), KeyAttributes, []*x509.Certificate{other}); !errors.As(err, &unknown) {
		t.Errorf("with another certificate: %v", err)
	}
	if _, err := u.Verify(Forbidden(), KeyAttributes, trusted); err == nil {
		t.Error("it is one of another variable, too")
	}
	if _, err := u.Verify(Allowed(), KeyAttributes|1<<6, trusted); err == nil {
		t.Error("it is one with other attributes, too")
	}
	wrapped, err := wrap(u.PKCS7)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&Update{u.Time, wrapped, u.Data}).Verify(Allowed(), KeyAttributes, trusted); err != nil {
		t.Errorf("with a ContentInfo structure: %v", err)
	}
	if _, err := (&Update{u.Time, u.PKCS7, []byte("Data")}).Verify(Allowed(), KeyAttributes, trusted); err == nil {
		t.Error("it is one of other data, too")
	}
	if _, err := (&Update{u.Time.Add(time.Second), u.PKCS7, u.Data}).Verify(Allowed(), KeyAttributes, trusted); err == nil {
		t.Error("it is one of another time, too")
	}
}

func TestSignRefuses(t *testing.T) {
	key, cert := keystest.Pair(t, "owner")
	_, other := keystest.Pair(t, "other")
	if _, err := Sign(key, other, Allowed(), KeyAttributes, signTime, nil); err == nil {
		t.Error("signed with another's certificate")
	}
	for _, year := range []int{1899, 10000} {
		if _, err := Sign(key, cert, Allowed(), KeyAttributes, time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC), nil); err == nil {
			t.Errorf("signed in the year %d", year)
		}
	}
}

func TestParseUpdateDamaged(t *testing.T) {
	key, cert := keystest.Pair(t, "owner")
	good, err := Sign(key, cert, Allowed(), KeyAttributes, signTime, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(b []byte){
		"month":               func(b []byte) { b[2] = 13 },
		"day":                 func(b []byte) { b[3] = 31 },
		"year":                func(b []byte) { b[0], b[1] = 1, 0 },
		"nanoseconds":         func(b []byte) { b[8] = 1 },
		"zone":                func(b []byte) { b[12] = 1 },
		"large":               func(b []byte) { b[19] = 0xff },
		"small":               func(b []byte) { copy(b[16:], []byte{23, 0, 0, 0}) },
		"revision":            func(b []byte) { b[20]++ },
		"kind":                func(b []byte) { b[22]++ },
		"kind of certificate": func(b []byte) { b[24]++ },
	} {
		b := bytes.Clone(good)
		change(b)
		if u, err := ParseUpdate(b); err == nil {
			t.Errorf("%s: read as %+v", name, u)
		}
	}
	for n := range len(good) {
		if _, err := ParseUpdate(good[:n]); err == nil {
			t.Errorf("the first %d bytes were read", n)
		}
	}
	if _, err := ParseUpdate(append(good, make([]byte, maxUpdate)...)); err == nil {
		t.Error("an update beyond the limit was read")
	}
}

// FuzzUpdate reads and checks anything: nothing but the one good update is
// accepted as signed.
func FuzzUpdate(f *testing.F) {
	key, cert := keystest.Pair(f, "owner")
	good, err := Sign(key, cert, Allowed(), KeyAttributes, signTime, []byte("data"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-4])
	f.Add(good[:40])
	f.Add(append(bytes.Clone(good), good...))
	bound := fuzztest.Bound{Base: 1 << 20, PerByte: 400}
	f.Fuzz(func(t *testing.T, b []byte) {
		bound.Check(t, len(b), func() {
			u, err := ParseUpdate(b)
			if err != nil {
				return
			}
			if _, err := u.Verify(Allowed(), KeyAttributes, []*x509.Certificate{cert}); err == nil && (string(u.Data) != "data" || !u.Time.Equal(signTime.Truncate(time.Second))) {
				t.Errorf("%q of %v is signed", u.Data, u.Time)
			}
		})
	})
}
