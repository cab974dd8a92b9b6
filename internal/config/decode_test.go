package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// everything gives each setting a value that is not its default, by options.
func everything(t *testing.T) (dir string, args []string) {
	t.Helper()
	dir = t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("file", "[UKIProfile]\nProfile=ID=x\nCmdline=a b\n")
	write("dir/x", "")
	write("mkosi.images/file.conf", "")
	for _, s := range Settings() {
		if s.into == "" && s.Name != "Include" && s.Name != "History" {
			args = append(args, "--"+s.Long, sampleValue(s))
		}
	}
	return dir, args
}

func TestImageJSONRoundTrip(t *testing.T) {
	dir, args := everything(t)
	c, err := load(t, dir, append(args, "summary")...)
	if err != nil {
		t.Fatal(err)
	}
	img := c.Main()
	data, err := ImageJSON(img)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := load(t, t.TempDir(), "summary")
	if err != nil {
		t.Fatal(err)
	}
	got, err := empty.Main().WithJSON(data, Origin{Kind: FromScript, File: "script"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := ImageJSON(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(data), string(again)); diff != "" {
		t.Error(diff)
	}
	if o := got.Origin("Packages"); len(o) != 1 || o[0].File != "script" {
		t.Errorf("origin %v", o)
	}
}

func TestWithJSONRefuses(t *testing.T) {
	c, err := load(t, t.TempDir(), "summary")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"no object":           `[]`,
		"more than an object": `{} {}`,
		"unknown setting":     `{"Pakcages": []}`,
		"wrong type":          `{"Packages": "a"}`,
		"unknown choice":      `{"Format": "sysxt"}`,
		"unknown feature":     `{"Bootable": "yes"}`,
		"unknown part":        `{"ExtraTrees": [{"Sauce": "/"}]}`,
		"half a password":     `{"RootPassword": ["x"]}`,
		"no UUID":             `{"Seed": "x"}`,
		"a number too large":  `{"OutputSize": 1e99}`,
	} {
		if _, err := c.Main().WithJSON([]byte(text), Origin{}); err == nil {
			t.Errorf("%s: there is no error", name)
		}
	}
}

func TestHistory(t *testing.T) {
	dir, args := everything(t)
	built, err := load(t, dir, append(args, "--history=yes", "build")...)
	if err != nil {
		t.Fatal(err)
	}
	data, err := built.HistoryJSON()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, HistoryPath)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	later, err := load(t, dir, "--image-id=other", "summary")
	if err != nil {
		t.Fatal(err)
	}
	a, _ := JSON(built)
	b, _ := JSON(later)
	if diff := cmp.Diff(string(a), string(b)); diff != "" {
		t.Errorf("a later verb sees something else: %s", diff)
	}
	if len(later.Warnings) != 1 || !strings.Contains(later.Warnings[0].Msg, "--image-id is ignored") {
		t.Errorf("warnings %v", later.Warnings)
	}
	if again, err := load(t, dir, "--image-id=other", "-f", "summary"); err != nil || again.Main().ImageId != "other" {
		t.Errorf("with --force the command line does not count: %v", err)
	}
	if err := os.WriteFile(path, []byte(`{"Nonsense": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, dir, "summary"); err == nil {
		t.Error("a broken history is no error")
	}
}
