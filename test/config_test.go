//go:build integration

package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/config/configtest"
)

// configDiffers names the trees that are read differently than by the reference, and why.
var configDiffers = map[string]string{
	"unknown-setting":              "the reference warns of a misspelt setting and goes on",
	"unknown-section":              "the reference passes over an unknown section",
	"uki-profile-unknown-setting":  "the reference warns of a misspelt setting and goes on",
	"minimum-version-commit":       "the reference refuses a commit when it does not run from a checkout",
	"image-named-main":             "the reference builds two images of the same name",
	"subimages-do-not-share-local": "the reference lets local settings of one subimage leak into the next",
}

// TestConfigReference has the reference and the program under test read every tree that the package's own tests read,
// in the reference's root so that both see the same machine. It compares all keys of all images, and holds the expected
// sides that are stored against what the reference says. With -update it stores that instead, see test/regenerate.
func TestConfigReference(t *testing.T) {
	pairs, err := configtest.Pairs(filepath.Join(project, "internal/config/testdata/load"))
	if err != nil {
		t.Fatal(err)
	}
	if *onlyPair != "" {
		pairs = slices.DeleteFunc(pairs, func(p *configtest.Pair) bool { return p.Name != *onlyPair })
	}
	if len(pairs) == 0 {
		t.Fatalf("there is no pair %s", *onlyPair)
	}
	dir, err := os.MkdirTemp(sharedDir, "pairs-")
	if err != nil {
		t.Fatal(err)
	}
	readPairs(t, dir, pairs)
	for _, p := range pairs {
		t.Run(p.Name, func(t *testing.T) {
			tree := filepath.Join(dir, p.Name, "t")
			ours, theirs := readSummary(t, tree+".ours"), readSummary(t, tree+".mkosi")
			diff := compareSummaries(theirs, ours)
			_, known := configDiffers[p.Name]
			switch {
			case *update && !known:
				storeWant(t, p, theirs, tree)
				return
			case diff != "" && !known:
				t.Error(diff)
			case diff == "" && known:
				t.Error("there is no difference any more: take it off the list")
			}
			if !known {
				checkWant(t, p, theirs, tree)
			}
		})
	}
}

// readPairs has both programs read every pair.
func readPairs(t *testing.T, dir string, pairs []*configtest.Pair) {
	t.Helper()
	writeFile(t, filepath.Join(dir, "ours"), readFile(t, binary), 0o755)
	var commands []string
	for _, p := range pairs {
		tree := filepath.Join(dir, p.Name, "t")
		if err := p.Extract(tree); err != nil {
			t.Fatal(err)
		}
		// The words after two dashes are the verb's and come last.
		arguments := "--json summary"
		for _, arg := range p.Args {
			arguments += " '" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		var script strings.Builder
		fmt.Fprintf(&script, "cd %s\n", tree)
		for who, program := range map[string]string{"ours": filepath.Join(dir, "ours"), "mkosi": "mkosi"} {
			fmt.Fprintf(&script, "%s %s >%s.%s 2>%[3]s.%[4]s.err; echo $? >%[3]s.%[4]s.code\n", program, arguments, tree, who)
		}
		writeFile(t, filepath.Join(dir, p.Name, "script"), []byte(script.String()), 0o644)
		commands = append(commands, "bash "+p.Name+"/script")
	}
	inReference(t, dir, "true", commands)
}

// summary is what a program said about a configuration.
type summary struct {
	failed bool
	images []map[string]any
	stderr string
}

// readSummary reads the images of a summary without what is random and without built-in images.
func readSummary(t *testing.T, path string) summary {
	t.Helper()
	s := summary{stderr: string(readFile(t, path+".err"))}
	if code := strings.TrimSpace(string(readFile(t, path+".code"))); code != "0" {
		s.failed = true
		return s
	}
	images, err := configtest.Images(readFile(t, path))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for _, img := range images {
		if seed, _ := img["Seed"].(string); !strings.HasPrefix(seed, "11111111-2222") {
			delete(img, "Seed")
		}
	}
	s.images = images
	return s
}

func compareSummaries(theirs, ours summary) string {
	if ours.failed != theirs.failed {
		return "one of them fails and the other does not:\n" + ours.stderr + theirs.stderr
	}
	return cmp.Diff(theirs.images, ours.images)
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
