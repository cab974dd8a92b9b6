package authenticode

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/efi/pe"
	"github.com/mkosi-go/mkosi/internal/efi/pe/petest"
	"github.com/mkosi-go/mkosi/internal/fuzztest"
	"github.com/mkosi-go/mkosi/internal/keys"
	"github.com/mkosi-go/mkosi/internal/keys/keystest"
)

var le = binary.LittleEndian

const (
	checksumAt  = petest.Optional + 64
	certEntryAt = petest.Optional + 144
)

// memory is a file.
type memory []byte

func (m *memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(*m).ReadAt(p, off) }

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if end := off + int64(len(p)); end > int64(len(*m)) {
		*m = append(*m, make([]byte, end-int64(len(*m)))...)
	}
	return copy((*m)[off:], p), nil
}

// sign signs a copy.
func (m memory) sign(t testing.TB, p pair) memory {
	t.Helper()
	b := bytes.Clone(m)
	signed := (*memory)(&b)
	size, err := Sign(signed, int64(len(m)), p.key, p.cert)
	if err != nil {
		t.Fatal(err)
	}
	if size != int64(len(*signed)) || size%8 != 0 {
		t.Errorf("the size is %d, not %d", len(*signed), size)
	}
	return *signed
}

func (m memory) verify(trusted ...*x509.Certificate) (*x509.Certificate, error) {
	return Verify(&m, int64(len(m)), trusted)
}

