package config

import (
	"strings"
	"testing"
)

func TestMatchPattern(t *testing.T) {
	for _, tc := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true},
		{"a*", "a/b", true},
		{"a?c", "a/c", true},
		{"[!a]b", "ab", false},
		{"[!a]b", "cb", true},
		{"[^a]b", "^b", true},
		{"[^a]b", "cb", false},
		{"[]]", "]", true},
		{"[!]]", "]", false},
		{"[!]]", "x", true},
		{"[a-c]", "b", true},
		{"[-a]", "-", true},
		{"[a-]", "-", true},
		{`[\]`, `\`, true},
		{`a\*`, `a\b`, true},
		{"[a", "[a", true},
		{"[!", "[!", true},
		{"[]", "[]", true},
		{"é*", "écu", true},
	} {
		if got := matchPattern(tc.pattern, tc.text); got != tc.want {
			t.Errorf("%q and %q: got %v", tc.pattern, tc.text, got)
		}
	}
}

func TestHiddenFilesMatchOnlyAWrittenDot(t *testing.T) {
	for _, tc := range []struct {
		pattern, path string
		want          bool
	}{
		{"/d/*", "/d/.h", true},
		{"/d/.*", "/d/.h", false},
		{"/.d/*", "/.d/a", false},
		{"/*/a", "/.d/a", true},
	} {
		if got := hiddenMatch(tc.pattern, tc.path); got != tc.want {
			t.Errorf("%q and %q: got %v", tc.pattern, tc.path, got)
		}
	}
}

// FuzzMatchPattern wants every text to be a pattern, and one without
// wildcards to match itself alone.
func FuzzMatchPattern(f *testing.F) {
	f.Add("a[!b]*?", "axyz")
	f.Add(`[\]-a`, `\`)
	f.Add("[]-a]", "]")
	classes := strings.NewReplacer("*", "[*]", "?", "[?]", "[", "[[]")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		matchPattern(pattern, text)
		if !matchPattern(classes.Replace(text), text) {
			t.Errorf("%q does not match itself", text)
		}
	})
}
