package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/cache"
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/host"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/timing"
	"github.com/mkosi-go/mkosi/internal/tree"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// Builder executes plans. Fill in the fields and call Run; it needs a session, see [sandbox.EnterSession].
type Builder struct {
	Config *config.Config
	Host   host.Facts
	UI     *ui.Printer
	// CacheMaxUse is how many bytes the cached images in a cache directory may take up, 0 for no limit: see
	// [cache.Store].
	CacheMaxUse int64
	// Timing records how long the steps take; nil for nothing.
	Timing *timing.Recorder

	session sandbox.Session
	work    *tree.Staging // of the whole build
	cleanup sync.WaitGroup
	sources sourceSets
	memory  memoryBudget
	umask   int // of the user, for the outputs
	// allCached says that nothing has to be installed, since every image that keeps its system for later has a current
	// one.
	allCached bool
	// cached says of each image whether it has.
	cached map[*config.Image]bool
	// done is closed for each job that has ended.
	done   map[*Job]chan struct{}
	memoMu sync.Mutex
	memos  map[string]*cache.Memo // by cache directory
}

// ImageError is the failure of one image.
type ImageError struct {
	Image string
	Err   error
}

func (e *ImageError) Error() string { return fmt.Sprintf("image %s: %v", e.Image, e.Err) }
func (e *ImageError) Unwrap() error { return e.Err }

// PanicError is a bug: a panic while an image was built.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("bug in mkosi: %v", e.Value) }

// Run builds the images of a plan, side by side where none needs the other. The first failure stops the rest; the
// error says which image failed, outputs of images that were finished stay.
func (b *Builder) Run(ctx context.Context, plan *Plan) (err error) {
	span := b.Timing.Begin("", "build")
	defer func() { span.End(err) }()
	b.session = sandbox.Current()
	unlock, err := b.lockOutputs(ctx, plan)
	if err != nil {
		return err
	}
	defer unlock()
	// What a build makes is the same whoever runs it; the user's umask is for the outputs themselves.
	b.umask = unix.Umask(0o022)
	defer unix.Umask(b.umask)
	if err := b.makeWorkspace(ctx); err != nil {
		return err
	}
	defer func() {
		b.trimCaches(ctx, plan)
		err = b.finish(err)
	}()
	if err := b.guard(func() error { return b.begin(ctx, plan) }); err != nil {
		return err
	}
	return b.jobs(ctx, plan)
}

// finish removes what is only for the build, which ended with err, and returns that error or its own.
func (b *Builder) finish(err error) error {
	span := b.Timing.Begin("", "removing the workspace")
	b.saveMemos()
	b.cleanup.Wait()
	var closeErr error
	if err != nil && b.Config.Options.DebugWorkspace {
		err = errors.Join(err, b.keep("", b.work))
	} else if closeErr = b.work.Close(); closeErr != nil {
		// The context may be done already, and what was made is to be removed all the same.
		closeErr = fmt.Errorf("removing the workspace: %w", closeErr)
	}
	span.End(closeErr)
	return cmp.Or(err, closeErr)
}

// begin does what comes before the first image: what the options name is removed, clean scripts run, and sync scripts
// bring sources up to date. A build that must not make cached images fails before anything is touched.
func (b *Builder) begin(ctx context.Context, plan *Plan) error {
	if err := b.findCached(ctx, plan); err != nil {
		return err
	}
	if err := b.cleanBefore(ctx, plan); err != nil {
		return err
	}
	for _, job := range plan.Jobs {
		if job.Skip != "" {
			continue
		}
		m := &image{Image: job.Image, b: b}
		if err := m.sync(ctx); err != nil {
			return &ImageError{job.Image.Image, err}
		}
	}
	return nil
}

