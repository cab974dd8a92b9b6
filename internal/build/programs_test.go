package build

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/config"
)

func TestPlanNamesMissingPrograms(t *testing.T) {
	extension := &config.Image{Image: "files", Output: "files", Verity: config.VerityAuto, SignExpectedPcr: config.Auto,
		Format: config.FormatSysext, Architecture: "x86-64"}
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
				img.VerityKey, img.VerityCertificate = "pkcs11:object=k", "/nowhere"
				img.VerityKeySource = config.KeySource{Type: "provider", Source: "pkcs11"}
				img.VerityCertificateSource = img.VerityKeySource
				c.Images = []*config.Image{&img}
			},
			nil,
			[]MissingProgram{{"files", "a key or certificate that is not in a file", "openssl", "openssl"}},
		},
		"a key in a token that signs nothing": {
			func(c *config.Config) {
				img := *extension
				img.VerityKey, img.VerityCertificate = "pkcs11:object=k", "/nowhere"
				img.VerityKeySource = config.KeySource{Type: "provider", Source: "pkcs11"}
				img.Verity = config.VerityHash
				c.Images = []*config.Image{&img}
			},
			nil,
			nil,
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

func TestInstalled(t *testing.T) {
	if !Installed("sh") {
		t.Error("this machine has no shell")
	}
	if Installed("no-such-program-at-all") || Installed("../bin") {
		t.Error("finds what is no program")
	}
}
