package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShellWords(t *testing.T) {
	for in, want := range map[string][]string{
		"":                 nil,
		" a  b\n\tc ":      {"a", "b", "c"},
		`"a b" 'c d' e\ f`: {"a b", "c d", "e f"},
		`A="b c"d`:         {"A=b cd"},
		`"" ''`:            {"", ""},
		`"a\"b\\c\d"`:      {`a"b\c\d`},
		`'a\b'`:            {`a\b`},
	} {
		got, err := shellWords(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", in, diff)
		}
	}
	for _, in := range []string{`"a`, `'`, `a\`} {
		if got, err := shellWords(in); err == nil {
			t.Errorf("%q: got %q and no error", in, got)
		}
	}
}

func FuzzShellWords(f *testing.F) {
	f.Add(`A="b c" 'd' e\ f`)
	f.Add(`"`)
	f.Fuzz(func(t *testing.T, in string) {
		words, err := shellWords(in)
		if err != nil {
			return
		}
		// Quoting the words gives the words again.
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
		}
		again, err := shellWords(strings.Join(quoted, " "))
		if err != nil || !slices.Equal(words, again) {
			t.Errorf("%q: %q, then %q, %v", in, words, again, err)
		}
	})
}

// FuzzValues feeds any text to the parser of any setting.
func FuzzValues(f *testing.F) {
	for i := range table {
		f.Add(i, "1G:a,b=c")
	}
	f.Fuzz(func(t *testing.T, i int, text string) {
		if i < 0 || i >= len(table) || text == "" || len(text) > 1000 {
			return
		}
		s := table[i]
		at := &place{dir: "/nonexistent", home: "/nonexistent", setting: s}
		v, err := s.kind.parse(at, nil, text)
		if err != nil || v == nil {
			return
		}
		jsonValue(v)
		plain(v)
		if again, err := s.kind.parse(at, v, text); err == nil && s.kind.collects() {
			s.kind.merge(v, again)
		}
	})
}

// FuzzLoad reads any configuration file.
func FuzzLoad(f *testing.F) {
	f.Add("[Match]\nDistribution=|debian\n[Content]\nPackages=a %d %%\n  b\n")
	f.Add("[Include]\nInclude=mkosi.conf\n[Build]\nEnvironment=A=\"b c\"\n")
	f.Add("[TriggerAssert]\nImageVersion=>=1~\n[Output]\nOutput=%o%v\nImageVersion=%v%v\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, conf string) {
		if strings.Contains(conf, "/") { // stay in the directory
			return
		}
		if err := os.WriteFile(filepath.Join(dir, "mkosi.conf"), []byte(conf), 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := load(t, dir, "summary")
		if err != nil {
			return
		}
		if _, err := JSON(c); err != nil {
			t.Error(err)
		}
		for _, img := range c.Images {
			Unsupported(img)
		}
	})
}

func TestNearest(t *testing.T) {
	names := settingNames("")
	for in, want := range map[string]string{"Pakcages": "Packages", "Hostnam": "Hostname", "packages": "Packages", "Zebra": "", "x": ""} {
		if got := nearest(in, names); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestResolvePath(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"rel": "a/b", "abs": dir + "/c", "loop": "loop", "up": "../.."} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for in, want := range map[string]string{
		"/x/../y":          "/y",
		"/../..":           "/",
		"//x/./y/":         "/x/y",
		dir + "/rel/../z":  dir + "/a/z",
		dir + "/abs/x":     dir + "/c/x",
		dir + "/absent/..": dir,
		dir + "/loop/x":    dir + "/loop/x",
		dir + "/up":        filepath.Dir(filepath.Dir(dir)),
	} {
		if got := resolvePath(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
