package varstore

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/efi/variable"
	"github.com/mkosi-go/mkosi/internal/fuzztest"
	"github.com/mkosi-go/mkosi/internal/keys/keystest"
)

const (
	testHeader = volumeHeaderMin
	testStart  = testHeader + storeHeader
	testEnd    = 8192 // of the store; a journal follows
	testSize   = testEnd + 1024
)

// blank is a file without variables.
func blank() []byte {
	b := bytes.Repeat([]byte{erased}, testSize)
	clear(b[:testStart])
	le := binary.LittleEndian
	copy(b[volumeTypeAt:], variable.AppendGUID(nil, volumeType()))
	le.PutUint64(b[volumeLengthAt:], testSize)
	copy(b[volumeMarkAt:], volumeMark)
	le.PutUint16(b[volumeHeaderAt:], testHeader)
	b[volumeRevisionAt] = volumeRevision
	seal(b)
	copy(b[testHeader:], variable.AppendGUID(nil, storeType()))
	le.PutUint32(b[testHeader+storeLengthAt:], testEnd-testHeader)
	b[testHeader+storeFormatAt], b[testHeader+storeStateAt] = storeFormatted, storeHealthy
	copy(b[testEnd:], "journal")
	return b
}

// seal makes the checksum of the volume's header right.
func seal(b []byte) {
	le := binary.LittleEndian
	le.PutUint16(b[50:], 0)
	var sum uint16
	for i := 0; i < testHeader; i += 2 {
		sum += le.Uint16(b[i:])
	}
	le.PutUint16(b[50:], -sum)
}

// record is a whole record with a state.
func record(t testing.TB, state byte, name, data string) []byte {
	t.Helper()
	b, err := appendRecord(nil, id(name), Variable{Attributes: plain, Data: []byte(data)})
	if err != nil {
		t.Fatal(err)
	}
	b[recordStateAt] = state
	return append(b, bytes.Repeat([]byte{erased}, aligned(len(b))-len(b))...)
}

func id(name string) variable.ID {
	return variable.ID{Name: name, Vendor: uuid.MustParse("00112233-4455-6677-8899-aabbccddeeff")}
}

// filled is a file with these records.
func filled(records ...[]byte) []byte {
	b := blank()
	copy(b[testStart:], bytes.Join(records, nil))
	return b
}

func parse(t testing.TB, b []byte) *Store {
	t.Helper()
	s, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func content(t testing.TB, s *Store) []byte {
	t.Helper()
	b, err := s.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSetGetDelete(t *testing.T) {
	s := parse(t, blank())
	if got := content(t, s); !bytes.Equal(got, blank()) {
		t.Error("a file without variables was changed")
	}
	a := Variable{Attributes: plain, Data: []byte("odd")}
	z := Variable{Attributes: variable.KeyAttributes, Time: time.Date(2026, 11, 29, 1, 2, 3, 0, time.UTC), Data: []byte("more")}
	for name, v := range map[string]Variable{"z": z, "gone": a, "ä": a, "𝒂": z, "a": a} {
		if err := s.Set(id(name), v); err != nil {
			t.Fatal(err)
		}
	}
	s.Delete(id("gone"))
	s.Delete(id("never there"))
	b := content(t, s)
	if len(b) != testSize || string(b[testEnd:][:7]) != "journal" || !bytes.Equal(b[:testStart], blank()[:testStart]) {
		t.Error("what is not of the store was changed")
	}
	again := parse(t, b)
	var names []string
	for _, id := range again.IDs() {
		names = append(names, id.Name)
	}
	if want := []string{"a", "z", "ä", "𝒂"}; !slices.Equal(names, want) {
		t.Errorf("the variables are %q, not %q", names, want)
	}
	for name, want := range map[string]Variable{"a": a, "z": z, "𝒂": z} {
		got, ok := again.Get(id(name))
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Variable{})); !ok || diff != "" {
			t.Errorf("%s: %v %s", name, ok, diff)
		}
	}
	if _, ok := again.Get(id("gone")); ok {
		t.Error("a deleted variable is there")
	}
	if !bytes.Equal(content(t, again), b) {
		t.Error("written once more, it is another file")
	}
}

