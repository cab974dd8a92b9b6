package repart

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/mkosi-go/mkosi/internal/disk/repart/reparttest"
)

// The bits are those that systemd-repart sets, for every kind of type.
func TestAttributes(t *testing.T) {
	text, err := os.ReadFile("testdata/attributes.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line[0] == '#' {
			continue
		}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 3 {
			t.Fatalf("malformed line %q", line)
		}
		definition := "[Partition]\nType=" + fields[0] + "\n" + strings.ReplaceAll(fields[1], "|", "\n") + "\n"
		if strings.Contains(fields[1], "Verity=") {
			definition += "VerityMatchKey=a\n"
		}
		d := parseOne(t, definition)
		if got := reparttest.Bits(d.Attributes()); got != fields[2] {
			t.Errorf("%s: bits %s, systemd-repart sets %s", strings.TrimSuffix(line, "\n"), got, fields[2])
		}
	}
}

func parseOne(t *testing.T, text string) *Definition {
	t.Helper()
	defs, _, err := Parse(fstest.MapFS{"10.conf": {Data: []byte(text)}}, Options{Architecture: "x86-64"})
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return &defs[0]
}

// Format=empty leaves a partition out of what is mounted on its own.
func TestAttributesEmpty(t *testing.T) {
	for settings, want := range map[string]string{
		"Type=home\nFormat=empty":             "59,63",
		"Type=swap\nFormat=empty":             "63",
		"Type=esp\nFormat=empty":              "-",
		"Type=home\nFormat=empty\nNoAuto=no":  "59",
		"Type=home\nFormat=empty\nLabel=free": "59,63",
	} {
		if got := reparttest.Bits(parseOne(t, "[Partition]\n"+settings+"\n").Attributes()); got != want {
			t.Errorf("%q: bits %s, want %s", settings, got, want)
		}
	}
}
