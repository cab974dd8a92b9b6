package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/script"
)

// scriptRun is a run of all scripts of one kind.
type scriptRun struct {
	kind  script.Kind
	paths []string
	args  []string
	// output is $OUTPUTDIR, "" for none.
	output string
	// dest is $DESTDIR, "" for none.
	dest string
	// cached is $CACHED.
	cached bool
}

// runScripts runs all scripts of one kind, each as a step that the user sees.
func (m *image) runScripts(ctx context.Context, r scriptRun) (err error) {
	if len(r.paths) == 0 {
		return nil
	}
	sources, err := m.openSources(r.kind)
	if err != nil {
		return err
	}
	view, err := m.scriptView(ctx, r)
	if err != nil {
		return err
	}
	view.Sources = sources
	for _, path := range r.paths {
		text := fmt.Sprintf("running %s script %s", r.kind, m.shown(path))
		if err := m.step(text, func() error { return m.runScript(ctx, view, r, path) }); err != nil {
			return err
		}
	}
	if !r.kind.SeesImage() || r.kind == script.Build {
		return nil
	}
	// The scripts may have installed packages.
	apt, err := m.preparedPackageManager(ctx)
	if err != nil {
		return err
	}
	return apt.Settle(m.root)
}

func (m *image) runScript(ctx context.Context, view *script.View, r scriptRun, path string) error {
	cmd, err := view.Command(r.kind, path, r.args...)
	if err != nil {
		return err
	}
	messages := m.b.UI.Writer(m.Image.Image)
	defer messages.Close()
	cmd.Stdout, cmd.Stderr = messages, messages
	if err := m.b.run(ctx, m.Image.Image, cmd); err != nil {
		return &script.Error{Kind: r.kind, Script: m.shown(path), Err: err}
	}
	return nil
}

// shown is a path as the user would write it.
func (m *image) shown(path string) string {
	if rel, err := filepath.Rel(m.b.Config.Dir, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

// scriptView is what the scripts of a run see.
// artifactsDir is the directory of a workspace that scripts know as $ARTIFACTDIR.
const artifactsDir = "artifacts"

func (m *image) scriptView(ctx context.Context, r scriptRun) (*script.View, error) {
	json, err := config.ImageJSON(m.Image)
	if err != nil {
		return nil, err
	}
	v := &script.View{
		Image:   m.Image,
		Config:  json,
		UID:     m.b.Host.UID,
		GID:     m.b.Host.GID,
		Debug:   m.b.UI.Debugging(),
		HostEnv: m.b.Host.Environment,
		Cached:  r.cached,

		OutputDir: r.output,
		DestDir:   r.dest,
	}
	if !r.kind.SeesImage() {
		return v, nil
	}
	v.Root = m.root
	v.PackageDir, v.ArtifactDir = m.b.work.Path(packagesDir), filepath.Join(m.work, artifactsDir)
	for _, dir := range []string{v.PackageDir, v.ArtifactDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("making a directory for scripts: %w", err)
		}
	}
	if dir := m.BuildSubdirectory(); dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("creating the build directory: %w", err)
		}
		v.BuildDir = dir
	}
	apt, err := m.preparedPackageManager(ctx)
	if err != nil {
		return nil, err
	}
	if v.Tools, err = apt.Tools(r.kind.Network(m.Image)); err != nil {
		return nil, err
	}
	return v, nil
}

// packagesDir of the build's workspace is $PACKAGEDIR, which all images share.
const packagesDir = ".packages"

// prepare runs the prepare scripts; stage is "final" for the image and "build" for the overlay of the build packages.
func (m *image) prepare(ctx context.Context, stage string) error {
	return m.runScripts(ctx, scriptRun{kind: script.Prepare, paths: m.PrepareScripts, args: []string{stage}})
}

func (m *image) sync(ctx context.Context) error {
	return m.runScripts(ctx, scriptRun{kind: script.Sync, paths: m.SyncScripts, args: []string{"final"}, cached: m.b.cached[m.Image]})
}

func (m *image) postInstall(ctx context.Context) error {
	return m.runScripts(ctx, scriptRun{kind: script.PostInstallation, paths: m.PostInstallationScripts, args: []string{"final"}, output: m.outputs()})
}

func (m *image) finalize(ctx context.Context) error {
	return m.runScripts(ctx, scriptRun{kind: script.Finalize, paths: m.FinalizeScripts, output: m.outputs()})
}

func (m *image) postOutput(ctx context.Context) error {
	return m.runScripts(ctx, scriptRun{kind: script.PostOutput, paths: m.PostOutputScripts, output: m.outputs()})
}

// openSources returns the mounts of the build sources for all scripts of one kind. Changes to them last, unless
// BuildSourcesEphemeral= says that they go: then each kind of scripts finds them as they are on disk. Sync scripts are
// there to change them.
func (m *image) openSources(kind script.Kind) ([]sandbox.Op, error) {
	mode := m.BuildSourcesEphemeral
	if kind == script.Sync {
		mode = config.BuildSourcesEphemeralNo
	}
	var ops []sandbox.Op
	for i, t := range script.Sources(m.Image) {
		if mode == config.BuildSourcesEphemeralNo {
			ops = append(ops, sandbox.Bind(t.Source, t.Target))
			continue
		}
		changes := filepath.Join(m.work, "sources", string(kind), fmt.Sprint(i))
		if mode == config.BuildSourcesEphemeralBuildcache && kind == script.Build {
			changes = filepath.Join(m.BuildSubdirectory(), keptSources+filepath.Base(t.Source))
		}
		layers := sandbox.OverlayLayers{Lower: []string{t.Source}, Upper: changes, Work: changes + workSuffix}
		for _, dir := range []string{layers.Upper, layers.Work} {
			if err := makeChangesDir(dir); err != nil {
				return nil, fmt.Errorf("making an overlay over the source %s: %w", t.Source, err)
			}
		}
		ops = append(ops, sandbox.Overlay(layers, t.Target))
	}
	return ops, nil
}

// makeChangesDir makes sure that there is a directory for what scripts change. An earlier build script may have put a link
// in its place, so that changes would go to files outside.
func makeChangesDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); !errors.Is(err, fs.ErrExist) {
		return err
	}
	fi, err := os.Lstat(dir)
	if err == nil && !fi.IsDir() {
		err = fmt.Errorf("%s is not a directory, a build script must have replaced it", dir)
	}
	return err
}

// keptSources begins the names of directories in the build directory that keep what build scripts change in a source
// directory of the same name, with BuildSourcesEphemeral=buildcache.
const keptSources = "mkosi.buildovl."
