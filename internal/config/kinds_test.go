package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/spelling"
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

func TestNearest(t *testing.T) {
	names := settingNames("")
	for in, want := range map[string]string{"Pakcages": "Packages", "Hostnam": "Hostname", "packages": "Packages", "Zebra": "", "x": ""} {
		if got := spelling.Nearest(in, names); got != want {
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
		if got := links(nil).resolve(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
