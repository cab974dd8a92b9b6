package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/mkosi-go/mkosi/internal/spelling"
)

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
