package repart

import (
	"math"
	"testing"
)

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]uint64{
		"0": 0, "4096": 4096, "11B": 11, "1K": 1 << 10, "1M5K": 1<<20 + 5<<10, "1M 5K": 1<<20 + 5<<10, "20 M": 20 << 20, "+20M": 20 << 20, "020M": 20 << 20,
		"1.5M": 3 << 19, "1.M": 1 << 20, "1.5": 1, "11.999999K": 12287, "1.123456789123456789M": 1178029, "0.00001M": 10, "1M1": 1<<20 + 1, "1T1G20M": 1<<40 + 1<<30 + 20<<20,
		"15E": 15 << 60, "18446744073709551615": math.MaxUint64, "0.9999999999999999999999E": 1<<60 - 1<<60/1000000000000000000 - 1,
	} {
		if got, err := parseBytes(s); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "M", ".5M", "1k", "1MB", "1K 1M", "1M 1M", "1 K M", "1,5M", "1e3", "0x10", "-1", "16E", "15E 1024P", "18446744073709551616", "++1"} {
		if got, err := parseBytes(s); err == nil {
			t.Errorf("%q: got %d and no error", s, got)
		}
	}
}

// Sizes are rounded to whole units, the smallest one up, the largest one down.
func TestParseSizes(t *testing.T) {
	for s, want := range map[string][2]uint64{"0": {0, 0}, "1": {4096, 0}, "4096": {4096, 4096}, "5000": {8192, 4096}} {
		low, err := parseMinSize(s)
		if err != nil || *low != want[0] {
			t.Errorf("minimum %s: %d, %v, want %d", s, *low, err, want[0])
		}
		high, err := parseMaxSize(s)
		if err != nil || *high != want[1] {
			t.Errorf("maximum %s: %d, %v, want %d", s, *high, err, want[1])
		}
	}
	if n, err := parseMaxSize("15E"); err != nil || *n != math.MaxInt64/sizeUnit*sizeUnit {
		t.Errorf("a maximum that no disk reaches: %v", err)
	}
	if n, err := parseMinSize("15E"); err == nil {
		t.Errorf("a minimum that no disk reaches: %d", *n)
	}
}

func TestParseNumbers(t *testing.T) {
	for s, want := range map[string]int32{"0": 0, "+1": 1, "-1": -1, "0x10": 16, "010": 8, "2147483647": math.MaxInt32, "-2147483648": math.MinInt32} {
		if got, err := parsePriority(s); err != nil || got != want {
			t.Errorf("Priority=%s: %d, %v", s, got, err)
		}
	}
	for s, want := range map[string]uint64{"0": 0, "+1": 1, "0b101": 5, "0x8000000000000000": 1 << 63, "010": 8, "0X1": 1, "18446744073709551615": math.MaxUint64} {
		if got, err := parseFlags(s); err != nil || got != want {
			t.Errorf("Flags=%s: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "1_0", "a", "0x", "1 ", "18446744073709551616"} {
		if got, err := parseFlags(s); err == nil {
			t.Errorf("Flags=%s: %d and no error", s, got)
		}
		if got, err := parsePriority(s); err == nil {
			t.Errorf("Priority=%s: %d and no error", s, got)
		}
	}
}

func TestParseUUID(t *testing.T) {
	const id = "3d30965a-0981-46f6-a67a-9c6bc38538e6"
	for _, s := range []string{id, "3D30965A-0981-46F6-A67A-9C6BC38538E6", "3d30965a098146f6a67a9c6bc38538e6", "urn:uuid:" + id} {
		if got, err := parseUUID(s); err != nil || got.String() != id {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	if got, err := parseUUID(""); err != nil || got != nil {
		t.Errorf("no UUID: %v, %v", got, err)
	}
}

func TestChoices(t *testing.T) {
	for s, want := range map[string]Minimize{"": "", "off": "", "no": "", "best": "best", "guess": "guess", "yes": "best", "ON": "best", "1": "best"} {
		if got, err := parseMinimize(s); err != nil || got != want {
			t.Errorf("Minimize=%s: %q, %v", s, got, err)
		}
	}
	for s, want := range map[string]Encrypt{"": "", "off": "", "no": "", "key-file": "key-file", "yes": "key-file"} {
		if got, err := parseEncrypt(s); err != nil || got != want {
			t.Errorf("Encrypt=%s: %q, %v", s, got, err)
		}
	}
	for s, want := range map[string]VerityRole{"": "", "off": "", "data": "data", "hash": "hash", "signature": "signature"} {
		if got, err := parseVerity(s); err != nil || got != want {
			t.Errorf("Verity=%s: %q, %v", s, got, err)
		}
	}
}
