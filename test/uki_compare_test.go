//go:build integration

package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/efi/pcr"
	"github.com/mkosi-go/mkosi/internal/efi/pe"
)

// compareUKI compares images section by section, byte for byte but for the policies, of which ours may have more.
func compareUKI(t *testing.T, theirs, ours string) {
	t.Helper()
	sections := func(name string) (names []string, contents [][]byte) {
		b := readFile(t, name)
		f, err := pe.Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range f.Sections {
			names, contents = append(names, s.Name), append(contents, b[s.Offset:][:s.Used()])
		}
		return names, contents
	}
	names, want := sections(theirs)
	ourNames, got := sections(ours)
	if diff := cmp.Diff(names, ourNames); diff != "" {
		t.Fatalf("theirs and ours differ:\n%s", diff)
	}
	if !slices.Contains(names, ".pcrsig") || !slices.Contains(names, ".hwids") {
		t.Errorf("the reference has made an image without policies or machines, of %s", names)
	}
	for i, name := range names {
		if name == ".pcrsig" {
			comparePolicies(t, want[i], got[i])
		} else if !bytes.Equal(got[i], want[i]) {
			t.Errorf("section %s is %.200q, the reference's is %.200q", name, got[i], want[i])
		}
	}
}

// comparePolicies finds the policies of the reference among ours, byte for byte. Ours are for all banks.
func comparePolicies(t *testing.T, theirs, ours []byte) {
	t.Helper()
	parse := func(text []byte) (banks map[string][]json.RawMessage) {
		if err := json.Unmarshal(text, &banks); err != nil {
			t.Fatalf("%.200q: %v", text, err)
		}
		return banks
	}
	want, got := parse(theirs), parse(ours)
	if len(want) == 0 || len(got) != len(pcr.Banks()) {
		t.Errorf("the reference has policies for %d banks, ours are for %d", len(want), len(got))
	}
	for bank, list := range want {
		if diff := cmp.Diff(list, got[bank]); diff != "" {
			t.Errorf("policies for %s, theirs and ours:\n%s", bank, diff)
		}
		for other := range got {
			if len(got[other]) != len(list) {
				t.Errorf("there are %d policies for %s, and %d for %s", len(got[other]), other, len(list), bank)
			}
		}
	}
}

// saidSection is what a program says of a section.
type saidSection struct {
	name, sum string
	size      int64
}

// parseInspection reads what ukify inspect prints.
func parseInspection(t *testing.T, text string) (list []saidSection) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		name, ok := strings.CutSuffix(line, ":")
		switch {
		case ok && !strings.HasPrefix(line, " "):
			list = append(list, saidSection{name: name})
		case strings.HasPrefix(line, "  size: "):
			if _, err := fmt.Sscanf(line, "  size: %d bytes", &list[len(list)-1].size); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		case strings.HasPrefix(line, "  sha256: "):
			list[len(list)-1].sum = strings.TrimPrefix(line, "  sha256: ")
		}
	}
	return list
}

// compareInspections has ukify and mkosi inspect images that ukify has made and the same ones that are ours.
func compareInspections(t *testing.T, p *ukiParts, images []int) {
	t.Helper()
	script := ""
	for _, i := range images {
		script += fmt.Sprintf("ukify --all inspect %d.efi >%[1]d.said; ukify --all inspect ours-%[1]d.efi >ours-%[1]d.said; ", i)
	}
	must(t, reference(p.dir, "bash", "-euc", script))
	for _, i := range images {
		ours := p.text(t, fmt.Sprintf("ours-%d.said", i))
		if diff := cmp.Diff(p.text(t, fmt.Sprintf("%d.said", i)), ours); diff != "" {
			t.Errorf("ukify inspect, of its own image and of ours:\n%s", diff)
		}
		var list []saidSection
		for _, s := range inspectImage(t, filepath.Join(p.dir, fmt.Sprintf("ours-%d.efi", i))).Content.Program.Sections {
			list = append(list, saidSection{s.Name, s.SHA256.String(), s.Size})
		}
		if diff := cmp.Diff(parseInspection(t, ours), list, cmp.AllowUnexported(saidSection{})); diff != "" || len(list) < 10 {
			t.Errorf("ukify inspect and mkosi inspect:\n%s", diff)
		}
	}
}
