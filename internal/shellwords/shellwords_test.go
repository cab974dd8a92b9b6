package shellwords

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

func TestSplit(t *testing.T) {
	for in, want := range map[string][]string{
		"":                 nil,
		" a  b\n\tc ":      {"a", "b", "c"},
		`"a b" 'c d' e\ f`: {"a b", "c d", "e f"},
		`A="b c"d`:         {"A=b cd"},
		`"" ''`:            {"", ""},
		`"a\"b\\c\d"`:      {`a"b\c\d`},
		`'a\b'`:            {`a\b`},
	} {
		got, err := Split(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", in, diff)
		}
	}
	for _, in := range []string{`"a`, `'`, `a\`} {
		if got, err := Split(in); err == nil {
			t.Errorf("%q: got %q and no error", in, got)
		}
	}
}

func TestJoin(t *testing.T) {
	for want, in := range map[string][]string{
		"":                   nil,
		"a -b=c /d,e":        {"a", "-b=c", "/d,e"},
		`'' 'a b' 'it'\''s'`: {"", "a b", "it's"},
		`'~' '$x' 'ä'`:       {"~", "$x", "ä"},
	} {
		if got := Join(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
		if back, err := Split(want); err != nil || !slices.Equal(back, in) {
			t.Errorf("%s: got %q back, error %v", want, back, err)
		}
	}
}

// FuzzSplit expects that quoting the words gives the words again.
func FuzzSplit(f *testing.F) {
	f.Add(`A="b c" 'd' e\ f`)
	f.Add(`"`)
	f.Add(`a\`)
	f.Add(strings.Repeat("a ", 1000))
	bound := fuzztest.Bound{Base: 1 << 20, PerByte: 200}
	f.Fuzz(func(t *testing.T, in string) {
		var words []string
		var err error
		bound.Check(t, len(in), func() { words, err = Split(in) })
		if err != nil {
			return
		}
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
		}
		again, err := Split(strings.Join(quoted, " "))
		if err != nil || !slices.Equal(words, again) {
			t.Errorf("%q: %q, then %q, %v", in, words, again, err)
		}
	})
}
