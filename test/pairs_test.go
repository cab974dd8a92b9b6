//go:build integration

package test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/config/configtest"
)

// What test/regenerate asks for.
var (
	update   = flag.Bool("update", false, "store what the reference says as the expected side of the pairs")
	onlyPair = flag.String("pair", "", "the name of the only pair to look at")
	keepKeys = flag.String("keys", "", "keys to keep of the images of that pair in addition, separated by commas")
)

// checkWant holds the stored side of a pair against what the reference says.
func checkWant(t *testing.T, p *configtest.Pair, theirs summary, tree string) {
	t.Helper()
	name, _ := p.Want()
	switch {
	case name == "":
		t.Errorf("there is no expected side: run test/regenerate %s KEY...", p.Name)
	case name == configtest.WantError && !theirs.failed:
		t.Error("an error is stored, and the reference reads it: say why in configDiffers")
	case name == configtest.WantJSON && theirs.failed:
		t.Errorf("values are stored, and the reference fails: %s", theirs.stderr)
	case name == configtest.WantJSON:
		want := wantImages(t, p, tree)
		if diff := cmp.Diff(configtest.Select(theirs.images, want), want); diff != "" {
			t.Errorf("what is stored differs from the reference: %s", diff)
		}
	}
}

// wantImages reads the stored side. Random seeds are not compared.
func wantImages(t *testing.T, p *configtest.Pair, tree string) []map[string]any {
	t.Helper()
	want, err := p.WantImages(tree)
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range want {
		if img["Seed"] == configtest.RandomSeed {
			delete(img, "Seed")
		}
	}
	return want
}

// storeWant writes what the reference says as the expected side, if that is not what is stored: the keys that are there
// already, and those asked for. The text of an error is ours; the package's own test writes it.
func storeWant(t *testing.T, p *configtest.Pair, theirs summary, tree string) {
	t.Helper()
	name, _ := p.Want()
	var stored []map[string]any
	switch {
	case theirs.failed && name == configtest.WantError:
		return
	case theirs.failed:
		if err := p.SetWant(configtest.WantError, ""); err != nil {
			t.Fatal(err)
		}
		return
	case name == configtest.WantError && *keepKeys == "":
		t.Fatal("an error is stored, and the reference reads it: say why in configDiffers, or name keys to keep")
	case name == configtest.WantJSON:
		var err error
		if stored, err = p.WantImages(tree); err != nil {
			t.Fatal(err)
		}
	}
	wanted := make([]map[string]any, len(theirs.images))
	for i := range wanted {
		wanted[i] = map[string]any{"Image": nil}
		if i < len(stored) {
			wanted[i] = maps.Clone(stored[i])
		}
		for key := range strings.SplitSeq(*keepKeys, ",") {
			if _, ok := theirs.images[i][key]; key != "" && !ok {
				t.Fatalf("the reference has no key %s", key)
			} else if key != "" {
				wanted[i][key] = nil
			}
		}
	}
	images := configtest.Select(theirs.images, wanted)
	for i := range min(len(images), len(stored)) {
		if stored[i]["Seed"] == configtest.RandomSeed {
			images[i]["Seed"] = configtest.RandomSeed
		}
	}
	if cmp.Equal(images, stored) {
		return
	}
	text := strings.ReplaceAll(formatImages(t, images), tree, "$DIR")
	if err := p.SetWant(configtest.WantJSON, text); err != nil {
		t.Fatal(err)
	}
}

// formatImages writes the keys of images in order, the name first.
func formatImages(t *testing.T, images []map[string]any) string {
	t.Helper()
	var parts []string
	for _, img := range images {
		var lines []string
		for _, key := range slices.SortedFunc(maps.Keys(img), func(a, b string) int {
			if first := map[string]int{"Image": -1}; first[a] != first[b] {
				return first[a] - first[b]
			}
			return strings.Compare(a, b)
		}) {
			var value bytes.Buffer
			e := json.NewEncoder(&value)
			e.SetEscapeHTML(false)
			e.SetIndent("  ", " ")
			if err := e.Encode(img[key]); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, `  "`+key+`": `+strings.TrimSpace(value.String()))
		}
		parts = append(parts, " {\n"+strings.Join(lines, ",\n")+"\n }")
	}
	return "[\n" + strings.Join(parts, ",\n") + "\n]\n"
}
