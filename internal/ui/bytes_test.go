package ui

import (
	"slices"
	"testing"
)

func TestBytes(t *testing.T) {
	var got []string
	for _, n := range []int64{0, 1023, 1024, 7324160, 5 << 30} {
		got = append(got, Bytes(n))
	}
	if want := []string{"0B", "1023B", "1.0K", "7.0M", "5.0G"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
