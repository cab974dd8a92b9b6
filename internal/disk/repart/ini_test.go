package repart

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Lines are joined, and comments passed over, as systemd-repart does it.
func TestScan(t *testing.T) {
	for text, want := range map[string][]string{
		"Label=a\\\nb\n":                                         {"2 Label=a b"},
		"Label=a\\\n   b\n":                                      {"2 Label=a    b"},
		"Label=a \\\n# comment\n ; comment\n b\n":                {"2 Label=a   b"},
		"Label=\\\n# comment\nx\n":                               {"2 Label=x"},
		"# comment \\\nLabel=x\n":                                {"3 Label=x"},
		"Label=a\\\n\nLabel=b\n":                                 {"2 Label=a", "4 Label=b"},
		"Label=a\\":                                              {"2 Label=a"},
		"Label=a\\\\\nLabel=b\n":                                 {`2 Label=a\\`, "3 Label=b"},
		"Label=a\\\\\\\nb\n":                                     {`2 Label=a\\ b`},
		"Label=a\\ \nLabel=b\n":                                  {`2 Label=a\`, "3 Label=b"},
		"Label=a\\b\\\\c\n":                                      {`2 Label=a\b\\c`},
		"La\\\nbel=x\n":                                          {"2 La bel=x"},
		"Label\\\n=x\n":                                          {"2 Label=x"},
		"Label=x\\\n[Other]\nUUID=null\n":                        {"2 Label=x [Other]", "4 UUID=null"},
		"   Label \t = \t a b  \n":                               {"2 Label=a b"},
		"Label=a=b\nLabel=\"a b\"\nLabel=#a\n":                   {"2 Label=a=b", `3 Label="a b"`, "4 Label=#a"},
		"Label=a\r\nUUID=null\rFlags=1\n":                        {"2 Label=a", "3 UUID=null", "4 Flags=1"},
		"  [X-Foo]  \nhello\n[Partition]\nX-a\nX-b=c\nLabel=a\n": {"7 Label=a"},
		"# \xff\nLabel=a\n":                                      {"3 Label=a"},
		"Label=a\v\n":                                            {"2 Label=a\v"},
	} {
		log := &problems{}
		var got []string
		for _, a := range scan("10.conf", "[Partition]\n"+text, log) {
			got = append(got, strings.Join([]string{string(rune('0' + a.line)), a.key + "=" + a.value}, " "))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		if log.err() != nil && !strings.Contains(text, "X-a") {
			t.Errorf("%q: %v", text, log.err())
		}
	}
}

// A file of nothing but continued lines takes time in proportion to its size.
func TestScanLong(t *testing.T) {
	text := "[Partition]\nLabel=" + strings.Repeat("a\\\n", maxDefinitionSize/3)
	found := scan("10.conf", text, &problems{})
	if len(found) != 1 || len(found[0].value) < maxDefinitionSize/2 {
		t.Errorf("got %d assignments", len(found))
	}
}
