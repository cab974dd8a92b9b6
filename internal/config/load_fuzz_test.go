package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/mkosi-go/mkosi/internal/config/configtest"
	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

// loadBound is what reading a whole configuration may cost. The settings of
// each image, of which a few bytes can make one, are kept in some hundred
// kilobytes.
var loadBound = fuzztest.Bound{Base: 16 << 20, PerByte: 64 << 10}

// FuzzLoad reads any tree of configuration files, twice: the second time
// must give the same.
func FuzzLoad(f *testing.F) {
	pairs, err := configtest.Pairs("testdata/load")
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range pairs {
		data, err := os.ReadFile(p.Path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	// Nothing outside of the tree is looked at.
	outside := regexp.MustCompile(`(^|[^A-Za-z0-9])/|\.\.|~`)
	dir := fuzztest.MemoryDir(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 16<<10 || bytes.Contains(data, []byte("-- --")) { // which the archive's parser stumbles over
			return
		}
		p, err := configtest.NewPair(txtar.Parse(data))
		if err != nil || outside.Match(data) {
			return
		}
		tree := filepath.Join(dir, "t")
		defer os.RemoveAll(tree)
		if err := p.Extract(tree); err != nil { // a file is in the way of a directory, or its name is too long
			return
		}
		var first, second string
		loadBound.Check(t, len(data), func() { first = loadText(t, tree, p.Args) })
		loadBound.Check(t, len(data), func() { second = loadText(t, tree, p.Args) })
		if first != second {
			t.Errorf("the second time gives something else:\n%s\n%s", first, second)
		}
	})
}

// loadText loads a tree and shows all that can be shown of it.
func loadText(t *testing.T, dir string, args []string) string {
	c, err := load(t, dir, args...)
	Check(c, err)
	if err != nil {
		return message(err, dir)
	}
	data, err := JSON(c)
	if err != nil || !json.Valid(data) {
		t.Fatalf("JSON: %v", err)
	}
	var b strings.Builder
	if len(c.Images) > 0 {
		fmt.Fprint(&b, Summarize(c, true))
		texts, err := Texts(c)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(&b, texts)
		Explain(c, Lookup("Packages"))
	}
	for _, img := range c.Images {
		Unsupported(img)
	}
	return string(data) + b.String()
}

// FuzzSpecifiers expands specifiers, in a value that others use in turn.
func FuzzSpecifiers(f *testing.F) {
	f.Add("%d %r %a %t %o %O %i %v %C %P %D %I %F %% %")
	f.Add("%v%v")
	f.Add("%x% %")
	f.Add(strings.Repeat("%v", 1000))
	dir := fuzztest.MemoryDir(f)
	f.Fuzz(func(t *testing.T, value string) {
		if strings.ContainsAny(value, "\n#/") || len(value) > 1000 {
			return
		}
		conf := "[Output]\nImageId=a\nImageVersion=1\nImageVersion=" + value + "\nImageVersion=" + value + "\n[Content]\nKernelCommandLine=" + value + "\n"
		if err := os.WriteFile(filepath.Join(dir, "mkosi.conf"), []byte(conf), 0o644); err != nil {
			t.Fatal(err)
		}
		loadBound.Check(t, len(conf), func() { loadText(t, dir, nil) })
	})
}
