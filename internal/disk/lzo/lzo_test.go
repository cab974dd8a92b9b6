package lzo

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// Streams put together by hand, instruction by instruction.
func TestDecompress(t *testing.T) {
	const end = "\x11\x00\x00"
	for _, tt := range []struct{ name, src, want string }{
		{"nothing", end, ""},
		{"literals first", "\x15abcd" + end, "abcd"},
		{"few literals first", "\x12a\x20\x08\x00\x00" + end, strings.Repeat("a", 42)},
		{"run of literals", "\x00\x01" + strings.Repeat("x", 19) + end, strings.Repeat("x", 19)},
		{"long run", "\x00\x00\x01" + strings.Repeat("y", 274) + end, strings.Repeat("y", 274)},
		{"overlapping match", "\x15abcd\xe0\x00" + end, "abcd" + strings.Repeat("d", 8)},
		{"match and literals", "\x15abcd\x4e\x00xy" + end, "abcd" + "abc" + "xy"},
		{"long match", "\x15abcd\x20\x00\x01\x0c\x00" + end, "abcd" + strings.Repeat("abcd", 73)[:289]},
	} {
		got, err := Decompress([]byte(tt.src), make([]byte, 1000))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
		if len(tt.want) > 0 {
			if _, err := Decompress([]byte(tt.src), make([]byte, len(tt.want)-1)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s into too little room: %v", tt.name, err)
			}
		}
		for i := range len(tt.src) {
			if got, err := Decompress([]byte(tt.src[:i]), make([]byte, 1000)); err == nil {
				t.Errorf("%s, the first %d bytes: %q", tt.name, i, got)
			}
		}
	}
}

func TestDecompressRefuses(t *testing.T) {
	for _, src := range []string{"\x40\x00", "\x15abcd\xe0\xff", "\xff", "\x00" + strings.Repeat("\x00", 100000)} {
		if got, err := Decompress([]byte(src), make([]byte, 1000)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%.10q: %q, %v", src, got, err)
		}
	}
}

func FuzzDecompress(f *testing.F) {
	f.Add([]byte("\x15abcd\xe0\x00\x11\x00\x00"))
	f.Add([]byte("\x12a\x20\x08\x00\x00\x11\x00\x00"))
	f.Fuzz(func(t *testing.T, src []byte) {
		room := bytes.Repeat([]byte{1}, 5000)
		out, err := Decompress(src, room[:4096])
		if err == nil && len(out) > 4096 || !bytes.Equal(room[4096:], bytes.Repeat([]byte{1}, 5000-4096)) {
			t.Errorf("%d bytes, %v", len(out), err)
		}
	})
}
