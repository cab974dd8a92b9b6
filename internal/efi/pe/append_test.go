package pe_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/efi/pe"
	"github.com/mkosi-go/mkosi/internal/efi/pe/petest"
)

// appender adds sections to a program that can be read.
func appender(t *testing.T, b []byte) *pe.Appender {
	t.Helper()
	f, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	a, err := pe.NewAppender(f, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAppender(t *testing.T) {
	b := append(program(), "behind the sections"...)
	a := appender(t, b)
	add := func(name, text string, characteristics uint32) {
		t.Helper()
		b = append(b, make([]byte, a.Size()-int64(len(b)))...)
		b = append(b, text...)
		if err := a.Add(name, int64(len(text)), characteristics); err != nil {
			t.Fatal(err)
		}
	}
	add(".first", strings.Repeat("x", 5000), pe.Code)
	add(".second", "", pe.Data)
	add(".third", "last", pe.Data)
	if err := a.Resize(".sbatlvl", 3); err != nil {
		t.Error(err)
	}
	b = append(b, make([]byte, a.Size()-int64(len(b)))...)
	le.PutUint32(b[petest.Optional+64:], 0x1234) // a checksum that will not fit
	copy(b, a.Header())
	f, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Sections) != 6 || len(a.Sections()) != 6 || f.Size%petest.FileAlignment != 0 {
		t.Fatalf("%+v", f)
	}
	want := []pe.Section{
		{Name: ".first", Range: pe.Range{Offset: 2560, Size: 5120}, VirtualAddress: 12288, VirtualSize: 5000, Characteristics: pe.Code},
		{Name: ".second", Range: pe.Range{Offset: 7680}, VirtualAddress: 20480, Characteristics: pe.Data},
		{Name: ".third", Range: pe.Range{Offset: 7680, Size: 512}, VirtualAddress: 20480, VirtualSize: 4, Characteristics: pe.Data},
	}
	for i, s := range want {
		if f.Sections[3+i] != s {
			t.Errorf("section %+v, want %+v", f.Sections[3+i], s)
		}
	}
	if s := f.Sections[1]; string(b[s.Offset:][:s.Used()]) != "lev" {
		t.Errorf("section %+v has %q", s, b[s.Offset:][:s.Used()])
	}
	if s := f.Sections[5]; string(b[s.Offset:][:s.Used()]) != "last" {
		t.Errorf("section %+v has %q", s, b[s.Offset:][:s.Used()])
	}
	if data, image, sum := le.Uint32(b[petest.Optional+8:]), le.Uint32(b[petest.Optional+56:]), le.Uint32(b[petest.Optional+64:]); data != 5004 || image != 24576 || sum != 0 {
		t.Errorf("%d bytes of data, %d in memory, checksum %#x", data, image, sum)
	}
}

func TestAppenderRefuses(t *testing.T) {
	for name, change := range map[string]func(b []byte){
		"signed": func(b []byte) {
			le.PutUint32(b[petest.Optional+144:], uint32(len(b)-8))
			le.PutUint32(b[petest.Optional+148:], 8)
		},
		"no alignment": func(b []byte) { le.PutUint32(b[petest.Optional+32:], 0) },
		"odd":          func(b []byte) { le.PutUint32(b[petest.Optional+36:], 513) },
		"coarse":       func(b []byte) { le.PutUint32(b[petest.Optional+32:], 1<<30) },
		"far":          func(b []byte) { le.PutUint32(b[petest.Table+12:], 1<<32-1) },
	} {
		b := append(program(), make([]byte, 8)...)
		change(b)
		f, err := parse(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := pe.NewAppender(f, bytes.NewReader(b)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	a := appender(t, program())
	for name, size := range map[string]int64{"": 1, ".toolongname": 1, ".huge": 1 << 32, ".less": -1} {
		if err := a.Add(name, size, pe.Data); err == nil {
			t.Errorf("section %q of %d bytes was accepted", name, size)
		}
	}
	for name, size := range map[string]int64{".text": 513, ".empty": 1, ".linux": 0} {
		if err := a.Resize(name, size); err == nil {
			t.Errorf("section %s of %d bytes was accepted", name, size)
		}
	}
	room := (petest.Headers - petest.Table) / 40
	for i := len(a.Sections()); i < room; i++ {
		if err := a.Add(".more", 1, pe.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Add(".more", 1, pe.Data); err == nil {
		t.Error("more sections than the headers have room for were accepted")
	}
	if len(a.Header()) != petest.Headers || !bytes.Equal(a.Header(), a.Header()) {
		t.Error("the headers have another size")
	}
}

func TestAppenderSymbols(t *testing.T) {
	const at, symbols = petest.Optional - 12, 2
	for name, tt := range map[string]struct {
		change func(b []byte, start int) []byte
		drop   bool
	}{
		"at the end":    {func(b []byte, _ int) []byte { return b }, true},
		"before more":   {func(b []byte, _ int) []byte { return append(b, "more"...) }, false},
		"no symbols":    {func(b []byte, _ int) []byte { le.PutUint32(b[at+4:], 0); return b }, false},
		"many symbols":  {func(b []byte, _ int) []byte { le.PutUint32(b[at+4:], 1<<32-1); return b }, false},
		"in a section":  {func(b []byte, _ int) []byte { le.PutUint32(b[at:], petest.Headers); return b }, false},
		"in the header": {func(b []byte, _ int) []byte { le.PutUint32(b[at:], 0); return b }, false},
	} {
		b := program()
		start := len(b)
		le.PutUint32(b[at:], uint32(start))
		le.PutUint32(b[at+4:], symbols)
		b = append(b, make([]byte, symbols*18)...)
		b = le.AppendUint32(b, 9)
		b = tt.change(append(b, "name\x00"...), start)
		a := appender(t, b)
		want := int64(len(b))
		if tt.drop {
			want = int64(start)
		}
		if a.Kept() != want || (le.Uint64(a.Header()[at:]) == 0) != tt.drop {
			t.Errorf("%s: %d bytes of %d were kept, symbols %x", name, a.Kept(), len(b), a.Header()[at:][:8])
		}
	}
}

// FuzzAppender adds sections to anything: what comes out can be read.
func FuzzAppender(f *testing.F) {
	f.Add(program(), uint32(5))
	f.Add(program()[:petest.Headers], uint32(1<<31))
	f.Fuzz(func(t *testing.T, b []byte, size uint32) {
		p, err := parse(b)
		if err != nil {
			return
		}
		a, err := pe.NewAppender(p, bytes.NewReader(b))
		if err != nil {
			return
		}
		if err := a.Resize(".sbatlvl", int64(size)); err == nil {
			if s, _ := p.Section(".sbatlvl"); s.Size < int64(size) {
				t.Errorf("section %+v has room for %d bytes", s, size)
			}
		}
		for _, n := range []uint32{size, 0, 700} {
			if a.Add(".added", int64(n), pe.Data) != nil {
				break
			}
		}
		q, err := pe.ParseHeader(append(a.Header(), make([]byte, max(0, min(a.Size(), pe.MaxHeaders)-int64(len(p.Header))))...), a.Size())
		if err != nil {
			t.Fatalf("the result cannot be read: %v", err)
		}
		if len(q.Sections) != len(a.Sections()) {
			t.Errorf("%d sections, want %d", len(q.Sections), len(a.Sections()))
		}
	})
}