// TestLayout compares a record with one that OVMF wrote.
func TestLayout(t *testing.T) {
	s := parse(t, blank())
	if err := s.Set(customMode(), Variable{Attributes: plain, Data: []byte{0}}); err != nil {
		t.Fatal(err)
	}
	want := "\xaa\x55\x3f\x00\x03\x00\x00\x00" + string(make([]byte, 28)) + "\x16\x00\x00\x00\x01\x00\x00\x00" +
		"\x0c\xec\x76\xc0\x28\x70\x99\x43\xa0\x72\x71\xee\x5c\x44\x8b\x9f" + "C\x00u\x00s\x00t\x00o\x00m\x00M\x00o\x00d\x00e\x00\x00\x00" + "\x00" + "\xff\xff\xff"
	if got := content(t, s)[testStart:][:len(want)]; string(got) != want {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// TestStates reads what a firmware leaves behind while it replaces variables.
func TestStates(t *testing.T) {
	const deleted, half, started = 0x3c, 0x7f, 0xff
	s := parse(t, filled(
		record(t, deleted, "deleted", "1"),
		record(t, half, "half", "2"),
		record(t, started, "started", "3"),
		record(t, stateReplacing, "replaced", "old"),
		record(t, stateAdded, "replaced", "new"),
		record(t, stateReplacing, "interrupted", "old"),
		record(t, stateAdded, "good", "4"),
	))
	got := map[string]string{}
	for _, id := range s.IDs() {
		v, _ := s.Get(id)
		got[id.Name] = string(v.Data)
	}
	if diff := cmp.Diff(map[string]string{"replaced": "new", "interrupted": "old", "good": "4"}, got); diff != "" {
		t.Error(diff)
	}
}

// What is not understood of a variable stays.
func TestKeepsCountAndKey(t *testing.T) {
	r := record(t, stateAdded, "counted", "x")
	copy(r[recordCountAt:], "12345678")
	copy(r[recordKeyAt:], "1234")
	b := filled(r)
	if !bytes.Equal(content(t, parse(t, b)), b) {
		t.Error("the file was changed")
	}
}

func TestSetRefuses(t *testing.T) {
	s := parse(t, blank())
	good := Variable{Attributes: plain, Data: []byte("x")}
	for _, name := range []string{"", "a\x00b", "\xff", string(make([]byte, maxName+1))} {
		if err := s.Set(id(name), good); err == nil {
			t.Errorf("the name %q was accepted", name)
		}
	}
	if err := s.Set(id("empty"), Variable{}); err == nil {
		t.Error("an empty variable was accepted")
	}
	if err := s.Set(id("old"), Variable{Time: time.Date(1800, 1, 1, 0, 0, 0, 0, time.UTC), Data: []byte("x")}); err == nil {
		t.Error("a variable of 1800 was accepted")
	}
	if err := s.Set(id("large"), Variable{Data: make([]byte, testEnd)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bytes(); err == nil {
		t.Error("a variable larger than the store was written")
	}
	// To the last byte, it fits.
	room := testEnd - testStart - recordHeader - 2*len("large\x00")
	if err := s.Set(id("large"), Variable{Data: make([]byte, room)}); err != nil {
		t.Fatal(err)
	}
	if v, ok := parse(t, content(t, s)).Get(id("large")); !ok || len(v.Data) != room {
		t.Error("a variable that fills the store was lost")
	}
}

func TestParseDamaged(t *testing.T) {
	le := binary.LittleEndian
	for name, change := range map[string]func(b []byte){
		"mark":              func(b []byte) { b[volumeMarkAt] = 0 },
		"type":              func(b []byte) { b[volumeTypeAt]++; seal(b) },
		"length":            func(b []byte) { le.PutUint64(b[volumeLengthAt:], testSize+1); seal(b) },
		"huge length":       func(b []byte) { le.PutUint64(b[volumeLengthAt:], 1<<63); seal(b) },
		"short length":      func(b []byte) { le.PutUint64(b[volumeLengthAt:], testStart-1); seal(b) },
		"odd header":        func(b []byte) { le.PutUint16(b[volumeHeaderAt:], testHeader+2); seal(b) },
		"large header":      func(b []byte) { le.PutUint16(b[volumeHeaderAt:], 0xfffe); seal(b) },
		"revision":          func(b []byte) { b[volumeRevisionAt]++; seal(b) },
		"checksum":          func(b []byte) { b[0]++ },
		"store type":        func(b []byte) { b[testHeader]++ },
		"store length":      func(b []byte) { le.PutUint32(b[testHeader+storeLengthAt:], testSize) },
		"no store length":   func(b []byte) { le.PutUint32(b[testHeader+storeLengthAt:], 0) },
		"store format":      func(b []byte) { b[testHeader+storeFormatAt] = erased },
		"store state":       func(b []byte) { b[testHeader+storeStateAt] = erased },
		"record mark":       func(b []byte) { b[testStart] = 0 },
		"record name size":  func(b []byte) { le.PutUint32(b[testStart+recordNameSizeAt:], 0xffffffff) },
		"record data size":  func(b []byte) { le.PutUint32(b[testStart+recordDataSizeAt:], testEnd) },
		"empty name":        func(b []byte) { clear(b[testStart+recordHeader:][:2]) },
		"no name":           func(b []byte) { le.PutUint32(b[testStart+recordNameSizeAt:], 0) },
		"odd name":          func(b []byte) { le.PutUint32(b[testStart+recordNameSizeAt:], 3) },
		"name without end":  func(b []byte) { b[testStart+recordHeader+2] = 'x' },
		"half a character":  func(b []byte) { b[testStart+recordHeader+1] = 0xd8 },
		"no content":        func(b []byte) { le.PutUint32(b[testStart+recordDataSizeAt:], 0) },
		"time":              func(b []byte) { b[testStart+recordTimeAt] = 1 },
		"twice":             func(b []byte) { copy(b[testStart+aligned(recordHeader+4+1):], record(t, stateAdded, "x", "2")) },
		"twice interrupted": func(b []byte) { copy(b[testStart:], bytes.Repeat(record(t, stateReplacing, "x", "2"), 2)) },
	} {
		b := filled(record(t, stateAdded, "x", "1"))
		change(b)
		if s, err := Parse(b); err == nil {
			t.Errorf("%s: read as %+v", name, s.variables)
		}
	}
	b := blank()
	for n := range len(b) {
		if _, err := Parse(b[:n]); err == nil {
			t.Errorf("the first %d bytes were read", n)
		}
	}
	if _, err := Parse(make([]byte, maxFile+1)); err == nil {
		t.Error("a file beyond the limit was read")
	}
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "VARS.fd")
	if _, err := Open(path); !os.IsNotExist(err) {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(path, filled(record(t, stateAdded, "x", "1")), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := s.Get(id("x")); !ok || string(v.Data) != "1" {
		t.Errorf("%v %+v", ok, v)
	}
}

func TestEnrol(t *testing.T) {
	_, cert := keystest.Pair(t, "owner")
	s := parse(t, filled(record(t, stateAdded, "other", "1")))
	if err := s.Enrol(cert); err != nil {
		t.Fatal(err)
	}
	s = parse(t, content(t, s))
	if len(s.IDs()) != 7 {
		t.Errorf("the variables are %v", s.IDs())
	}
	for _, id := range []variable.ID{variable.PlatformKey(), variable.ExchangeKeys(), variable.Allowed()} {
		v, _ := s.Get(id)
		lists, err := variable.ParseLists(v.Data)
		certs := variable.Certificates(lists)
		if err != nil || len(certs) != 1 || !certs[0].Equal(cert) || v.Attributes != variable.KeyAttributes || !v.Time.Equal(cert.NotBefore) {
			t.Errorf("%s is %+v with %v, %v", id.Name, v, certs, err)
		}
	}
	if v, ok := s.Get(variable.Forbidden()); !ok || v.Attributes != variable.KeyAttributes || v.Time.IsZero() {
		t.Errorf("dbx is %+v", v)
	}
	on, _ := s.Get(secureBootEnable())
	custom, _ := s.Get(customMode())
	if !bytes.Equal(on.Data, []byte{1}) || !bytes.Equal(custom.Data, []byte{0}) || on.Attributes != plain || custom.Attributes != plain {
		t.Errorf("SecureBootEnable is %+v, CustomMode %+v", on, custom)
	}
}

func TestAddMachineOwnerKey(t *testing.T) {
	_, first := keystest.Pair(t, "first")
	_, second := keystest.Pair(t, "second")
	s := parse(t, blank())
	for _, cert := range []*x509.Certificate{first, second} {
		if err := s.AddMachineOwnerKey(cert); err != nil {
			t.Fatal(err)
		}
	}
	v, _ := parse(t, content(t, s)).Get(machineOwnerKeys())
	lists, err := variable.ParseLists(v.Data)
	certs := variable.Certificates(lists)
	if err != nil || len(certs) != 2 || !certs[0].Equal(first) || !certs[1].Equal(second) || v.Attributes != plain {
		t.Errorf("MokList is %+v with %v, %v", v, certs, err)
	}
}

// FuzzParse reads anything in place of variables, and anything at all: what is
// accepted can be written, and is read the same again.
func FuzzParse(f *testing.F) {
	f.Add(true, []byte{})
	f.Add(true, record(f, stateAdded, "x", "1"))
	f.Add(true, append(record(f, stateReplacing, "x", "old"), record(f, stateAdded, "x", "new")...))
	f.Add(true, record(f, stateAdded, "a longer name", "and a longer content")[:recordHeader])
	f.Add(false, filled(record(f, stateAdded, "x", "1")))
	f.Add(false, blank()[:testStart])
	bound := fuzztest.Bound{Base: 1 << 20, PerByte: 100}
	f.Fuzz(func(t *testing.T, records bool, b []byte) {
		if records {
			b = filled(b[:min(len(b), testEnd-testStart)])
		}
		bound.Check(t, len(b), func() {
			s, err := Parse(b)
			if err != nil {
				return
			}
			written, err := s.Bytes()
			if err != nil || len(written) != len(b) {
				t.Fatalf("read, but cannot be written: %d bytes, %v", len(written), err)
			}
			again, err := Parse(written)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(s.variables, again.variables, cmp.AllowUnexported(Variable{})); diff != "" {
				t.Error(diff)
			}
		})
	})
}
