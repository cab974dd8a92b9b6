package config

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/mkosi-go/mkosi/internal/host"
)

var update = flag.Bool("update", false, "write the error messages and golden files that are expected")

// testHost is the machine that the expected values were observed on.
func testHost() host.Facts {
	return host.Facts{
		Distribution: "debian", Codename: "forky", Architecture: "x86-64", CPUs: 2,
		SystemdVersion: func() string { return "262" },
		CACertificates: "/etc/ssl/certs/ca-certificates.crt",
		Environment:    map[string]string{}, Home: "/root",
		HomeOf: func(name string) string { return map[string]string{"root": "/root", "nobody": "/nonexistent"}[name] },
	}
}

func load(t *testing.T, dir string, args ...string) (*Config, error) {
	t.Helper()
	return Load(context.Background(), LoadOptions{Args: args, Dir: dir, Host: testHost(), Rand: strings.NewReader(strings.Repeat("x", 1<<12)),
		Run: func(_ context.Context, path string) ([]byte, error) {
			data, err := os.ReadFile(path)
			if strings.Contains(string(data), "exit") {
				return nil, errors.New("exit status 3")
			}
			_, word, _ := strings.Cut(string(data), "echo ")
			return []byte(word[:1] + "\n"), err
		}})
}

// TestLoad reads the trees of testdata/load. Each archive holds a tree, the
// command line and file modes in its comment, and either want.json, the keys
// to compare of each image in order, or want.error, the message. The values
// were observed on the reference.
func TestLoad(t *testing.T) {
	paths, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("found no archives: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir, args := extract(t, archive)
			c, err := load(t, dir, args...)
			want := &archive.Files[len(archive.Files)-1]
			switch want.Name {
			case "want.error":
				if err == nil {
					t.Fatal("there is no error")
				}
				got := message(err, dir)
				if *update {
					want.Data = []byte(got)
					if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if diff := cmp.Diff(string(want.Data), got); diff != "" {
					t.Error(diff)
				}
			case "want.json":
				if err != nil {
					t.Fatal(message(err, dir))
				}
				compareJSON(t, c, strings.ReplaceAll(string(want.Data), "$DIR", dir))
			default:
				t.Fatalf("the last file is %s", want.Name)
			}
		})
	}
}

// message is what a person would see.
func message(err error, dir string) string {
	text := "error: " + err.Error() + "\n"
	var e *Error
	if errors.As(err, &e) && e.Hint != "" {
		text += "hint: " + e.Hint + "\n"
	}
	return strings.ReplaceAll(text, dir, "$DIR")
}

func extract(t *testing.T, archive *txtar.Archive) (dir string, args []string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "t") // the default of Machine=
	mkdir := func(path string) {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mkdir(dir)
	modes := map[string]os.FileMode{}
	for line := range strings.Lines(string(archive.Comment)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "args":
			if err := json.Unmarshal([]byte(value), &args); err != nil {
				t.Fatal(err)
			}
		case "dir":
			mkdir(filepath.Join(dir, value))
		case "mode":
			mode, name, _ := strings.Cut(value, " ")
			modes[name] = map[string]os.FileMode{"0600": 0o600, "0755": 0o755}[mode]
		default:
			t.Fatalf("unknown line %q", line)
		}
	}
	for _, f := range archive.Files {
		if strings.HasPrefix(f.Name, "want.") {
			continue
		}
		path := filepath.Join(dir, f.Name)
		mkdir(filepath.Dir(path))
		mode := modes[f.Name]
		if mode == 0 {
			mode = 0o644
		}
		if err := os.WriteFile(path, f.Data, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir, args
}

func compareJSON(t *testing.T, c *Config, want string) {
	t.Helper()
	data, err := JSON(c)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Images []map[string]any }
	var wanted []map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		t.Fatal(err)
	}
	var seen []map[string]any
	for _, img := range got.Images {
		if img["Image"] == defaultInitrdName {
			continue // what is in it is not this package's affair
		}
		part := map[string]any{"Image": img["Image"]}
		if i := len(seen); i < len(wanted) {
			for key := range wanted[i] {
				part[key] = img[key]
			}
		}
		seen = append(seen, part)
	}
	if diff := cmp.Diff(wanted, seen); diff != "" {
		t.Error(diff)
	}
}

func TestLimits(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var e *Error

	write("mkosi.conf", strings.Repeat("# long\n", 200_000))
	if _, err := load(t, dir); !errors.As(err, &e) || !strings.Contains(e.Msg, "larger than") {
		t.Errorf("a large file: got %v", err)
	}

	write("mkosi.conf", "[Output]\nImageVersion=aaaaaaaa\n"+strings.Repeat("ImageVersion=%v%v\n", 60))
	if _, err := load(t, dir); !errors.As(err, &e) || e.Line == 0 || !strings.Contains(e.Msg, "too long") {
		t.Errorf("a value that doubles: got %v", err)
	}

	write("mkosi.conf", "")
	if err := os.MkdirAll(filepath.Join(dir, strings.Repeat("mkosi.conf.d/a/", maxDepth)), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, dir); !errors.As(err, &e) || !strings.Contains(e.Msg, "without end") {
		t.Errorf("directories without end: got %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Load(ctx, LoadOptions{Dir: dir, Host: testHost()}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestRandomSeeds(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(t.Context(), LoadOptions{Dir: dir, Host: testHost(), Rand: strings.NewReader("short")}); err == nil {
		t.Error("a source that runs dry is no error")
	}
	a, err := Load(t.Context(), LoadOptions{Dir: dir, Host: testHost()})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Load(t.Context(), LoadOptions{Dir: dir, Host: testHost()})
	if err != nil {
		t.Fatal(err)
	}
	if a.Main().Seed == b.Main().Seed {
		t.Error("two runs have the same random seed")
	}
}

func TestExecutableWithoutRunner(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mkosi.version"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, err := Load(t.Context(), LoadOptions{Dir: dir, Host: testHost()}); !errors.As(err, &e) || e.Setting != "ImageVersion" {
		t.Errorf("got %v", err)
	}
}
