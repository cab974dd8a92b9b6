package repart

import (
	"strings"
	"testing"

	"github.com/google/uuid"
)

func TestExpand(t *testing.T) {
	o := testOptions()
	for s, want := range map[string]string{
		"%a %A %B %M %o %w %W": "arm64 7%  snow debian 13 ",
		"%m":                   "0123456789abcdef0123456789abcdef",
		"%T%V":                 "/tmp/var/tmp",
		"100%%":                "100%",
		"100%":                 "100%",
		"% a%-":                "% a%-",
		"%%a":                  "%a",
	} {
		if got, err := o.expand(s); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", s, got, err, want)
		}
	}
	for _, s := range []string{"%b", "%H", "%l", "%q", "%v", "%x", "%t", "%U", "%0"} {
		if got, err := o.expand(s); err == nil {
			t.Errorf("%q: got %q and no error", s, got)
		}
	}
	none := Options{}
	for _, s := range []string{"%A", "%o", "%m"} {
		if got, err := none.expand(s); err == nil || !strings.Contains(err.Error(), "specifier "+s) {
			t.Errorf("%q without a system: got %q, %v", s, got, err)
		}
	}
}

// Split names are what systemd-repart makes of them.
func TestExpandSplitName(t *testing.T) {
	home, err := ParsePartitionType("home", "")
	if err != nil {
		t.Fatal(err)
	}
	p := FinishedPartition{Type: home, UUID: uuid.MustParse("93510cbc-15af-4cc4-bb70-54b41f94b708"), Number: 1}
	o := testOptions()
	for s, want := range map[string]string{
		"":                  "home",
		"-":                 "",
		"%t.%T.%U.%n.%%.%o": "home.933ac7e12eb44f13b8440e14e2aef915.93510cbc15af4cc4bb7054b41f94b708.0.%.debian",
		"%A":                "7%",
		"x%":                "x%",
		"snow_@v.root.raw":  "snow_@v.root.raw",
		"..":                "..",
	} {
		late, err := o.expandSplitName(s)
		if err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		if got, err := ExpandSplitName(late, p); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", s, got, err, want)
		}
	}
}