// jobs builds the images of a plan, each as soon as those that it needs are done.
func (b *Builder) jobs(ctx context.Context, plan *Plan) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b.done = map[*Job]chan struct{}{}
	for _, j := range plan.Jobs {
		b.done[j] = make(chan struct{})
	}
	var wg sync.WaitGroup
	for _, job := range plan.Jobs {
		wg.Go(func() {
			defer close(b.done[job])
			if b.await(ctx, job.Needs) != nil {
				return
			}
			if err := b.guard(func() error { return b.job(ctx, job) }); err != nil {
				cancel(&ImageError{job.Image.Image, err})
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// await waits until jobs have ended. It fails if the build has failed, be it one of them or another.
func (b *Builder) await(ctx context.Context, jobs []*Job) error {
	for _, j := range jobs {
		<-b.done[j]
	}
	return ctx.Err()
}

// guard turns a panic into an error, so that a bug ends the build as a failure does.
func (b *Builder) guard(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, debug.Stack()}
		}
	}()
	return fn()
}

// job builds one image, a second time on disk if it does not fit into memory.
func (b *Builder) job(ctx context.Context, job *Job) (err error) {
	if job.Skip != "" {
		b.UI.Infof(job.Image.Image, "not built: %s", job.Skip)
		return nil
	}
	span := b.Timing.Begin(job.Image.Image, "image "+job.Image.Image)
	defer func() { span.End(err) }()
	start := time.Now()
	memory := int64(0)
	// What is to be kept has to be on disk, and a shell is for failures that are not tried again.
	if !b.Config.Options.DebugWorkspace && !b.Config.Options.DebugShell {
		memory = b.memory.take(job.Image)
	}
	size, err := b.image(ctx, job, memory)
	b.memory.giveBack(memory)
	if memory > 0 && ctx.Err() == nil && IsNoSpace(err) {
		b.UI.Infof(job.Image.Image, "does not fit into memory, building it again on disk")
		size, err = b.image(ctx, job, 0)
	}
	if err != nil {
		return err
	}
	if !b.writesOutput(job.Image) {
		b.UI.Infof(job.Image.Image, "ran the build scripts (%.1fs)", time.Since(start).Seconds())
		return nil
	}
	b.UI.Infof(job.Image.Image, "built %s, %s (%.1fs)", job.Image.OutputPath(b.Config.Dir), ui.Bytes(size), time.Since(start).Seconds())
	return nil
}

// writesOutput reports whether a build of an image ends with an output, and not with its build scripts.
func (b *Builder) writesOutput(img *config.Image) bool {
	return img.Format != config.FormatNone && !b.Config.Options.RerunBuildScripts
}

// makeWorkspace makes the workspace of the build.
func (b *Builder) makeWorkspace(ctx context.Context) error {
	parent, err := b.workspaceParent(b.Config.Main())
	if err != nil {
		return err
	}
	if b.work, err = tree.Stage(ctx, parent); err != nil {
		return fmt.Errorf("making a workspace: %w", err)
	}
	return nil
}

// workspaceParent returns the directory in which an image's workspace is made: WorkspaceDirectory=, else the user's
// cache directory, else /var/tmp. Root uses /var/tmp, since its home is seldom made for gigabytes.
func (b *Builder) workspaceParent(img *config.Image) (string, error) {
	dir := img.WorkspaceDirectory
	for _, v := range []string{b.Host.Environment["XDG_CACHE_HOME"], b.Host.Environment["CACHE_DIRECTORY"], homeCache(b.Host)} {
		if dir == "" && filepath.IsAbs(v) {
			dir = v
		}
	}
	if dir == "" {
		return "/var/tmp", nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("creating the workspace directory: %w", err)
	}
	return dir, nil
}

func homeCache(h host.Facts) string {
	if h.UID == 0 || h.Home == "" {
		return ""
	}
	return filepath.Join(h.Home, ".cache")
}

// IsNoSpace reports whether something failed because a file system was full. Programs say so in words only.
func IsNoSpace(err error) bool {
	return err != nil && (errors.Is(err, errNoSpace) || strings.Contains(strings.ToLower(err.Error()), errNoSpace.Error()))
}
