package spelling

import (
	"strings"
	"testing"
)

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"label", "lable", 1}, {"label", "labels", 1}, {"weight", "height", 1}, {"abc", "xyz", 3},
		{strings.Repeat("a", maxWord+1), "a", maxWord + 1},
	} {
		if got := Distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := Distance(tt.b, tt.a); got != tt.want {
			t.Errorf("%q and %q: %d, want %d", tt.b, tt.a, got, tt.want)
		}
	}
}

func TestNearest(t *testing.T) {
	candidates := []string{"Label", "Weight", "SizeMinBytes"}
	for text, want := range map[string]string{"Lable": "Label", "label": "Label", "SizeMinByte": "SizeMinBytes", "Colour": "", "L": "", "": ""} {
		if got := Nearest(text, candidates); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
