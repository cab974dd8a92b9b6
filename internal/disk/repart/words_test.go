package repart

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Quotes and backslashes mean in lists what systemd-repart takes them for.
func TestSplitWords(t *testing.T) {
	for s, want := range map[string][]string{
		"":                  nil,
		"/a /b\t/c ":        {"/a", "/b", "/c"},
		`"/a b" '/c d'`:     {"/a b", "/c d"},
		`/a" "b"c d"`:       {"/a bc d"},
		`/a\ b`:             {"/a b"},
		`/a\x20b`:           {"/ax20b"},
		`/a\\b "/c\"d\e"`:   {`/a\b`, `/c"de`},
		`'/a\'b' "/c'd" ""`: {"/a'b", "/c'd", ""},
		`"/a":ro`:           {"/a:ro"},
	} {
		got, err := splitWords(s)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v (-want +got):\n%s", s, err, diff)
		}
	}
	for _, s := range []string{`"/a`, `/a '`, `/a \`} {
		if got, err := splitWords(s); err == nil {
			t.Errorf("%q: got %q and no error", s, got)
		}
	}
}

// So they do in values with colons, where quotes mean something only if asked.
func TestSplitColons(t *testing.T) {
	for s, want := range map[string][]string{
		"":                          {""},
		"/a b:/c":                   {"/a b", "/c"},
		"/a::":                      {"/a", "", ""},
		`/a\x20b\x3a:\057c`:         {"/a b:", "/c"},
		`/\t\n\s\\\"\'`:             {"/\t\n \\\"'"},
		`/\u00e9\U0001F600\303\251`: {"/é😀é"},
		`"/a:b"`:                    {`"/a`, `b"`},
	} {
		got, err := splitColons(s, false)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v (-want +got):\n%s", s, err, diff)
		}
	}
	for s, want := range map[string][]string{`"/a:b":'c d:e'`: {"/a:b", "c d:e"}, `/a"x:y"b:c`: {"/ax:yb", "c"}, `"a\"b":c`: {`a"b`, "c"}} {
		got, err := splitColons(s, true)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v (-want +got):\n%s", s, err, diff)
		}
	}
	for _, s := range []string{`a\`, `a\q`, `a\x`, `a\x4`, `a\x+1`, `a\x00`, `a\000`, `a\0`, `a\400`, `a\u12`, `a\ud800`, `a\U00110000`, `a\xff`, `"a`} {
		if got, err := splitColons(s, true); err == nil {
			t.Errorf("%q: got %q and no error", s, got)
		}
	}
}
