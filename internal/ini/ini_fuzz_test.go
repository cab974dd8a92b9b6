package ini

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

// FuzzParse expects that what was read and is written again reads the same.
func FuzzParse(f *testing.F) {
	f.Add("[A]\nx=1\n  2\n# c\n[B]\n")
	f.Add("[A]\nx=\n\n\ty#z\r\n")
	f.Add("x=1")
	f.Add("[A\nx=1\n[]\n=2\n")
	f.Add("[A]\n" + strings.Repeat("x=1\n", 1000))
	f.Add("[A]\nx=" + strings.Repeat("\n 1", 1000))
	f.Add(strings.Repeat("?\n", 1000))
	bound := fuzztest.Bound{Base: 1 << 20, PerByte: 200}
	f.Fuzz(func(t *testing.T, in string) {
		var entries []Entry
		var err error
		bound.Check(t, len(in), func() { entries, err = Parse([]byte(in)) })
		for _, e := range entries {
			if e.Line < 1 || e.EndLine < e.Line || e.EndLine > strings.Count(in, "\n")+1 || e.Column < 1 {
				t.Errorf("entry %+v lies outside of the file", e)
			}
			if e.Section == "" || !utf8.ValidString(e.Section+e.Key+e.Value) {
				t.Errorf("entry %+v is not whole", e)
			}
		}
		if err != nil {
			return
		}
		again, err := Parse([]byte(format(entries)))
		if err != nil {
			t.Fatalf("%q: %v", format(entries), err)
		}
		if got, want := format(again), format(entries); got != want {
			t.Errorf("%q reads as %q", want, got)
		}
	})
}

// format writes entries as a file.
func format(entries []Entry) string {
	var b strings.Builder
	for _, e := range entries {
		if e.Key == "" {
			b.WriteString("[" + e.Section + "]\n")
			continue
		}
		b.WriteString(e.Key + "=" + strings.ReplaceAll(e.Value, "\n", "\n ") + "\n")
	}
	return b.String()
}
