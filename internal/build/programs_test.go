package build

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/config"
)

func TestPlanNamesMissingPrograms(t *testing.T) {
	extension := &config.Image{Image: "files", Output: "files", Verity: config.VerityAuto, Format: config.FormatSysext, Architecture: "x86-64"}
	for name, tt := range map[string]struct {
		change    func(*config.Config)
		installed []string
		want      []MissingProgram
	}{
		"all there": {func(*config.Config) {}, []string{"apt-get", "dpkg"}, nil},
		"no package manager, said once": {func(*config.Config) {}, nil, []MissingProgram{
			{"base", "installing packages", "apt-get", "apt"},
			{"base", "installing packages", "dpkg", "dpkg"},
		}},
		"no mke2fs": {func(c *config.Config) { c.Main().Format, c.Main().Architecture = config.FormatDisk, "x86-64" }, []string{"apt-get", "dpkg"}, []MissingProgram{
			{"main", "Format=ext4", "mke2fs", "e2fsprogs"},
		}},
		"not needed for files": {func(c *config.Config) { c.Images = []*config.Image{extension} }, nil, nil},
		"removing packages": {
			func(c *config.Config) {
				c.Images = c.Images[len(c.Images)-1:]
				c.Main().BaseTrees = []string{"/"}
				c.Main().RemovePackages = []string{"x"}
			},
			[]string{"apt-get"},
			[]MissingProgram{{"main", "RemovePackages=", "dpkg", "dpkg"}},
		},
		"a key in a token": {
			func(c *config.Config) {
				img := *extension
				img.VerityKeySource = config.KeySource{Type: "provider", Source: "pkcs11"}
				c.Images = []*config.Image{&img}
			},
			nil,
			[]MissingProgram{{"files", "a key or certificate that is not in a file", "openssl", "openssl"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := tutorial(t.TempDir())
			tt.change(cfg)
			plan, err := NewPlan(cfg)
			if err != nil {
				t.Fatal(err)
			}
			err = plan.CheckPrograms(func(name string) bool { return slices.Contains(tt.installed, name) })
			var got []MissingProgram
			if joined, ok := err.(interface{ Unwrap() []error }); ok {
				for _, e := range joined.Unwrap() {
					got = append(got, *e.(*MissingProgram))
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is not built needs nothing.
func TestPlanWithoutWorkNeedsNoPrograms(t *testing.T) {
	cfg := tutorial(t.TempDir())
	for _, img := range cfg.Images {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, "out", img.Image), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	plan, err := NewPlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.CheckPrograms(func(string) bool { return false }); err != nil {
		t.Error(err)
	}
}

// Of the keys that are not in files, those count that sign something.
func TestPlanChecksKeys(t *testing.T) {
	programs := t.TempDir()
	for name, want := range map[string]string{"used": "image main: ", "unused": ""} {
		img := &config.Image{Image: "main", Format: config.FormatUKI, Architecture: "x86-64", SecureBoot: name == "used",
			SecureBootKey: "pkcs11:object=k?pin-value=4711", SecureBootKeySource: config.KeySource{Type: "provider", Source: "none"},
			ExtraSearchPaths: []string{programs}}
		script := "#!/bin/sh\necho broken: \"$@\" >&2\nexit 1\n"
		if err := os.WriteFile(filepath.Join(programs, "openssl"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		err := (&Plan{Jobs: []*Job{{Image: img}}}).CheckKeys(t.Context())
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "broken: pkey") || strings.Contains(err.Error(), "4711")):
			t.Errorf("%s: %v, want %q", name, err, want)
		}
		if err := (&Plan{Jobs: []*Job{{Image: img, Skip: "it exists already"}}}).CheckKeys(t.Context()); err != nil {
			t.Errorf("%s, but not built: %v", name, err)
		}
	}
}

func TestInstalled(t *testing.T) {
	if !Installed("sh") {
		t.Error("this machine has no shell")
	}
	if Installed("no-such-program-at-all") || Installed("../bin") {
		t.Error("finds what is no program")
	}
}
