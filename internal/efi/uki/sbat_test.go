package uki

import (
	"strings"
	"testing"
)

func TestMergeSBAT(t *testing.T) {
	for _, tt := range []struct {
		texts []string
		want  string
	}{
		{nil, ""},
		{[]string{"", "garbage", "mine,1"}, ""},
		{[]string{"sbat,1"}, ""},
		{[]string{"sbat,1,old\na,1\nb,1\n\x00\x00", "sbat,1\nb,1\n\nc,2"}, "a,1\nb,1\nb,1\n\nc,2\n"},
	} {
		if got := mergeSBAT(tt.texts...); got != sbatHeader+"\n"+tt.want {
			t.Errorf("%q: %q, want %q", tt.texts, got, tt.want)
		}
	}
}

// FuzzMergeSBAT merges anything: the result is in the format, and merging it
// alone changes nothing.
func FuzzMergeSBAT(f *testing.F) {
	f.Add(stubSBAT, kernelSBAT)
	f.Add("sbat,1", "\x00\n\x00")
	f.Fuzz(func(t *testing.T, a, b string) {
		merged := mergeSBAT(a, b)
		if !strings.HasPrefix(merged, sbatHeader+"\n") {
			t.Errorf("%q", merged)
		}
		if again := mergeSBAT(merged); again != mergeSBAT(again) {
			t.Errorf("%q became %q", merged, again)
		}
	})
}
