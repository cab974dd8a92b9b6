package luks

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"golang.org/x/crypto/xts"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

// memory is a disk; what was not written is zero.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(m)) {
		return 0, errors.New("disk full")
	}
	return copy(m[off:], p), nil
}

func (m memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m).ReadAt(p, off) }

// noise is the same pseudo-random bytes every time.
func noise() io.Reader { return rand.NewChaCha8([32]byte{1}) }

func options() Options {
	return Options{
		UUID: uuid.MustParse("12177e72-c804-4a33-b666-64bd31055768"), Label: "luks-secret", Subsystem: "tests",
		Passphrase: []byte("pass\nword\n"), KDF: KDFMinimal, AllowDiscards: true, Rand: noise(),
	}
}

func newVolume(t testing.TB, o Options) *Volume {
	t.Helper()
	v, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// headerOf is the header of a volume with its key slot, without what follows.
func headerOf(t testing.TB, v *Volume) memory {
	t.Helper()
	b := make(memory, slotsOffset+slotSize)
	if err := v.WriteHeader(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHeader(t *testing.T) {
	v := newVolume(t, options())
	b := headerOf(t, v)
	// What cryptsetup opens, as an integration test shows.
	const want = "c5d3eb1f3c99cf91a3cbe8e0dec0ee00523f2587f91c48b46bfec441e5d49199"
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != want {
		t.Errorf("the header changed: %x", sum)
	}
	info, err := ReadInfo(b)
	if err != nil {
		t.Fatal(err)
	}
	wantInfo := &Info{
		UUID: options().UUID, Label: "luks-secret", Subsystem: "tests",
		Keyslots: []KeyslotInfo{{Type: "luks2", KDF: "pbkdf2", Hash: "sha512", Iterations: 1000, Cipher: "aes-xts-plain64", KeySize: 512}},
		Segments: []SegmentInfo{{Type: "crypt", Offset: 16 << 20, Size: -1, Cipher: "aes-xts-plain64", SectorSize: 4096}},
		Flags:    []string{"allow-discards"},
	}
	if diff := cmp.Diff(wantInfo, info); diff != "" {
		t.Error(diff)
	}
}

func TestOpen(t *testing.T) {
	for _, passphrase := range []string{"", "secret", "\x00\xff\n"} {
		o := options()
		o.Passphrase = []byte(passphrase)
		v := newVolume(t, o)
		b := headerOf(t, v)
		opened, err := Open(t.Context(), b, []byte(passphrase))
		if err != nil {
			t.Errorf("%q: %v", passphrase, err)
			continue
		}
		if !bytes.Equal(opened.key, v.key) || opened.UUID() != o.UUID || opened.SectorSize() != 4096 || opened.DataOffset() != HeaderSize {
			t.Errorf("%q: another volume was opened", passphrase)
		}
		if opened.WriteHeader(b) == nil {
			t.Error("the header of a volume was written that exists")
		}
		if _, err := Open(t.Context(), b, []byte(passphrase+"x")); !errors.Is(err, ErrPassphrase) {
			t.Errorf("with a wrong passphrase: %v", err)
		}
	}
}

// A key slot with each KDF, at less cost than a real one, opens with its
// passphrase and no other.
func TestKeyslot(t *testing.T) {
	key, salt := bytes.Repeat([]byte{7}, keySize), make([]byte, slotSaltSize)
	for _, kind := range []KDF{"", KDFArgon2id, KDFPBKDF2, KDFMinimal} {
		var k keyslot
		var err error
		if k.KDF, k.AF.Hash, err = newKDF(kind, salt); err != nil {
			t.Fatal(err)
		}
		if k.KDF.Type == "argon2id" {
			if k.KDF.Memory != 64<<10 || k.KDF.Time != 12 || k.KDF.CPUs != 4 {
				t.Errorf("%q is %+v", kind, k.KDF)
			}
			k.KDF.Memory, k.KDF.Time = 64, 1
		} else {
			if want := map[KDF]int{KDFPBKDF2: 1000000, KDFMinimal: 1000}[kind]; k.KDF.Iterations != want {
				t.Errorf("%q is %+v", kind, k.KDF)
			}
			k.KDF.Iterations = 10
		}
		k.KeySize, k.AF.Stripes, k.Area.KeySize, k.Area.Size = keySize, stripes, keySize, slotSize
		area, err := k.seal(key, []byte("secret"), noise())
		if err != nil {
			t.Fatal(err)
		}
		for passphrase, want := range map[string]bool{"secret": true, "Secret": false} {
			got, err := k.open(t.Context(), bytes.Clone(area), []byte(passphrase))
			if err != nil || bytes.Equal(got, key) != want {
				t.Errorf("%q with %q: %x, %v", kind, passphrase, got, err)
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"sector": func(o *Options) { o.SectorSize = 8192 },
		"label":  func(o *Options) { o.Label = strings.Repeat("x", 48) },
		"zero":   func(o *Options) { o.Subsystem = "a\x00b" },
		"kdf":    func(o *Options) { o.KDF = "scrypt" },
		"random": func(o *Options) { o.Rand = strings.NewReader("not much") },
		"salt":   func(o *Options) { o.Rand = io.LimitReader(noise(), 100) },
		"split":  func(o *Options) { o.Rand = io.LimitReader(noise(), 200000) },
		"copies": func(o *Options) { o.Rand = io.LimitReader(noise(), 64+64+64*3999+64) },
	} {
		o := options()
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s was accepted", name)
		} else if strings.Contains(err.Error(), "pass") {
			t.Errorf("%s: the error may have the passphrase: %v", name, err)
		}
	}
}

// By default two volumes have nothing in common.
func TestRandom(t *testing.T) {
	o := options()
	o.Rand = nil
	if a, b := newVolume(t, o), newVolume(t, o); bytes.Equal(a.key, b.key) {
		t.Error("two volumes have the same key")
	}
}

func TestVolumeKeyHash(t *testing.T) {
	// The key and hash of a volume that systemd-repart 262 made.
	key, _ := hex.DecodeString("004d6c7397d17e38ba42156ade114cbb23801ff1687a75386b72b28c56c332c6b324cb299258c308ec0dbe51caae7df48583185a2bca1be0d48005f3cbba5a4a")
	v := &Volume{id: options().UUID, key: key}
	if got := v.VolumeKeyHash("foo"); got != "e82c069ddfa29a6322585c8e91499bd57d4df1ae0dbd56ba9b409f3cfa1fddfc" {
		t.Errorf("hash %s", got)
	}
}

func TestEncrypt(t *testing.T) {
	ctx := t.Context()
	plain := make(memory, 2*chunkSize+3*4096)
	if _, err := io.ReadFull(noise(), plain); err != nil {
		t.Fatal(err)
	}
	size := int64(len(plain))
	for _, sector := range []int{512, 1024, 2048, 4096} {
		o := options()
		o.SectorSize = sector
		v := newVolume(t, o)
		got := make(memory, size)
		if err := v.Encrypt(ctx, got, plain, size); err != nil {
			t.Fatal(err)
		}
		other, err := xts.NewCipher(aes.NewCipher, v.key)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, sector)
		for off := 0; off < len(plain); off += sector {
			other.Encrypt(want, plain[off:off+sector], uint64(off/512))
			if !bytes.Equal(got[off:off+sector], want) {
				t.Fatalf("sectors of %d bytes: that at %d differs", sector, off)
			}
		}
		// In place, and back.
		inPlace := memory(bytes.Clone(plain))
		if err := v.Encrypt(ctx, inPlace, inPlace, size); err != nil || !bytes.Equal(inPlace, got) {
			t.Errorf("in place: %v", err)
		}
		if err := v.Decrypt(ctx, inPlace, inPlace, size); err != nil || !bytes.Equal(inPlace, plain) {
			t.Errorf("decrypted: %v", err)
		}
	}
}

func TestEncryptErrors(t *testing.T) {
	v, ctx := newVolume(t, options()), t.Context()
	for _, size := range []int64{-4096, 4095} {
		if err := v.Encrypt(ctx, make(memory, 8192), make(memory, 8192), size); err == nil {
			t.Errorf("%d bytes were encrypted", size)
		}
	}
	if err := v.Encrypt(ctx, make(memory, 8192), make(memory, 4096), 8192); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short source: %v", err)
	}
	if err := v.Encrypt(ctx, make(memory, 4096), make(memory, 8192), 8192); err == nil {
		t.Error("more was written than there is room for")
	}
	if err := v.Encrypt(ctx, nil, nil, 0); err != nil {
		t.Errorf("nothing: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := v.Encrypt(cancelled, make(memory, 8192), make(memory, 8192), 8192); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := v.WriteHeader(make(memory, slotsOffset)); err == nil {
		t.Error("a header was written where there is no room")
	}
}

// Of a damaged header the other copy is taken, and the newer of two.
func TestHeaderCopies(t *testing.T) {
	b := headerOf(t, newVolume(t, options()))
	label := func(b memory) string {
		info, err := ReadInfo(b)
		if err != nil {
			return err.Error()
		}
		return info.Label
	}
	change := func(copies ...func([]byte)) memory {
		c := memory(bytes.Clone(b))
		for i, f := range copies {
			header := c[i*metadataSize:][:metadataSize]
			f(header)
		}
		return c
	}
	seal := func(b []byte) {
		sum := checksum(b)
		copy(b[checksumAt:], sum[:])
	}
	newer := func(b []byte) {
		copy(b[24:], "newer")
		b[24+5] = 0
		binary.BigEndian.PutUint64(b[16:], 9)
		seal(b)
	}
	broken := func(b []byte) { b[5000] ^= 1 }
	same := func([]byte) {}
	for name, tt := range map[string]struct {
		b    memory
		want string
	}{
		"as it is":      {b, "luks-secret"},
		"first damaged": {change(broken), "luks-secret"},
		"first gone":    {change(func(b []byte) { clear(b) }), "luks-secret"},
		"second newer":  {change(same, newer), "newer"},
		"first newer":   {change(newer), "newer"},
		"newer damaged": {change(broken, newer), "newer"},
		"both damaged":  {change(broken, broken), "the LUKS header is damaged: its checksum is wrong"},
		"other damaged": {change(func(b []byte) { clear(b) }, broken), "the LUKS header is damaged: its checksum is wrong"},
		"no UUID":       {change(func(b []byte) { b[168] = 0; seal(b) }, broken), "the LUKS header is damaged: its UUID is not valid"},
		"other sums":    {change(func(b []byte) { copy(b[72:], "sha512") }, broken), "LUKS headers with \"sha512\" checksums are not supported"},
		"size":          {change(func(b []byte) { b[14] = 0x41 }, broken), "the LUKS header is damaged: size and offset are wrong"},
		"none":          {memory(make([]byte, 8<<20)), ErrNoHeader.Error()},
		"nothing":       {nil, ErrNoHeader.Error()},
		"LUKS1":         {memory("LUKS\xba\xbe\x00\x01" + strings.Repeat("\x00", 8192)), "LUKS version 1 is not supported"},
	} {
		if got := label(tt.b); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// Headers that ask for too much, or for what is not built, are refused.
func TestOpenRefuses(t *testing.T) {
	b := headerOf(t, newVolume(t, options()))
	for from, to := range map[string]string{
		`"iterations":1000,"salt"`:            `"iterations":-1,"salt"`,
		`"type":"pbkdf2","hash":"sha512"`:     `"type":"argon9","hash":"sha512"`,
		`"hash":"sha512","iterations"`:        `"hash":"md5","iterations"`,
		`"stripes":4000`:                      `"stripes":0`,
		`"stripes":4000,"hash":"sha512"`:      `"stripes":99999999,"hash":"sha512"`,
		`"size":"258048"`:                     `"size":"9258048"`,
		`"key_size":64,"af"`:                  `"key_size":0,"af"`,
		`"offset":"32768"`:                    `"offset":"9223372036854775807"`,
		`"offset":"16777216"`:                 `"offset":-1`,
		`"sector_size":4096`:                  `"sector_size":0`,
		`"type":"crypt"`:                      `"type":"linear"`,
		`"sector_size":4096}`:                 `"sector_size":4096,"integrity":{}}`,
		`"config":{`:                          `"config":{"requirements":{"mandatory":["online-reencrypt"]},`,
		`"segments":["0"]`:                    `"segments":["1"]`,
		`"digests":{`:                         `"digests":[],"x":{`,
		`"iterations":1000,"salt":"`:          `"iterations":1000000000000,"salt":"`,
		`"segments":{"0"`:                     `"segments":{"1"`,
		`"encryption":"aes-xts-plain64","sec`: `"encryption":"null","sec`,
	} {
		c := memory(bytes.Clone(b))
		old, _, _ := bytes.Cut(c[binarySize:metadataSize], []byte{0})
		if !bytes.Contains(old, []byte(from)) {
			t.Errorf("%s is not in the header", from)
		}
		changed := bytes.ReplaceAll(old, []byte(from), []byte(to))
		clear(c[binarySize : 2*metadataSize])
		copy(c[binarySize:], changed)
		sum := checksum(c[:metadataSize])
		copy(c[checksumAt:], sum[:])
		if _, err := Open(t.Context(), c, options().Passphrase); err == nil || errors.Is(err, ErrPassphrase) {
			t.Errorf("with %s: %v", to, err)
		}
	}
}

// FuzzReadInfo reads the JSON of a header, with the rest of it as it should be.
func FuzzReadInfo(f *testing.F) {
	b := headerOf(f, newVolume(f, options()))
	meta, _, _ := bytes.Cut(b[binarySize:metadataSize], []byte{0})
	f.Add(meta)
	f.Add([]byte(`{"tokens":{"0":{"type":"systemd-tpm2","keyslots":["1"]},"x":1},"segments":{"3":{"size":"5"}}}`))
	f.Fuzz(func(t *testing.T, meta []byte) {
		if len(meta) > metadataSize-binarySize {
			return
		}
		c := memory(bytes.Clone(b[:metadataSize]))
		clear(c[binarySize:])
		copy(c[binarySize:], meta)
		sum := checksum(c)
		copy(c[checksumAt:], sum[:])
		fuzztest.Bound{Base: 4 << 20, PerByte: 1000}.Check(t, len(c), func() {
			info, err := ReadInfo(c)
			if err != nil {
				return
			}
			if info.UUID != options().UUID {
				t.Errorf("UUID %s", info.UUID)
			}
			h, err := readHeader(c)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := h.volume(); err != nil {
				return
			}
			for _, name := range slotNames(h.metadata.Keyslots) {
				k := h.metadata.Keyslots[name]
				if k.check() == nil && int64(k.Area.Size) > maxSlotArea {
					t.Errorf("an area of %d bytes would be read", k.Area.Size)
				}
			}
		})
	})
}

// FuzzReadHeader reads a header of any form.
func FuzzReadHeader(f *testing.F) {
	b := headerOf(f, newVolume(f, options()))
	f.Add([]byte(b[:2*metadataSize]))
	f.Add([]byte(b[:binarySize]))
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzztest.Bound{Base: 32 << 20, PerByte: 1000}.Check(t, len(b), func() {
			if info, err := ReadInfo(memory(b)); err == nil {
				if _, err := json.Marshal(info); err != nil {
					t.Error(err)
				}
			}
		})
	})
}
