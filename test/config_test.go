//go:build integration

package test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// configDiffers names the trees that are read differently than by the reference, and why.
var configDiffers = map[string]string{
	"unknown-setting":              "the reference warns of a misspelt setting and goes on",
	"unknown-section":              "the reference passes over an unknown section",
	"uki-profile-unknown-setting":  "the reference warns of a misspelt setting and goes on",
	"image-named-main":             "the reference builds two images of the same name",
	"subimages-do-not-share-local": "the reference lets local settings of one subimage leak into the next",
	"epoch-from-environment":       "the reference documents that Environment= counts, and does not look there",
}

// TestConfigReference has the reference and the program under test read every tree that the package's own tests read,
// in the reference's root so that both see the same machine, and compares all keys of all images.
func TestConfigReference(t *testing.T) {
	archives, err := filepath.Glob(filepath.Join(project, "internal/config/testdata/load/*.txtar"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("no trees to read: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "work")
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "ours"), program, 0o755)
	var script strings.Builder
	for _, path := range archives {
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		tree := filepath.Join(dir, name, "t")
		var command []string
		for _, arg := range extractTree(t, path, tree) {
			command = append(command, "'"+strings.ReplaceAll(arg, "'", `'\''`)+"'")
		}
		// The words after two dashes are the verb's and come last.
		arguments := strings.Join(append([]string{"--json", "summary"}, command...), " ")
		for _, who := range []string{"ours", "mkosi"} {
			bin := map[string]string{"ours": filepath.Join(dir, "ours"), "mkosi": "mkosi"}[who]
			script.WriteString("(cd " + tree + " && " + bin + " " + arguments + ") >" + tree + "." + who + " 2>" + tree + "." + who + ".err; echo $? >" + tree + "." + who + ".code\n")
		}
	}
	writeFile(t, filepath.Join(dir, "script"), []byte(script.String()), 0o644)
	must(t, reference(dir, "bash", filepath.Join(dir, "script")))

	for _, path := range archives {
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		t.Run(name, func(t *testing.T) {
			tree := filepath.Join(dir, name, "t")
			ours, oursOK := readSummary(t, tree+".ours")
			theirs, theirsOK := readSummary(t, tree+".mkosi")
			diff := cmp.Diff(theirs, ours)
			if oursOK != theirsOK {
				diff = "one of them fails and the other does not:\n" + string(readFile(t, tree+".ours.err")) + string(readFile(t, tree+".mkosi.err"))
			}
			_, known := configDiffers[name]
			switch {
			case diff != "" && !known:
				t.Error(diff)
			case diff == "" && known:
				t.Error("there is no difference any more: take it off the list")
			}
		})
	}
}

// readSummary reads the images of a summary without what is random and without built-in images.
func readSummary(t *testing.T, path string) (images []map[string]any, ok bool) {
	t.Helper()
	code, err := strconv.Atoi(strings.TrimSpace(string(readFile(t, path+".code"))))
	if err != nil {
		t.Fatal(err)
	}
	if code != 0 {
		return nil, false
	}
	var doc struct{ Images []map[string]any }
	if err := json.Unmarshal(readFile(t, path), &doc); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	seeds := map[any]int{}
	for _, img := range doc.Images {
		seeds[img["Seed"]]++
	}
	for _, img := range doc.Images {
		if img["Image"] == "default-initrd" {
			continue
		}
		if seed, _ := img["Seed"].(string); !strings.HasPrefix(seed, "11111111-2222") {
			delete(img, "Seed")
		}
		images = append(images, maps.Clone(img))
	}
	return images, true
}

// extractTree writes the tree of an archive and returns the command line that belongs to it.
func extractTree(t *testing.T, path, dir string) (args []string) {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	modes := map[string]os.FileMode{}
	for line := range strings.Lines(string(archive.Comment)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "args":
			if err := json.Unmarshal([]byte(value), &args); err != nil {
				t.Fatal(err)
			}
		case "dir":
			if err := os.MkdirAll(filepath.Join(dir, value), 0o755); err != nil {
				t.Fatal(err)
			}
		case "mode":
			mode, name, _ := strings.Cut(value, " ")
			n, err := strconv.ParseUint(mode, 8, 32)
			if err != nil {
				t.Fatal(err)
			}
			modes[name] = os.FileMode(n)
		}
	}
	for _, f := range archive.Files {
		if slices.Contains([]string{"want.json", "want.error"}, f.Name) {
			continue
		}
		mode, ok := modes[f.Name]
		if !ok {
			mode = 0o644
		}
		writeFile(t, filepath.Join(dir, f.Name), f.Data, mode)
	}
	return args
}

func writeFile(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
