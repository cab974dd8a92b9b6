package config

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/mkosi-go/mkosi/internal/config/configtest"
	"github.com/mkosi-go/mkosi/internal/host"
)

var update = flag.Bool("update", false, "write the error messages and golden files that are expected")

// testHost is the machine that the expected values were observed on.
func testHost() host.Facts { return configtest.Host() }

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

// TestLoad reads the pairs of testdata/load: each configuration has to mean
// what its expected side says, which was observed on the reference.
func TestLoad(t *testing.T) {
	pairs, err := configtest.Pairs("testdata/load")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pairs {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			dir := extractPair(t, p)
			c, err := load(t, dir, p.Args...)
			switch name, want := p.Want(); name {
			case configtest.WantError:
				if err == nil {
					t.Fatal("there is no error")
				}
				got := message(err, dir)
				if *update {
					if err := p.SetWant(name, got); err != nil {
						t.Fatal(err)
					}
					_, want = p.Want()
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			case configtest.WantJSON:
				if err != nil {
					t.Fatal(message(err, dir))
				}
				compareJSON(t, c, p, dir)
			default:
				t.Fatal("there is no expected side: test/regenerate makes it")
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

// extract writes a configuration into a new directory.
func extract(t *testing.T, archive *txtar.Archive) (dir string, args []string) {
	t.Helper()
	p, err := configtest.NewPair(archive)
	if err != nil {
		t.Fatal(err)
	}
	return extractPair(t, p), p.Args
}

func extractPair(t *testing.T, p *configtest.Pair) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "t") // the default of Machine=
	if err := p.Extract(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func compareJSON(t *testing.T, c *Config, p *configtest.Pair, dir string) {
	t.Helper()
	data, err := JSON(c)
	if err != nil {
		t.Fatal(err)
	}
	want, err := p.WantImages(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := configtest.Images(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, configtest.Select(got, want)); diff != "" {
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

	pipe := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(pipe, "mkosi.conf"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, pipe); !errors.As(err, &e) || !strings.Contains(e.Msg, "not a regular file") {
		t.Errorf("a pipe: got %v", err)
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
