package build

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/config"
)

// planned is what Steps says, a line a step.
func planned(t *testing.T, cfg *config.Config) []string {
	t.Helper()
	plan, err := NewPlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := &Builder{Config: cfg, UI: quietUI()}
	steps, err := b.Steps(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range steps {
		lines = append(lines, fmt.Sprintf("%s: %s %s: %s", s.Image, s.Status, s.Step, s.Reason))
	}
	return lines
}

func writeTestFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

// layered is a configuration of one image that keeps its layers and installs no packages.
func layered(t *testing.T) *config.Config {
	dir := t.TempDir()
	writeTestFile(t, filepath.Join(dir, "base/usr/lib/os-release"), "ID=test\n")
	writeTestFile(t, filepath.Join(dir, "mkosi.skeleton/etc/foo"), "one")
	return &config.Config{Dir: dir, Images: []*config.Image{{
		Image: "main", SignExpectedPcr: config.Auto, Output: "image", Format: config.FormatDirectory, RepartOffline: true,
		OutputDirectory: filepath.Join(dir, "out"),
		Incremental:     config.IncrementalYes, CacheDirectory: filepath.Join(dir, "cache"), CacheKey: "&I",
		WorkspaceDirectory: dir,
		BaseTrees:          []string{filepath.Join(dir, "base")},
		SkeletonTrees:      []config.Tree{{Source: filepath.Join(dir, "mkosi.skeleton")}},
	}}}
}

// keep puts an image's system, as it is described now, into the cache.
func keep(t *testing.T, cfg *config.Config) {
	t.Helper()
	m := &image{Image: cfg.Images[0], b: &Builder{Config: cfg}}
	in, err := m.systemInputs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := m.b.store(m.Image).Begin(t.Context(), systemName(m.Image), in)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	e, err := p.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSteps(t *testing.T) {
	cfg := layered(t)
	img := cfg.Images[0]
	check := func(name string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, planned(t, cfg)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	check("nothing cached", "main: miss system: nothing is cached yet", "main: run image: ")
	if pathExists(img.CacheDirectory) || pathExists(img.OutputDirectory) {
		t.Error("a plan made directories")
	}
	keep(t, cfg)
	check("cached", "main: hit system: ", "main: run image: ")
	cfg.Options.Force = 2
	check("forced", "main: miss system: --force twice removes what is cached", "main: run image: ")
	cfg.Options.Force = 0
	writeTestFile(t, filepath.Join(cfg.Dir, "mkosi.skeleton/etc/foo"), "two")
	check("changed", "main: miss system: SkeletonTrees=mkosi.skeleton changed: etc/foo differs", "main: run image: ")
	img.Incremental = config.IncrementalNo
	check("not kept", "main: run system: Incremental=no", "main: run image: ")
	script := filepath.Join(cfg.Dir, "mkosi.build")
	writeTestFile(t, script, "#!/bin/sh\n")
	img.BuildScripts, img.SyncScripts, img.BuildPackages = []string{script}, []string{script}, []string{"make"}
	check("development", "main: run sync scripts: ", "main: run system: Incremental=no", "main: run build packages: Incremental=no",
		"main: run build scripts: ", "main: run image: ")
	writeTestFile(t, img.OutputPath(cfg.Dir)+"/file", "")
	check("built", "main: skipped image: "+img.OutputPath(cfg.Dir)+" exists already (use --force to build it again)")
	img.SyncScripts, img.BuildPackages, img.Incremental = nil, nil, config.IncrementalYes
	cfg.Options.RerunBuildScripts = true
	keep(t, cfg)
	check("scripts again", "main: hit system: ", "main: run build scripts: ",
		"main: skipped image: --rerun-build-scripts runs build scripts only")
}

// TestStepsOnAnother tells that nothing is said of a layer on top of an image that is built first.
func TestStepsOnAnother(t *testing.T) {
	cfg := layered(t)
	main := cfg.Images[0]
	base := *main
	base.Image, base.Output = "base", "base"
	main.BaseTrees = []string{base.OutputPath(cfg.Dir)}
	cfg.Images = []*config.Image{&base, main}
	want := []string{
		"base: miss system: nothing is cached yet", "base: run image: ",
		"main: run system: it reads the output of image base, which is built first", "main: run image: ",
	}
	if diff := cmp.Diff(want, planned(t, cfg)); diff != "" {
		t.Error(diff)
	}
	// A build looks at all images first, and must not fail for what is not there yet.
	plan, err := NewPlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := &Builder{Config: cfg}
	if err := b.findCached(t.Context(), plan); err != nil || b.allCached {
		t.Errorf("looking for cached images: %v, all cached %v", err, b.allCached)
	}
}
