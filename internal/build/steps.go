package build

import (
	"context"
	"errors"
	"slices"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// Status says what a build will do about a step.
type Status string

// What a build will do.
const (
	StatusRun     Status = "run"     // take the step
	StatusHit     Status = "hit"     // use what an earlier build kept of it
	StatusMiss    Status = "miss"    // take the step and keep what it makes, since what is kept cannot be used
	StatusSkipped Status = "skipped" // nothing
)

// Step is a part of the building of one image. The steps of an image are the parts that may be left out or taken from
// the cache, each as a whole.
type Step struct {
	Image  string
	Step   string // "sync scripts", "system", "build packages", "build scripts" or "image"
	Status Status
	// Reason is a clause that says why, or "" if there is nothing to say: for a miss the first input that differs.
	Reason string
}

// The steps.
const (
	stepSync   = "sync scripts"
	stepSystem = "system"
	stepBuild  = "build packages"
	stepScript = "build scripts"
	stepImage  = "image"
)

// Steps says what Run would do at this moment, image by image, and builds nothing. It needs a session, see
// [sandbox.EnterSession]: what is cached for one user is of no use to another.
func (b *Builder) Steps(ctx context.Context, plan *Plan) (steps []Step, err error) {
	b.session = sandbox.Current()
	if err := b.makeWorkspace(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.work.Close()) }()
	defer b.saveMemos()
	for _, job := range plan.Jobs {
		m := &image{Image: job.Image, b: b}
		list, err := m.steps(ctx, job)
		if err != nil {
			return nil, &ImageError{job.Image.Image, err}
		}
		steps = append(steps, list...)
	}
	return b.doubtHits(plan, steps), nil
}

// steps are the steps of one image.
func (m *image) steps(ctx context.Context, job *Job) ([]Step, error) {
	if job.Skip != "" {
		return []Step{{m.Image.Image, stepImage, StatusSkipped, job.Skip}}, nil
	}
	var steps []Step
	add := func(step string, status Status, reason string) {
		steps = append(steps, Step{m.Image.Image, step, status, reason})
	}
	if len(m.SyncScripts) > 0 {
		add(stepSync, StatusRun, "")
	}
	layers, err := m.layerSteps(ctx, job)
	if err != nil {
		return nil, err
	}
	steps = append(steps, layers...)
	if m.builds() {
		add(stepScript, StatusRun, "")
	}
	switch {
	case m.Format == config.FormatNone:
		add(stepImage, StatusSkipped, "the output format is none")
	case m.b.Config.Options.RerunBuildScripts:
		add(stepImage, StatusSkipped, "--rerun-build-scripts runs build scripts only")
	default:
		add(stepImage, StatusRun, "")
	}
	return steps, nil
}

// layerSteps are the steps that make the layers which can be kept for later builds.
func (m *image) layerSteps(ctx context.Context, job *Job) ([]Step, error) {
	names := []string{stepSystem}
	if m.hasBuildLayer() {
		names = append(names, stepBuild)
	}
	all := func(status Status, reason string) (steps []Step) {
		for _, name := range names {
			steps = append(steps, Step{m.Image.Image, name, status, reason})
		}
		return steps
	}
	if !incremental(m.Image) {
		return all(StatusRun, "Incremental=no"), nil
	}
	if m.b.Config.Options.Force > 1 && !m.b.Config.Options.RerunBuildScripts {
		return all(StatusMiss, forceRemoves), nil
	}
	if e := job.readsOutputOf(m.b.Config); e != nil {
		return all(StatusRun, "it reads the output of image "+e.Image.Image+", which is built first"), nil
	}
	missing, err := m.missingLayers(ctx)
	if err != nil {
		return nil, err
	}
	steps := all(StatusHit, "")
	for i, name := range []string{systemName(m.Image), buildName(m.Image)} {
		for _, layer := range missing {
			if layer.name == name {
				steps[i].Status, steps[i].Reason = StatusMiss, layer.reason
			}
		}
	}
	return steps, nil
}

// readsOutputOf returns an image that is built before this one and whose output goes into a layer that is kept, or nil:
// only when it is built can be known whether the layer is current.
func (j *Job) readsOutputOf(cfg *config.Config) *Job {
	inputs := slices.Concat(j.Image.BaseTrees, j.Image.PackageDirectories)
	for _, t := range slices.Concat(j.Image.SkeletonTrees, j.Image.SandboxTrees) {
		inputs = append(inputs, t.Source)
	}
	for _, e := range j.Needs {
		if e.Skip == "" && slices.ContainsFunc(inputs, func(path string) bool { return makes(cfg, e.Image, path) }) {
			return e
		}
	}
	return nil
}

// doubtHits says of hits what they depend on, where package metadata is brought up to date first. With CacheOnly=auto
// that is so as soon as anything has to be installed.
func (b *Builder) doubtHits(plan *Plan, steps []Step) []Step {
	installs := slices.ContainsFunc(steps, func(s Step) bool {
		return (s.Step == stepSystem || s.Step == stepBuild) && s.Status != StatusHit
	})
	for _, job := range plan.Jobs {
		fresh := job.Image.CacheOnly == config.CacheOnlyNever || job.Image.CacheOnly == config.CacheOnlyAuto && installs
		if !fresh || !(&image{Image: job.Image, b: b}).usesPackages() {
			continue
		}
		for i, s := range steps {
			if s.Image == job.Image.Image && s.Status == StatusHit {
				steps[i].Reason = "unless the repositories have changed"
			}
		}
	}
	return steps
}
