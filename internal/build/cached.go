package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/mkosi-go/mkosi/internal/cache"
	"github.com/mkosi-go/mkosi/internal/config"
)

// incremental reports whether the layers of an image are kept for later builds.
func incremental(img *config.Image) bool {
	return img.Incremental == config.IncrementalYes || img.Incremental == config.IncrementalStrict
}

// store is where the layers of an image are kept.
func (b *Builder) store(img *config.Image) *cache.Store {
	return &cache.Store{
		Dir:    img.CacheDirectory,
		MaxUse: b.CacheMaxUse,
		Waiting: func(name string) {
			b.UI.Infof(img.Image, "waiting for another build, which makes the cached image %s", name)
		},
		Removed: func(name string, err error) {
			if err != nil {
				b.UI.Warnf(img.Image, "removing the cached image %s: %v", name, err)
			}
		},
	}
}

// systemName and buildName are what the two layers of an image are called in the cache.
func systemName(img *config.Image) string { return img.ExpandKey(img.CacheKey) }
func buildName(img *config.Image) string  { return img.ExpandKey(img.CacheKey) + ".build" }

// layer is a layer that may be kept for later builds.
type layer struct {
	name  string // in the cache
	lower func() []string
	// describe lists what goes into it.
	describe func(context.Context) (cache.Inputs, error)
	// fill makes it, while it is open on top of the lower layers.
	fill func(context.Context) error
}

// layerTree is the tree of a layer in its cache entry.
const layerTree = "tree"

// keptLayer returns the cache entry of a layer, which is made if there is no current one. It stays in use until the
// image is done.
func (m *image) keptLayer(ctx context.Context, l layer) (*cache.Entry, error) {
	// What the repositories offer goes into the layers, and all of an image see the same.
	if m.usesPackages() {
		if _, err := m.packageManager(ctx); err != nil {
			return nil, err
		}
	}
	store := m.b.store(m.Image)
	in, err := l.describe(ctx)
	if err != nil {
		return nil, err
	}
	entry, miss, err := store.Lookup(ctx, l.name, in)
	if err != nil {
		return nil, err
	}
	if entry == nil {
		if err := m.mustBeCached(missingLayer{l.name, miss.Reason}); err != nil {
			return nil, err
		}
		m.b.UI.Infof(m.Image.Image, "making the cached image %s: %s", l.name, miss.Reason)
		if entry, err = m.makeLayer(ctx, store, l, in); err != nil {
			return nil, err
		}
	}
	m.entries = append(m.entries, entry)
	return entry, nil
}

// makeLayer makes a layer and keeps it.
func (m *image) makeLayer(ctx context.Context, store *cache.Store, l layer, in cache.Inputs) (*cache.Entry, error) {
	pending, entry, err := store.Begin(ctx, l.name, in)
	if err != nil || entry != nil {
		return entry, err
	}
	defer pending.Close()
	if err := makeLayerDir(pending.Path(layerTree), l.lower()); err != nil {
		return nil, err
	}
	err = m.inTree(l.lower(), pending.Path(layerTree), pending.Scratch("overlay"), func() error { return l.fill(ctx) })
	if err != nil {
		return nil, err
	}
	err = m.step("keeping "+l.name+" for later builds", func() error {
		// Done to the files themselves, since a file that is changed through an overlay loses its hard links.
		if err := m.clampTimes(ctx, pending.Path(layerTree)); err != nil {
			return err
		}
		entry, err = pending.Commit(ctx)
		return err
	})
	return entry, err
}

// staleError is a cached image that is not current although a setting or option wants it to be.
type staleError struct{ wanted, name, reason string }

func (e *staleError) Error() string {
	return fmt.Sprintf("%s: the cached image %s cannot be used: %s", e.wanted, e.name, e.reason)
}

// Hint says what to do about it.
func (e *staleError) Hint() string { return "build the image once with --incremental=yes --force" }

// mustBeCached complains of a layer that has to be made, if a setting or option wants it to be there.
func (m *image) mustBeCached(missing missingLayer) error {
	switch {
	case m.b.Config.Options.RerunBuildScripts:
		return &staleError{"--rerun-build-scripts", missing.name, missing.reason}
	case m.Incremental == config.IncrementalStrict:
		return &staleError{"Incremental=strict", missing.name, missing.reason}
	}
	return nil
}

