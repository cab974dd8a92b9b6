package deb822

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	text := "\n# a comment\nPackage: a\nDescription: short \n long\n .\n  more\n\n\nPackage:b\nEmpty:\n"
	got, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	want := []Stanza{
		{{"Package", "a"}, {"Description", "short \n long\n .\n  more"}},
		{{"Package", "b"}, {"Empty", ""}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got[0].Get("package") != "a" || got[0].Get("missing") != "" {
		t.Error("Get does not ignore case")
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		" continued\n":     "line 1: continuation without a field",
		"A: b\nnonsense\n": `line 2: not a field: "nonsense"`,
		"A: b\nA: c\n":     "line 2: field A appears twice",
		"-A: b\n":          "line 1: not a field",
		"A: b\n " + strings.Repeat("x", MaxStanza): "longer than",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: error %v, want %q", text, err, want)
		}
	}
}

func TestAppendTo(t *testing.T) {
	s := Stanza{{"Package", "a"}, {"Conffiles", "\n /etc/a x"}, {"Empty", ""}}
	s.Set("PACKAGE", "b")
	s.Set("New", "c")
	want := "Package: b\nConffiles:\n /etc/a x\nEmpty:\nNew: c\n"
	if got := s.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Package: a\nDescription: b\n c\n\nX: y\n")
	f.Add("# c\nA:\n .\n")
	f.Fuzz(func(t *testing.T, text string) {
		stanzas, err := Parse(text)
		if err != nil {
			return
		}
		// What was read can be written and read again.
		var out []byte
		for _, s := range stanzas {
			out = append(s.AppendTo(out), '\n')
		}
		again, err := Parse(string(out))
		if err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		if d := cmp.Diff(stanzas, again); d != "" {
			t.Fatalf("%q became %q: %s", text, out, d)
		}
	})
}
