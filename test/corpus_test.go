//go:build integration

package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/config/configtest"
	"github.com/mkosi-go/mkosi/internal/host"
)

// corpusCases is how many cases there are, so that none gets lost.
const corpusCases = 106

// corpusCase is one way to read a configuration tree, and what the reference said.
type corpusCase struct {
	Args []string
	Dir  string // below the tree
	RC   int
	JSON struct{ Images []map[string]any }
}

// passedDown are the keys that are compared of images that a program describes itself: what the tree's own configuration
// passes down to them.
var passedDown = []string{
	"Architecture", "CacheDirectory", "CacheOnly", "Distribution", "Format", "Image", "ImageId", "ImageVersion", "Incremental",
	"Mirror", "Output", "OutputDirectory", "PackageCacheDirectory", "Profiles", "ProxyUrl", "Release", "Repositories",
	"RepositoryKeyCheck", "SandboxTrees", "Snapshot", "SourceDateEpoch", "ToolsTree", "WithNetwork",
}

// TestCorpus reads configuration trees of real projects and compares every key of every image with what the reference
// said about them. The host that the reference saw is injected, so that neither the reference nor root is needed.
func TestCorpus(t *testing.T) {
	dir := os.Getenv("MKOSI_CORPUS")
	if dir == "" {
		dir = filepath.Join(project, "../shared/reference/corpus")
	}
	expected, err := filepath.Glob(filepath.Join(dir, "*.expect.json"))
	if err != nil || len(expected) == 0 {
		t.Fatalf("there is no corpus in %s: put it there or name its directory in $MKOSI_CORPUS", dir)
	}
	total := 0
	for _, path := range expected {
		var cases []corpusCase
		if err := json.Unmarshal(readFile(t, path), &cases); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		total += len(cases)
		tree, err := filepath.EvalSymlinks(strings.TrimSuffix(path, ".expect.json"))
		if err != nil {
			t.Fatal(err)
		}
		random := randomSeeds(cases)
		for _, c := range cases {
			name := strings.Join(append([]string{filepath.Base(tree), c.Dir}, c.Args...), " ")
			t.Run(name, func(t *testing.T) { compareCase(t, tree, c, random) })
		}
	}
	if total != corpusCases {
		t.Errorf("the corpus has %d cases, not %d", total, corpusCases)
	}
}

// randomSeeds returns the seeds that occur in one case only. A configured one is in many.
func randomSeeds(cases []corpusCase) map[any]bool {
	count := map[any]int{}
	for _, c := range cases {
		seeds := map[any]bool{}
		for _, img := range c.JSON.Images {
			seeds[img["Seed"]] = true
		}
		for seed := range seeds {
			count[seed]++
		}
	}
	random := map[any]bool{}
	for seed, n := range count {
		random[seed] = n < 2
	}
	return random
}

func compareCase(t *testing.T, tree string, c corpusCase, random map[any]bool) {
	got, err := corpusImages(t, tree, c)
	if (err != nil) != (c.RC != 0) {
		t.Fatalf("exit status %d of the reference, error here: %v", c.RC, err)
	}
	if err != nil {
		return
	}
	if diff := cmp.Diff(imageNames(c.JSON.Images), imageNames(got)); diff != "" {
		t.Fatalf("images: %s", diff)
	}
	for i, want := range c.JSON.Images {
		compareImage(t, want, got[i], random)
	}
}

// corpusImages reads a tree and returns the images of the JSON summary, with the tree's path as the corpus spells it.
func corpusImages(t *testing.T, tree string, c corpusCase) ([]map[string]any, error) {
	cfg, err := config.Load(t.Context(), config.LoadOptions{
		Args: append([]string{"--json"}, append(slices.Clone(c.Args), "summary")...),
		Dir:  filepath.Join(tree, c.Dir), Host: configtest.Host(), Run: host.Output,
	})
	if err != nil {
		return nil, err
	}
	data, err := config.JSON(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Images []map[string]any }
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(data), tree, "@TREE@")), &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Images, nil
}

func imageNames(images []map[string]any) []string {
	var names []string
	for _, img := range images {
		names = append(names, fmt.Sprint(img["Image"]))
	}
	return names
}

func compareImage(t *testing.T, want, got map[string]any, random map[any]bool) {
	t.Helper()
	keys := slices.Sorted(maps.Keys(want))
	builtin := slices.Contains([]string{"default-initrd", "default-tools", "tools"}, fmt.Sprint(want["Image"]))
	if builtin {
		keys = slices.DeleteFunc(keys, func(key string) bool { return !slices.Contains(passedDown, key) })
	} else {
		for key := range got {
			if _, ok := want[key]; !ok {
				t.Errorf("%s: the reference has no key %s", want["Image"], key)
			}
		}
	}
	for _, key := range keys {
		if key == "Seed" && random[want[key]] {
			continue
		}
		g, ok := got[key]
		if !ok {
			t.Errorf("%s: there is no key %s", want["Image"], key)
			continue
		}
		w := want[key]
		if key == "Files" { // where the built-in files lie is each program's own affair
			w, g = filesOfTree(w), filesOfTree(g)
		}
		if !reflect.DeepEqual(w, g) {
			t.Errorf("%s: %s: %s", want["Image"], key, cmp.Diff(w, g))
		}
	}
}

func filesOfTree(list any) any {
	files, _ := list.([]any)
	return slices.DeleteFunc(slices.Clone(files), func(f any) bool { return !strings.HasPrefix(fmt.Sprint(f), "@TREE@") })
}
