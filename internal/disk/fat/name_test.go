package fat

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Labels that systemd-repart gives to mkfs.vfat.
func TestLabel(t *testing.T) {
	for name, want := range map[string]string{
		"esp": "ESP", "linux-generic": "LINUX-GENER", "some label with more": "SOME LABEL", "a.b*c": "A_B_C",
		"a-_'{}~!@#": "A-_'{}~!@#", "ä-ö-üñ": "_-_-__", "  leading": "LEADING", "no name": "", "": "", "日本": "__",
		"abcdefghijä": "ABCDEFGHIJ_", "A!#$&'()-": "A!#$&'()-", "A@^_`{}~": "A@^_`{}~", `a"*+,/`: "A_____",
		"A:;<=>?": "A______", `A[\]|`: "A____", "a  b": "A  B", ".dot": "_DOT", "123456789 A": "123456789 A",
	} {
		if got := label(name); got != want {
			t.Errorf("%q became %q, not %q", name, got, want)
		}
	}
}

// shortNames returns the short names that a folder gives to names, those that
// have a long name with a star.
func shortNames(t *testing.T, names []string) []string {
	t.Helper()
	var nodes []*node
	for _, name := range names {
		long, err := encodeName(name)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, &node{name: name, long: long})
	}
	if err := shorten(nodes); err != nil {
		t.Fatal(err)
	}
	var short []string
	for _, n := range nodes {
		s := n.short.String()
		if n.long != nil {
			s += " *"
		} else if s != n.name {
			t.Errorf("%s has the short name %s only", n.name, s)
		}
		short = append(short, s)
	}
	return short
}

func TestShortNames(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"PLAIN.TXT", "PLAIN.TXT"}, {"plain.txt", "plain.txt"}, {"UPPER.low", "UPPER.low"}, {"12345678.123", "12345678.123"},
		{"MiXed.txt", "MIXED.TXT *"}, {".dot", "DOT~1 *"}, {"a b", "AB~1 *"}, {"a+b,c;d=e[f]", "A_B_C_~1 *"},
		{"two.dots.txt", "TWODOT~1.TXT *"}, {"long.extension", "LONG~1.EXT *"}, {"nine-char", "NINE-C~1 *"},
		{"snow☃man", "SNOW_M~1 *"}, {"日本語", "___~1 *"}, {"a.☃", "A~1._ *"}, {"ı", "_~1 *"}, {"\x7f", "_~1 *"}, {"no.ext.", ""},
		{"x.y z", "X~1.YZ *"}, {" lead", "LEAD~1 *"}, {"..a", "A~1 *"}, {"....", ""}, {"a. b.c", "AB~1.C *"},
	} {
		if tt.want == "" {
			if _, err := encodeName(tt.name); err == nil {
				t.Errorf("%q was accepted", tt.name)
			}
			continue
		}
		if got := shortNames(t, []string{tt.name}); got[0] != tt.want {
			t.Errorf("%q became %q, not %q", tt.name, got[0], tt.want)
		}
	}
	names := []string{"name too long", "NAMETO~2", "name to be", "NAMETO~1.X", "name to be.x"}
	want := []string{"NAMETO~1 *", "NAMETO~2", "NAMETO~3 *", "NAMETO~1.X", "NAMETO~2.X *"}
	if diff := cmp.Diff(want, shortNames(t, names)); diff != "" {
		t.Errorf("short names (-want +got):\n%s", diff)
	}
}

// Short names stay different, however alike the names are, and are found fast.
func TestManyShortNames(t *testing.T) {
	for _, prefix := range []string{"a common prefix ", "x", "日本 "} {
		var names []string
		for i := range 20000 {
			names = append(names, fmt.Sprintf("%s%d and more.efi", prefix, i))
		}
		// These begin alike only when they are cut further.
		for i := range 20000 {
			names = append(names, fmt.Sprintf("%s%c%c %d", prefix, 'A'+i%26, 'A'+i/26%26, i))
		}
		seen := map[string]bool{}
		for _, s := range shortNames(t, names) {
			if seen[s] {
				t.Fatalf("%s is there twice", s)
			}
			seen[s] = true
			base, _, _ := strings.Cut(strings.TrimSuffix(s, " *"), ".")
			if len(base) > 8 {
				t.Fatalf("%s is too long", s)
			}
		}
	}
}
