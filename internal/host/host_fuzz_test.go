package host

import (
	"maps"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

// FuzzParseOSRelease expects that what was read and is written again, in
// quotes, reads the same.
func FuzzParseOSRelease(f *testing.F) {
	f.Add("ID=debian\nX=\"a\\\"b\"\n")
	f.Add("X='")
	f.Add("# c\n=x\nA=\n A = b \r\n")
	f.Add(strings.Repeat("A=b\n", 1000))
	bound := fuzztest.Bound{Base: 1 << 20, PerByte: 500}
	f.Fuzz(func(t *testing.T, in string) {
		var fields map[string]string
		bound.Check(t, len(in), func() { fields = ParseOSRelease(in) })
		var b strings.Builder
		for key, value := range fields {
			if key == "" {
				t.Errorf("empty key from %q", in)
			}
			b.WriteString(key + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(value) + "\"\n")
		}
		if again := ParseOSRelease(b.String()); !maps.Equal(fields, again) {
			t.Errorf("%q, then %q", fields, again)
		}
	})
}