func (m memory) digest(t testing.TB) []byte {
	t.Helper()
	digest, err := Digest(&m, int64(len(m)), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// put is a copy with a number changed.
func (m memory) put(at int, n uint32) memory {
	m = bytes.Clone(m)
	le.PutUint32(m[at:], n)
	return m
}

type pair struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func newPair(t testing.TB, name string) pair {
	key, cert := keystest.Pair(t, name)
	return pair{key, cert}
}

func program() memory {
	return petest.Program(petest.Section{Name: ".text", Text: strings.Repeat("code", 200)}, petest.Section{Name: ".empty"}, petest.Section{Name: ".data", Text: "data"})
}

func TestSign(t *testing.T) {
	one, two := newPair(t, "one"), newPair(t, "two")
	m := program()
	if _, err := m.verify(one.cert); !errors.Is(err, ErrUnsigned) {
		t.Errorf("before it was signed: %v", err)
	}
	once := m.sign(t, one)
	if got, err := once.verify(two.cert, one.cert); err != nil || !got.Equal(one.cert) {
		t.Errorf("signed by %v, %v", got, err)
	}
	var unknown *keys.UnknownSignerError
	if _, err := once.verify(two.cert); !errors.As(err, &unknown) || !unknown.Signer.Equal(one.cert) {
		t.Errorf("with another certificate: %v", err)
	}
	if again := m.sign(t, one); !bytes.Equal(once, again) {
		t.Error("the second time, it is another file")
	}
	twice := once.sign(t, two)
	if !bytes.Equal(twice[len(m):len(once)], once[len(m):]) {
		t.Error("the first signature was changed by the second")
	}
	for _, p := range []pair{one, two} {
		if got, err := twice.verify(p.cert); err != nil || !got.Equal(p.cert) {
			t.Errorf("signed twice: %v, %v", got, err)
		}
	}
	list, err := List(&twice, int64(len(twice)))
	if err != nil || len(list) != 2 {
		t.Errorf("%d signatures, %v", len(list), err)
	}
	for _, m := range []memory{once, twice} {
		if got, want := le.Uint32(m[checksumAt:]), slowChecksum(m); got != want {
			t.Errorf("the checksum is %#x, not %#x", got, want)
		}
	}
	if !bytes.Equal(m.digest(t), twice.digest(t)) {
		t.Error("the digest depends on the signatures")
	}
}

// slowChecksum takes the checksum word by word.
func slowChecksum(m memory) uint32 {
	m = bytes.Clone(m)
	le.PutUint32(m[checksumAt:], 0)
	var sum uint32
	for i := 0; i < len(m); i += 2 {
		word := uint32(m[i])
		if i+1 < len(m) {
			word |= uint32(m[i+1]) << 8
		}
		sum += word
		sum = sum&0xffff + sum>>16
	}
	return sum + uint32(len(m))
}

func TestChecksumOddPieces(t *testing.T) {
	m := program()
	m[checksumAt] = 0
	m = append(m, 0xff)
	for _, piece := range []int{1, 3, 5, 4096} {
		var c checksum
		for rest := m; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
			c.Write(rest[:min(piece, len(rest))])
		}
		if got, want := c.value(int64(len(m))), slowChecksum(m); got != want {
			t.Errorf("in pieces of %d bytes, the checksum is %#x, not %#x", piece, got, want)
		}
	}
}

// TestDigest takes the digest in another way, and in pieces of any size.
func TestDigest(t *testing.T) {
	plain := append(program(), "some data after the last section"...)
	covered := bytes.Join([][]byte{plain[:checksumAt], plain[checksumAt+4 : certEntryAt], plain[certEntryAt+8:]}, nil)
	covered = append(covered, make([]byte, -len(plain)&7)...)
	want := sha256.Sum256(covered)
	if got := plain.digest(t); !bytes.Equal(got, want[:]) {
		t.Errorf("the digest is %x, not %x", got, want)
	}
	signed := plain.sign(t, newPair(t, "one"))
	for _, m := range []memory{plain, signed} {
		f, err := pe.Parse(&m, int64(len(m)))
		if err != nil {
			t.Fatal(err)
		}
		for _, piece := range []int{1, 7, 8192} {
			d, err := NewDigester(f, crypto.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			for rest := m; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
				d.Write(rest[:min(piece, len(rest))])
			}
			if got, err := d.Sum(); err != nil || !bytes.Equal(got, want[:]) {
				t.Errorf("in pieces of %d bytes, the digest is %x, %v", piece, got, err)
			}
		}
	}
	f, err := pe.Parse(&plain, int64(len(plain)))
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDigester(f, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	d.Write(plain[:len(plain)-1])
	if _, err := d.Sum(); err == nil {
		t.Error("there is a digest of a program that was cut off")
	}
	if _, err := NewDigester(f, 0); err == nil {
		t.Error("there is a digest of no type")
	}
}

// spread is a copy with zeros in front of the last section.
func (m memory) spread(n int) memory {
	at := len(m) - petest.FileAlignment
	b := append(bytes.Clone(m[:at]), make([]byte, n)...)
	return memory(append(b, m[at:]...)).put(petest.Table+2*40+20, uint32(at+n))
}

// TestDigestGaps has what lies between sections not count, and as much of the end
// of the sections twice.
func TestDigestGaps(t *testing.T) {
	const gap = 3 * petest.FileAlignment
	for _, tail := range []string{"", "some data after the last section, a multiple of 8 bytes....."} {
		m := append(program().spread(gap), tail...)
		end := len(m) - len(tail)
		last := end - petest.FileAlignment
		covered := bytes.Join([][]byte{m[:checksumAt], m[checksumAt+4 : certEntryAt], m[certEntryAt+8 : last-gap], m[last:end], m[end-gap:]}, nil)
		covered = append(covered, make([]byte, -len(m)&7)...)
		want := sha256.Sum256(covered)
		signed := m.sign(t, newPair(t, "one"))
		if !bytes.Equal(m.digest(t), want[:]) || !bytes.Equal(signed.digest(t), want[:]) {
			t.Errorf("the digests are %x and %x, not %x", m.digest(t), signed.digest(t), want)
		}
		f, err := pe.Parse(&m, int64(len(m)))
		if err != nil {
			t.Fatal(err)
		}
		d, err := NewDigester(f, crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		for i := range m {
			d.Write(m[i : i+1])
		}
		if got, err := d.Sum(); err != nil || !bytes.Equal(got, want[:]) {
			t.Errorf("byte by byte, the digest is %x, %v", got, err)
		}
	}
}

// TestSignUneven signs files whose size is no multiple of 8.
func TestSignUneven(t *testing.T) {
	p := newPair(t, "one")
	for n := range 9 {
		m := append(program(), bytes.Repeat([]byte{1}, n)...)
		signed := m.sign(t, p)
		if _, err := signed.verify(p.cert); err != nil {
			t.Errorf("%d bytes after the sections: %v", n, err)
		}
		if !bytes.Equal(m.digest(t), signed.digest(t)) {
			t.Errorf("%d bytes after the sections: the digest was changed", n)
		}
	}
}

// TestSignDigest compares what is signed with what systemd-sbsign and sbsign
// sign, byte for byte.
func TestSignDigest(t *testing.T) {
	p := newPair(t, "one")
	der, err := SignDigest(p.key, p.cert, bytes.Repeat([]byte{0xab}, sha256.Size))
	if err != nil {
		t.Fatal(err)
	}
	content := "307806" + "0a2b060104018237020104" + "a06a3068" +
		"3033060a2b06010401823702010f30250301" + "00a020a21e801c" + hex.EncodeToString([]byte("\x00<\x00<\x00<\x00O\x00b\x00s\x00o\x00l\x00e\x00t\x00e\x00>\x00>\x00>")) +
		"3031300d060960864801650304020105000420" + strings.Repeat("ab", sha256.Size)
	if !strings.Contains(hex.EncodeToString(der), content) {
		t.Errorf("%x does not have %s", der, content)
	}
	// The attributes are in the order of DER.
	attributes := "a0" + "5e" + "3010060a2b06010401823702010c31023000" + "3019" + "06092a864886f70d010903310c" + "060a2b060104018237020104" + "302f" + "06092a864886f70d01090431220420"
	if !strings.Contains(hex.EncodeToString(der), attributes) {
		t.Errorf("%x does not have %s", der, attributes)
	}
}

func TestVerifyDamaged(t *testing.T) {
	p := newPair(t, "one")
	m := program()
	signed := m.sign(t, p)
	for name, tt := range map[string]struct {
		at   int
		want string
	}{
		"header":                  {70, "the program was changed"},
		"first section":           {petest.Headers, "the program was changed"},
		"padding of a section":    {petest.Headers + 1000, "the program was changed"},
		"last byte":               {len(m) - 1, "the program was changed"},
		"length of the signature": {len(m) + 2, "damaged"},
		"type of the signature":   {len(m) + 6, "not supported"},
		"start of the signature":  {len(m) + 8, "not a PKCS#7 signature"},
		"end of the signature":    {len(signed) - 20, "not valid"},
	} {
		b := bytes.Clone(signed)
		b[tt.at] ^= 1
		if _, err := memory(b).verify(p.cert); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Nobody looks at the checksum.
	b := bytes.Clone(signed)
	b[checksumAt] ^= 1
	if _, err := memory(b).verify(p.cert); err != nil {
		t.Errorf("checksum: %v", err)
	}
	if _, err := memory(append(bytes.Clone(signed), make([]byte, 8)...)).verify(p.cert); err == nil || !strings.Contains(err.Error(), "no signature covers them") {
		t.Errorf("bytes after the signatures: %v", err)
	}
}

// TestSignRefuses tries files of which no signature would hold.
func TestSignRefuses(t *testing.T) {
	p, other := newPair(t, "one"), newPair(t, "other")
	m := program()
	signed := m.sign(t, p)
	for name, tt := range map[string]struct {
		m    memory
		want string
	}{
		"not a program":         {memory("#!/bin/sh"), "not a program"},
		"large gap":             {m.spread(maxGaps + petest.FileAlignment), "belong to no section"},
		"bytes after the table": {append(bytes.Clone(signed), 0), "no signature covers them"},
		"no directory":          {m.put(petest.Optional+108, 4), "no place for signatures"},
		"uneven table":          {signed.put(certEntryAt, uint32(len(m)+1)).put(certEntryAt+4, uint32(len(signed)-len(m)-1)), "no multiple"},
		"damaged table":         {signed.put(len(m), 1<<30), "damaged"},
	} {
		b := bytes.Clone(tt.m)
		if _, err := Sign((*memory)(&b), int64(len(b)), p.key, p.cert); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(b, tt.m) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	b := bytes.Clone(m)
	if _, err := Sign((*memory)(&b), int64(len(b)), p.key, other.cert); err == nil {
		t.Error("signed with another's certificate")
	}
	if _, err := Sign((*memory)(&b), int64(len(b)+1), p.key, p.cert); err == nil {
		t.Error("signed a file that is shorter than it should be")
	}
}

func TestRemove(t *testing.T) {
	p := newPair(t, "one")
	m := program()
	m = m.put(checksumAt, slowChecksum(m))
	twice := m.sign(t, p).sign(t, p)
	size, err := Remove(&twice, int64(len(twice)))
	if err != nil || !bytes.Equal(twice[:size], m) {
		t.Errorf("without its signatures, it is another file of %d bytes: %v", size, err)
	}
	if size, err := Remove(&m, int64(len(m))); err != nil || size != int64(len(m)) {
		t.Errorf("a file without signatures was cut to %d: %v", size, err)
	}
	signed := m.sign(t, p)
	longer := append(bytes.Clone(signed), 0)
	if _, err := Remove((*memory)(&longer), int64(len(longer))); err == nil {
		t.Error("what follows the signatures was cut off")
	}
	if _, err := Remove(&memory{}, 0); err == nil {
		t.Error("signatures were removed from an empty file")
	}
}

// brokenFile fails when it is written to.
type brokenFile struct{ io.ReaderAt }

var errBroken = errors.New("disk is full")

func (brokenFile) WriteAt([]byte, int64) (int, error) { return 0, errBroken }

func TestSignFails(t *testing.T) {
	p := newPair(t, "one")
	m := program()
	if _, err := Sign(brokenFile{&m}, int64(len(m)), p.key, p.cert); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

// FuzzSign signs, verifies and strips anything: nothing that was not signed is
// accepted, and what can be signed is accepted after that.
func FuzzSign(f *testing.F) {
	p := newPair(f, "one")
	m := program()
	signed := m.sign(f, p)
	f.Add([]byte(m))
	f.Add([]byte(signed))
	f.Add([]byte(signed[:len(signed)-300]))
	f.Add([]byte(m[:petest.Headers]))
	f.Add([]byte(signed.put(len(m), 1<<30)))
	want := m.digest(f)
	bound := fuzztest.Bound{Base: 8 << 20, PerByte: 400}
	f.Fuzz(func(t *testing.T, b []byte) {
		bound.Check(t, len(b), func() {
			m := memory(bytes.Clone(b))
			if _, err := m.verify(p.cert); err == nil && !bytes.Equal(m.digest(t), want) {
				t.Error("a program that was not signed is accepted")
			}
			size, err := Sign(&m, int64(len(m)), p.key, p.cert)
			if err != nil {
				return
			}
			list, err := List(&m, size)
			if err != nil || len(list) == 0 {
				t.Fatalf("%d signatures, %v", len(list), err)
			}
			if _, err := m.verify(p.cert); err != nil && len(list) < maxSignatures {
				t.Errorf("signed, and not accepted: %v", err)
			}
			if size, err = Remove(&m, size); err != nil {
				t.Fatal(err)
			}
			m = m[:size]
			if _, err := m.verify(p.cert); !errors.Is(err, ErrUnsigned) {
				t.Errorf("without its signatures: %v", err)
			}
		})
	})
}
