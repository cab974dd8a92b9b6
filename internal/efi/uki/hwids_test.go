package uki

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"testing/fstest"
)

func TestHardwareIDs(t *testing.T) {
	dir := fstest.MapFS{
		"b.json":     {Data: []byte(`{"type": "devicetree", "name": "N", "compatible": "c", "hwids": ["5dc05bf4-01f6-4089-b464-a08c47ea9295", "3e3f8f3c-2003-46f2-811c-85554f7d5952", "3e3f8f3c-2003-46f2-811c-85554f7d5952"]}`)},
		"sub/a.json": {Data: []byte(`{"type": "uefi-fw", "name": "M", "fwid": "c", "hwids": ["00c05bf4-01f6-4089-b464-a08c47ea9295"], "extra": 1}`)},
		"sub/b.json": {Data: []byte(`{"type": "devicetree", "name": "N", "compatible": "c", "hwids": ["3e3f8f3c-2003-46f2-811c-85554f7d5952"]}`)},
		"README":     {Data: []byte("not a description")},
	}
	got, err := HardwareIDs(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := "1c000010" + "3c8f3f3e0320f246811c85554f7d5952" + "72000000" + "74000000" +
		"1c000010" + "f45bc05df6018940b464a08c47ea9295" + "72000000" + "74000000" +
		"1c000020" + "f45bc000f6018940b464a08c47ea9295" + "70000000" + "74000000" +
		strings.Repeat("00", 28) + hex.EncodeToString([]byte("M\x00N\x00c\x00"))
	if hex.EncodeToString(got) != want {
		t.Errorf("got  %x\nwant %s", got, want)
	}
	if got, err = HardwareIDs(fstest.MapFS{}); err != nil || !bytes.Equal(got, make([]byte, 28)) {
		t.Errorf("of no machines: %x: %v", got, err)
	}
}

func TestHardwareIDsRefuses(t *testing.T) {
	const id = `"hwids": ["5dc05bf4-01f6-4089-b464-a08c47ea9295"]`
	for text, want := range map[string]string{
		`[]`: "cannot unmarshal",
		`{"type": "devicetree", "compatible": "c", ` + id + `}`:                        `no "name"`,
		`{"type": "devicetree", "name": "n", ` + id + `}`:                              `no "compatible"`,
		`{"type": "uefi-fw", "name": "n", "compatible": "c", ` + id + `}`:              `no "fwid"`,
		`{"type": "other", "name": "n", "compatible": "c", ` + id + `}`:                `its "type" is "other"`,
		`{"type": "devicetree", "name": "n", "compatible": "c"}`:                       `no "hwids"`,
		`{"type": "devicetree", "name": "n", "compatible": "c", "hwids": ["x"]}`:       "invalid UUID",
		`{"type": "devicetree", "name": "n\u0000", "compatible": "c", ` + id + `}`:     "zero byte",
		`{"type": "devicetree", "name": "` + strings.Repeat("n", maxDescription) + `"`: "larger than",
	} {
		_, err := HardwareIDs(fstest.MapFS{"m.json": {Data: []byte(text)}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "m.json") {
			t.Errorf("%.80s: error %v, want %q", text, err, want)
		}
	}
}

// FuzzHardwareIDs reads any description: what is accepted becomes a table whose
// entries refer to texts within it.
func FuzzHardwareIDs(f *testing.F) {
	f.Add([]byte(`{"type": "devicetree", "name": "N", "compatible": "c", "hwids": ["5dc05bf4-01f6-4089-b464-a08c47ea9295"]}`))
	f.Add([]byte(`{"type": "uefi-fw", "name": "N", "fwid": "N", "hwids": ["{5dc05bf4-01f6-4089-b464-a08c47ea9295}"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := HardwareIDs(fstest.MapFS{"m.json": {Data: text}})
		if err != nil {
			return
		}
		for at := 0; le.Uint32(b[at:]) != 0; at += hardwareEntry {
			for _, field := range []int{20, 24} {
				s := b[le.Uint32(b[at+field:]):]
				if bytes.IndexByte(s, 0) <= 0 {
					t.Errorf("an entry of %x refers to no text", b)
				}
			}
		}
	})
}