// findCached looks for the layers that are kept for later builds, to decide whether package metadata has to be brought
// up to date: not if everything is there. It fails if a layer is not there that must be.
func (b *Builder) findCached(ctx context.Context, plan *Plan) error {
	b.cached = map[*config.Image]bool{}
	b.allCached = true
	for _, job := range plan.Jobs {
		if job.Skip != "" {
			continue
		}
		m := &image{Image: job.Image, b: b}
		hit, err := m.isCached(ctx, job)
		if err != nil {
			return &ImageError{job.Image.Image, err}
		}
		b.cached[job.Image] = hit
		b.allCached = b.allCached && hit
	}
	return nil
}

// isCached reports whether all layers of the image that are kept for later builds are there and current, and stay. It
// fails if they must be.
func (m *image) isCached(ctx context.Context, job *Job) (bool, error) {
	if !incremental(m.Image) {
		return false, nil
	}
	if m.b.Config.Options.Force > 1 {
		return false, m.mustBeCached(missingLayer{systemName(m.Image), forceRemoves})
	}
	missing, err := m.missingLayers(ctx)
	if job.readsOutputOf(m.b.Config) != nil {
		// It goes on top of an image that is built first, and only then can be said what is missing.
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return len(missing) == 0, err
	}
	if err != nil || len(missing) == 0 {
		return err == nil, err
	}
	return false, m.mustBeCached(missing[0])
}

// forceRemoves is why nothing is cached with --force given twice.
const forceRemoves = "--force twice removes what is cached"

// missingLayer is a layer that has to be made, and why.
type missingLayer struct{ name, reason string }

// missingLayers lists the layers that are to be kept for later builds and are not there, or not current.
func (m *image) missingLayers(ctx context.Context) ([]missingLayer, error) {
	store := m.b.store(m.Image)
	system := m.systemLayer()
	in, err := system.describe(ctx)
	if err != nil {
		return nil, err
	}
	entry, miss, err := store.Lookup(ctx, system.name, in)
	if err != nil {
		return nil, err
	}
	if entry == nil {
		missing := []missingLayer{{system.name, miss.Reason}}
		if m.hasBuildLayer() {
			missing = append(missing, missingLayer{buildName(m.Image), "the system below it is made anew"})
		}
		return missing, nil
	}
	defer entry.Close()
	if !m.hasBuildLayer() {
		return nil, nil
	}
	build := m.buildLayer(entry.ID)
	if in, err = build.describe(ctx); err != nil {
		return nil, err
	}
	if miss, err = store.Find(ctx, build.name, in); err != nil || miss == nil {
		return nil, err
	}
	return []missingLayer{{build.name, miss.Reason}}, nil
}

// removeCached removes the layers of an image that are kept for later builds.
func (b *Builder) removeCached(ctx context.Context, img *config.Image) error {
	if img.CacheDirectory == "" {
		return nil
	}
	for _, name := range []string{systemName(img), buildName(img)} {
		if err := b.store(img).Remove(ctx, name); err != nil {
			return fmt.Errorf("removing the cached image: %w", err)
		}
	}
	return nil
}

// fingerprint returns what tells the content of a file or tree from another.
func (m *image) fingerprint(ctx context.Context, path string, owners bool) (*cache.Fingerprint, error) {
	f := cache.Fingerprinter{Memo: m.b.memo(m.Image)}
	return f.Path(ctx, path, cache.Options{Owners: owners && !m.b.session.SingleUser, Xattrs: owners})
}

// memo is what is remembered of the files in trees that were read before, so that they need not be read again.
func (b *Builder) memo(img *config.Image) *cache.Memo {
	b.memoMu.Lock()
	defer b.memoMu.Unlock()
	if b.memos == nil {
		b.memos = map[string]*cache.Memo{}
	}
	memo, ok := b.memos[img.CacheDirectory]
	if !ok {
		memo = b.store(img).Memo()
		b.memos[img.CacheDirectory] = memo
	}
	return memo
}

// trimCaches removes from the cache directories what killed builds left, and what there is no room for. A build does not
// fail for it.
func (b *Builder) trimCaches(ctx context.Context, plan *Plan) {
	trimmed := map[string]bool{}
	for _, job := range plan.Jobs {
		img := job.Image
		if job.Skip != "" || !incremental(img) || trimmed[img.CacheDirectory] {
			continue
		}
		trimmed[img.CacheDirectory] = true
		if err := b.store(img).Trim(ctx); err != nil && ctx.Err() == nil {
			b.UI.Warnf(img.Image, "making room in %s: %v", img.CacheDirectory, err)
		}
	}
}

// saveMemos keeps what was learnt about files. A build does not fail for it.
func (b *Builder) saveMemos() {
	for dir, memo := range b.memos {
		if err := memo.Save(context.Background()); err != nil {
			b.UI.Debugf("", "remembering files in %s: %v", dir, err)
		}
	}
}
