package build

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/host"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// tutorial is a configuration with a base, an extension that names it, a main image that reads it, and one that is
// independent.
func tutorial(dir string) *config.Config {
	out := filepath.Join(dir, "out")
	image := func(name string, f func(*config.Image)) *config.Image {
		img := &config.Image{Image: name, Output: name, OutputDirectory: out, Format: config.FormatDirectory, RepartOffline: true, SignExpectedPcr: config.Auto}
		f(img)
		return img
	}
	return &config.Config{Dir: dir, Images: []*config.Image{
		image("base", func(*config.Image) {}),
		image("btrfs", func(i *config.Image) { i.Dependencies = []string{"base"} }),
		image("other", func(*config.Image) {}),
		image("main", func(i *config.Image) {
			i.BaseTrees = []string{filepath.Join(out, "base")}
			i.Dependencies = []string{"base", "btrfs", "other"} // as config computes it
		}),
	}}
}

func needed(p *Plan) map[string][]string {
	got := map[string][]string{}
	for _, j := range p.Jobs {
		for _, n := range j.Needs {
			got[j.Image.Image] = append(got[j.Image.Image], n.Image.Image)
		}
	}
	return got
}

func TestPlanWaitsForWhatIsRead(t *testing.T) {
	cfg := tutorial(t.TempDir())
	plan, err := NewPlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"btrfs": {"base"}, "main": {"base"}}
	if diff := cmp.Diff(want, needed(plan)); diff != "" {
		t.Error(diff)
	}
}

func TestPlanScriptsWaitForAll(t *testing.T) {
	img := &config.Image{Image: "main", PostInstallationScripts: []string{"x"}}
	earlier := []*Job{{Image: &config.Image{Image: "a", Output: "a"}}, {Image: &config.Image{Image: "b", Output: "b"}}}
	if got := needs(&config.Config{Dir: "/x"}, &Job{Image: img}, earlier); len(got) != 2 {
		t.Errorf("waits for %d images, want 2", len(got))
	}
}

func TestPlanSkipsWhatIsThere(t *testing.T) {
	cfg := tutorial(t.TempDir())
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "out/base"), 0o755); err != nil {
		t.Fatal(err)
	}
	for force, want := range map[int]bool{0: true, 1: false} {
		cfg.Options.Force = force
		plan, err := NewPlan(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := plan.Jobs[0].Skip != ""; got != want {
			t.Errorf("with --force %d times, base is skipped: %v, want %v", force, got, want)
		}
		if plan.Empty() {
			t.Error("the plan is empty")
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*config.Image)
		want   string
	}{
		"overlay without base": {func(i *config.Image) { i.BaseTrees = nil; i.Overlay = true }, "Overlay=yes needs BaseTrees="},
		"packages of an extension": {func(i *config.Image) {
			i.Format, i.BaseTrees, i.Packages = config.FormatSysext, nil, []string{"less"}
		}, "Packages= in an extension needs BaseTrees="},
		"missing base":       {func(i *config.Image) { i.BaseTrees = []string{"/nowhere/at/all"} }, "/nowhere/at/all does not exist"},
		"disk image as base": {func(i *config.Image) { i.BaseTrees = []string{"/proc/self/exe"} }, "disk image as base tree is not supported yet"},
		"made too late":      {func(i *config.Image) {}, "which image late makes only later"},
		"signature of a disk without verity": {func(i *config.Image) {
			i.Format, i.Architecture, i.Verity = config.FormatDisk, "x86-64", config.VeritySigned
			i.VerityKey, i.VerityCertificate = "/nowhere/key", "/nowhere/crt"
		}, "Verity=signed needs a partition with Verity=signature"},
		"signature without key": {func(i *config.Image) {
			i.Format = config.FormatSysext
			i.Architecture = "x86-64"
			i.Verity = config.VeritySigned
		}, "mkosi genkey"},
		"key that is not there": {func(i *config.Image) {
			i.Format, i.Architecture, i.Verity = config.FormatSysext, "x86-64", config.VeritySigned
			i.VerityKey, i.VerityCertificate = "/nowhere/key", "/nowhere/crt"
		}, "/nowhere/key"},
		"unknown compression": {func(i *config.Image) { i.Format, i.CompressOutput = config.FormatTar, config.CompressionLZ4 }, "CompressOutput= supports only none, zstd, xz, gz"},
		"missing extra tree":  {func(i *config.Image) { i.ExtraTrees = []config.Tree{{Source: "/nowhere"}} }, "/nowhere does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := tutorial(t.TempDir())
			tt.change(cfg.Main())
			if name == "made too late" {
				late := *cfg.Images[0]
				late.Image, late.Output = "late", "late"
				cfg.Images[0].BaseTrees = []string{late.OutputPath(cfg.Dir)}
				cfg.Images = append(cfg.Images, &late)
			}
			_, err := NewPlan(cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestParseMeminfo(t *testing.T) {
	if got := parseMeminfo(strings.NewReader("MemTotal: 5 kB\nMemAvailable:   2048 kB\n")); got != 2<<20 {
		t.Errorf("got %d", got)
	}
	if got := parseMeminfo(strings.NewReader("garbage")); got != 0 {
		t.Errorf("got %d", got)
	}
}

// The tutorial as it is read: the extension and the initrd wait for the base, and not for each other.
func TestPlanOfTheTutorial(t *testing.T) {
	dir, err := filepath.Abs("../../examples/sysext")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(t.Context(), config.LoadOptions{
		Args: []string{"--profile", "initrd", "--force"}, Dir: dir,
		Host: host.Facts{Distribution: "debian", VersionID: "12", Codename: "bookworm", Architecture: "x86-64", CPUs: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := NewPlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"btrfs": {"base"}, "main": {"base"}}, needed(plan)); diff != "" {
		t.Error(diff)
	}
}

func quietUI() *ui.Printer { return ui.New(io.Discard, ui.Options{}) }

// A script that cannot be run is told before anything is done, also one that would run last.
func TestPlanChecksScripts(t *testing.T) {
	cfg := tutorial(t.TempDir())
	path := filepath.Join(cfg.Dir, "mkosi.postoutput")
	writeTestFile(t, path, "")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	img := cfg.Images[0]
	img.PostOutputScripts = []string{path}
	var problem *ConfigError
	if _, err := NewPlan(cfg); !errors.As(err, &problem) || !strings.Contains(problem.Hint, "chmod +x "+path) {
		t.Errorf("got %v, want that the script is not executable", err)
	}
	img.MakeScriptsExecutable = true
	if _, err := NewPlan(cfg); err != nil {
		t.Errorf("with MakeScriptsExecutable=yes: %v", err)
	}
}

// With BuildSourcesEphemeral=buildcache, changes to two sources of one name would go to the same place.
func TestPlanChecksKeptSources(t *testing.T) {
	cfg := tutorial(t.TempDir())
	img := cfg.Images[0]
	img.BuildSourcesEphemeral, img.BuildDirectory = config.BuildSourcesEphemeralBuildcache, cfg.Dir
	for second, wantErr := range map[string]bool{"/b/src": true, "/b/other": false} {
		img.BuildSources = []config.Tree{{Source: "/a/src", Target: "a"}, {Source: second, Target: "b"}}
		var problem *ConfigError
		if _, err := NewPlan(cfg); errors.As(err, &problem) != wantErr {
			t.Errorf("/a/src and %s: %v, want an error: %v", second, err, wantErr)
		}
	}
}
