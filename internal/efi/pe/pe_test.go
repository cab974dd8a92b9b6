package pe_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/mkosi-go/mkosi/internal/efi/pe"
	"github.com/mkosi-go/mkosi/internal/efi/pe/petest"
)

var le = binary.LittleEndian

func parse(b []byte) (*pe.File, error) { return pe.Parse(bytes.NewReader(b), int64(len(b))) }

func program() []byte {
	return petest.Program(petest.Section{Name: ".text", Text: "code"}, petest.Section{Name: ".sbatlvl", Text: "level"}, petest.Section{Name: ".empty"})
}

func TestParse(t *testing.T) {
	b := program()
	f, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if f.Architecture() != "x86-64" || !f.Is64() || f.Subsystem != 10 || f.FileAlignment != petest.FileAlignment || f.SectionAlignment != petest.SectionAlignment {
		t.Errorf("%+v", f)
	}
	if len(f.Header) != petest.Headers || f.Size != int64(len(b)) || f.ChecksumOffset != petest.Optional+64 || f.CertEntryOffset != petest.Optional+144 {
		t.Errorf("%+v", f)
	}
	s, ok := f.Section(".sbatlvl")
	if !ok || len(f.Sections) != 3 || string(b[s.Offset:][:s.Used()]) != "level" || s.VirtualAddress != 8192 || s.End() != petest.Headers+1024 {
		t.Errorf("%v %+v", ok, s)
	}
	if _, ok := f.Section(".linux"); ok {
		t.Error("a section that is not there")
	}
}

// TestParseOrder has a table that names the sections in another order than
// they have in the file.
func TestParseOrder(t *testing.T) {
	b := program()
	first, second := b[petest.Table+20:], b[petest.Table+60:]
	a, c := le.Uint32(first), le.Uint32(second)
	le.PutUint32(first, c)
	le.PutUint32(second, a)
	f, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if in := f.InFileOrder(); f.Sections[0].Name != ".text" || in[0].Name != ".sbatlvl" || in[1].Name != ".text" {
		t.Errorf("table %v, file %v", f.Sections, in)
	}
}

func TestParseCertificates(t *testing.T) {
	b := program()
	end := len(b)
	b = append(b, make([]byte, 16)...)
	le.PutUint32(b[petest.Optional+144:], uint32(end))
	le.PutUint32(b[petest.Optional+148:], 16)
	f, err := parse(b)
	if err != nil || f.Certificates != (pe.Range{Offset: int64(end), Size: 16}) {
		t.Errorf("%+v: %v", f, err)
	}
	// A header with so few directories that none is about signatures.
	le.PutUint32(b[petest.Optional+108:], 4)
	if f, err = parse(b); err != nil || f.CertEntryOffset != 0 || f.Certificates.Size != 0 {
		t.Errorf("%+v: %v", f, err)
	}
}

func TestParseDamaged(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(b []byte)
		format bool
	}{
		"no mark":            {func(b []byte) { b[0] = 0 }, true},
		"header outside":     {func(b []byte) { le.PutUint32(b[60:], 1<<30) }, true},
		"header far outside": {func(b []byte) { le.PutUint32(b[60:], 1<<31+10) }, true},
		"many sections":      {func(b []byte) { le.PutUint16(b[70:], 60000) }, false},
		"short header":       {func(b []byte) { le.PutUint16(b[84:], 90) }, false},
		"overlap":            {func(b []byte) { le.PutUint32(b[petest.Table+40+20:], petest.Headers+10) }, false},
		"section in header":  {func(b []byte) { le.PutUint32(b[petest.Table+20:], 600) }, false},
		"section outside":    {func(b []byte) { le.PutUint32(b[petest.Table+40+16:], 1<<30) }, false},
		"signatures outside": {func(b []byte) {
			le.PutUint32(b[petest.Optional+144:], 1<<30)
			le.PutUint32(b[petest.Optional+148:], 100)
		}, false},
		"section in signatures": {func(b []byte) {
			le.PutUint32(b[petest.Optional+144:], uint32(len(b)-100))
			le.PutUint32(b[petest.Optional+148:], 100)
		}, false},
		"large headers": {func(b []byte) { le.PutUint32(b[petest.Optional+60:], 1<<30) }, false},
		"small headers": {func(b []byte) { le.PutUint32(b[petest.Optional+60:], 64) }, false},
	} {
		b := program()
		tt.change(b)
		if f, err := parse(b); err == nil || errors.Is(err, pe.ErrFormat) != tt.format {
			t.Errorf("%s: read as %+v, error %v", name, f, err)
		}
	}
	b := program()
	for n := range petest.Headers {
		if _, err := parse(b[:n]); err == nil {
			t.Errorf("the first %d bytes were accepted", n)
		}
	}
}

// FuzzParse reads anything: what is accepted lies within the file.
func FuzzParse(f *testing.F) {
	f.Add(program())
	f.Add(program()[:petest.Headers])
	f.Add([]byte("MZ"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parse(b)
		if err != nil {
			return
		}
		end := int64(len(p.Header))
		for _, s := range p.InFileOrder() {
			if s.Size == 0 {
				continue
			}
			if s.Offset < end || s.Used() > s.Size || s.End() > p.Size {
				t.Errorf("section %+v of a file of %d bytes", s, p.Size)
			}
			end = s.End()
		}
		if c := p.Certificates; c.Size > 0 && (c.Offset < end || c.End() > p.Size) {
			t.Errorf("signatures %+v of a file of %d bytes", c, p.Size)
		}
		if p.ChecksumOffset+4 > int64(len(p.Header)) || p.CertEntryOffset+8 > int64(len(p.Header)) {
			t.Errorf("%+v", p)
		}
	})
}
