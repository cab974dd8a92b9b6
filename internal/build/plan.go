// Package build makes images: it plans which ones, in which order and side by side, and takes each through its steps.
package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/output"
	"github.com/mkosi-go/mkosi/internal/script"
	"github.com/mkosi-go/mkosi/resources/builtin"
)

// Plan is what a build will do, before anything is done.
type Plan struct {
	// Jobs has one entry for each image, each after those that it needs.
	Jobs []*Job
}

// Job is one image of a plan.
type Job struct {
	Image *config.Image
	// Needs lists the jobs that have to be done before this one begins.
	Needs []*Job
	// Awaits lists those that have to be done only when the boot partitions are filled: they make the initrds.
	Awaits []*Job
	// Skip says, in a clause, why the image is not built; "" when it is.
	Skip string
}

// ConfigError is a configuration that reads well but cannot be built. Nothing has been touched when it is returned.
type ConfigError struct {
	Err  error
	Hint string // what to do, if there is something to say
}

func (e *ConfigError) Error() string { return e.Err.Error() }
func (e *ConfigError) Unwrap() error { return e.Err }

// NewPlan plans the build of all images of a configuration. It fails with every reason why the configuration cannot
// be built, each a [ConfigError], joined.
func NewPlan(cfg *config.Config) (*Plan, error) {
	plan := &Plan{}
	var problems []error
	for _, img := range cfg.Images {
		job := &Job{Image: img, Skip: skip(cfg, img)}
		job.Needs = needs(cfg, job, plan.Jobs)
		job.Awaits = awaits(cfg, job, plan.Jobs)
		if job.Skip == "" {
			problems = append(problems, check(cfg, img, plan.Jobs)...)
		}
		plan.Jobs = append(plan.Jobs, job)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return plan, nil
}

// Empty reports whether the plan builds nothing.
func (p *Plan) Empty() bool {
	return !slices.ContainsFunc(p.Jobs, func(j *Job) bool { return j.Skip == "" })
}

// skip says why an image is not to be built.
func skip(cfg *config.Config, img *config.Image) string {
	if img.Format == config.FormatNone && len(img.BuildScripts) == 0 && !cfg.Options.RerunBuildScripts {
		return "the output format is none and there are no build scripts"
	}
	if cfg.Options.Force > 0 || cfg.Options.RerunBuildScripts || img.Format == config.FormatNone {
		return ""
	}
	if out := img.OutputPath(cfg.Dir); pathExists(out) {
		return fmt.Sprintf("%s exists already (use --force to build it again)", out)
	}
	return ""
}

// needs returns the jobs among earlier ones that job has to wait for: those that Dependencies= names, and those whose
// output one of its settings reads. What the images may do to each other beyond that is up to scripts, and an image
// that has any waits for all that came before it, as the configuration language promises.
func needs(cfg *config.Config, job *Job, earlier []*Job) []*Job {
	var list []*Job
	inputs := inputPaths(job.Image)
	for _, e := range earlier {
		reads := readsOutput(cfg, inputs, e.Image)
		// Packages that build scripts make are for the images after theirs.
		reads = reads || len(job.Image.VolatilePackages) > 0 && len(e.Image.BuildScripts) > 0
		if reads || len(scripts(job.Image)) > 0 || slices.Contains(dependencies(job.Image), e.Image.Image) {
			list = append(list, e)
		}
	}
	return list
}

// awaits returns the jobs among earlier ones that make an initrd of job and that it does not wait for anyway.
func awaits(cfg *config.Config, job *Job, earlier []*Job) []*Job {
	var list []*Job
	for _, e := range earlier {
		if readsOutput(cfg, job.Image.Initrds, e.Image) && !slices.Contains(job.Needs, e) {
			list = append(list, e)
		}
	}
	return list
}

// readsOutput reports whether one of the paths is the output of an image, lies in it, or holds it.
func readsOutput(cfg *config.Config, paths []string, img *config.Image) bool {
	output := img.OutputPath(cfg.Dir)
	return slices.ContainsFunc(paths, func(p string) bool {
		return within(output, p) || within(p, output) || p == filepath.Join(img.OutputDir(cfg.Dir), img.SymlinkName())
	})
}

// dependencies returns the images that Dependencies= names. A main image that names none has all images as its
// dependencies, which says that they are to be built, not that it has to wait for them.
func dependencies(img *config.Image) []string {
	if img.Image == config.MainImage && len(img.Origin("Dependencies")) == 0 {
		return nil
	}
	return img.Dependencies
}

// inputPaths are the paths that an image's settings read at build time, but for initrds, which are read last.
func inputPaths(img *config.Image) []string {
	paths := slices.Concat(img.BaseTrees, img.PackageDirectories, img.VolatilePackageDirectories)
	for _, trees := range [][]config.Tree{img.SkeletonTrees, img.ExtraTrees, img.SandboxTrees} {
		for _, t := range trees {
			paths = append(paths, t.Source)
		}
	}
	return paths
}

// scripts are the scripts that a build of an image runs.
func scripts(img *config.Image) []string {
	return slices.Concat(img.SyncScripts, img.PrepareScripts, img.BuildScripts, img.PostInstallationScripts,
		img.FinalizeScripts, img.PostOutputScripts)
}

// within reports whether path is dir or lies below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

func pathExists(path string) bool {
	if name, ok := config.BuiltinName(path); ok {
		_, err := fs.Stat(builtin.FS, name)
		return err == nil
	}
	_, err := os.Lstat(path)
	return err == nil
}

// check returns what keeps an image from being built. earlier are the jobs that may have made what it reads.
func check(cfg *config.Config, img *config.Image, earlier []*Job) []error {
	var problems []error
	add := func(hint, format string, args ...any) {
		problems = append(problems, &ConfigError{Err: fmt.Errorf("image %s: "+format, append([]any{img.Image}, args...)...), Hint: hint})
	}
	for _, u := range config.Unsupported(img) {
		add("", "%s: %s", u.Origin, u.Reason)
	}
	if isExtension(img.Format) && len(img.Packages) > 0 && len(img.BaseTrees) == 0 {
		add("name the trees to build upon, such as BaseTrees=%O/base", "Packages= in an extension needs BaseTrees=")
	}
	if img.Overlay && len(img.BaseTrees) == 0 {
		add("name the trees to build upon, such as BaseTrees=%O/base", "Overlay=yes needs BaseTrees=")
	}
	if incremental(img) && img.CacheDirectory == "" {
		add("create the directory mkosi.cache, or set CacheDirectory=", "Incremental=%s needs CacheDirectory= to keep images in", img.Incremental)
	}
	if cfg.Options.RerunBuildScripts {
		checkRerun(cfg, img, add)
	}
	if incremental(img) && img.CacheOnly == config.CacheOnlyNever {
		add("set one of them only", "Incremental=%s keeps images and CacheOnly=never forbids to use them", img.Incremental)
	}
	if img.BuildSourcesEphemeral == config.BuildSourcesEphemeralBuildcache {
		checkKeptSources(img, add)
	}
	for _, path := range scripts(img) {
		if e := script.CheckExecutable(path); e != nil && !img.MakeScriptsExecutable {
			add(e.Hint(), "%w", e)
		}
	}
	if err := output.Check(img); err != nil {
		add("", "%w", err)
	}
	checkBoot(cfg, img, earlier, add)
	for _, base := range img.BaseTrees {
		checkBaseTree(cfg, base, earlier, add)
	}
	for _, t := range img.ExtraTrees {
		if !pathExists(t.Source) && !produced(cfg, t.Source, earlier) {
			add("", "ExtraTrees=: %s does not exist", t.Source)
		}
	}
	for _, path := range slices.Concat(inputPaths(img), img.Initrds) {
		if late := maker(cfg, img, path); late != nil && !produced(cfg, path, earlier) {
			add("add Dependencies="+late.Image, "reads %s, which image %s makes only later", path, late.Image)
		}
	}
	return problems
}

// checkKeptSources complains if what build scripts change in the sources has no place to be kept in, or if that of two
// sources would have the same.
func checkKeptSources(img *config.Image, add func(hint, format string, args ...any)) {
	if img.BuildDirectory == "" {
		add("create the directory mkosi.builddir, or set BuildDirectory=", "BuildSourcesEphemeral=buildcache needs BuildDirectory=")
	}
	seen := map[string]string{}
	for _, t := range img.BuildSources {
		name := filepath.Base(t.Source)
		if other, ok := seen[name]; ok {
			add("rename one of them", "BuildSourcesEphemeral=buildcache keeps changes by the name of the source, which %s and %s share", other, t.Source)
		}
		seen[name] = t.Source
	}
}

// checkRerun complains if the build scripts of an image cannot run again on what an earlier build kept.
func checkRerun(cfg *config.Config, img *config.Image, add func(hint, format string, args ...any)) {
	if !incremental(img) {
		add("set Incremental=yes, and build the image once", "--rerun-build-scripts needs Incremental=")
	}
	if img.Format != config.FormatNone && !pathExists(img.OutputPath(cfg.Dir)) {
		add("build it once without the option", "--rerun-build-scripts: the image is not built yet")
	}
}

// checkBaseTree complains about a base tree that is neither there, nor made by another image of this build.
func checkBaseTree(cfg *config.Config, base string, earlier []*Job, add func(hint, format string, args ...any)) {
	fi, err := os.Stat(base)
	switch {
	case produced(cfg, base, earlier):
	case errors.Is(err, fs.ErrNotExist):
		add("build the image that makes it, or mend the path", "BaseTrees=: %s does not exist", base)
	case err != nil:
		add("", "BaseTrees=: %v", err)
	case !fi.IsDir() && !isTar(base):
		add("use Format=directory or Format=tar for the base image", "BaseTrees=%s: a disk image as base tree is not supported yet", base)
	}
}

// makes reports whether path is an image's output, the link to it that has no extension, or lies in it.
func makes(cfg *config.Config, img *config.Image, path string) bool {
	return img.Format != config.FormatNone && (within(path, img.OutputPath(cfg.Dir)) || path == filepath.Join(img.OutputDir(cfg.Dir), img.Output))
}

// produced reports whether one of the jobs makes path.
func produced(cfg *config.Config, path string, jobs []*Job) bool {
	return slices.ContainsFunc(jobs, func(j *Job) bool {
		return makes(cfg, j.Image, path)
	})
}

// maker returns the image of the configuration, other than img, that makes path, or nil.
func maker(cfg *config.Config, img *config.Image, path string) *config.Image {
	for _, other := range cfg.Images {
		if other != img && makes(cfg, other, path) {
			return other
		}
	}
	return nil
}

func isTar(path string) bool {
	base := filepath.Base(path)
	return strings.HasSuffix(base, ".tar") || strings.Contains(base, ".tar.")
}
