package build

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/bootloader"
	"github.com/mkosi-go/mkosi/internal/cache"
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/output"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// image is one image on its way through the steps.
type image struct {
	*config.Image
	b *Builder

	// stage lies on the output's file system and holds what will be the outputs.
	stage *tree.Staging
	// work holds what is needed only while building; it may lie in memory.
	work string
	// base are the directories of the base trees, topmost first.
	base []string
	// system is the layer with the packages, on top of the base trees. With cached it is somebody else's, and only read.
	system string
	cached bool
	// systemID is the ID of the system's entry in the cache; entries are all that the image uses.
	systemID string
	entries  []*cache.Entry
	// buildLayers lie on top of the system for build scripts.
	buildLayers []string
	// root is the tree as a step sees it, upper the layer that its changes go to.
	root, upper string
	// unmount ends the overlay that root is; nil when there is none.
	unmount func() error
	// hostRelease are the os-release(5) fields of the base trees of an extension.
	hostRelease map[string]string
	// secureBoot is what secureBootKey has loaded, policyKey what pcrKey has.
	secureBoot signingPair
	policyKey  crypto.Signer
	// saved is kept of the tree for formats that are started with it.
	saved savedBootFiles
	// shim says that shim is what firmware starts; nameless, that with Bootable=auto nothing is started, since the system
	// has no name.
	shim, nameless bool
	// bootSector is a grub for the finished disk, nil for none.
	bootSector *bootloader.BootSector
	// awaits are the jobs that make the initrds.
	awaits []*Job
	// failed is set before close if the image could not be built.
	failed bool
}

// image takes one image through all steps and returns the size of its output in bytes. memory is how many bytes of
// memory its workspace may take, 0 to put it on disk.
func (b *Builder) image(ctx context.Context, job *Job, memory int64) (size int64, err error) {
	img := job.Image
	m := &image{Image: img, b: b, awaits: job.Awaits}
	if m.stage, err = tree.Stage(ctx, img.OutputDir(b.Config.Dir)); err != nil {
		return 0, err
	}
	defer func() { m.failed = err != nil; err = errors.Join(err, m.close()) }()
	if err := m.makeWorkspace(memory); err != nil {
		return 0, err
	}
	if err := errors.Join(os.Mkdir(m.outputs(), 0o755), os.Mkdir(m.temporary(), 0o700)); err != nil {
		return 0, err
	}
	// Sync scripts may have made packages since it was made.
	if err := tree.RemoveAll(ctx, m.repositoryDir()); err != nil {
		return 0, err
	}

	err = inOrder(ctx,
		m.openBaseTrees,
		m.makeSystem,
		m.makeBuildLayer,
		m.runBuildScripts,
	)
	if err != nil || !b.writesOutput(img) {
		return 0, err
	}
	err = inOrder(ctx,
		m.openImage,
		m.installVolatilePackages,
		m.installBuilt,
		m.copyExtraTrees,
		m.postInstall,
		m.saveStub,
		m.leaveBaseTrees,
		m.prepareKernels,
		m.saveKernel,
		m.writeSystemFiles,
		m.installBootLoaders,
		m.runSystemTools,
		m.applyFirstBoot,
		m.removePackagesAndFiles,
		m.cleanPackageMetadata,
		m.relabel,
		m.finalize,
		m.finishTree,
	)
	if err != nil {
		return 0, err
	}
	return m.writeOutput(ctx)
}

// onlyAdditions reports whether the image holds only what it adds to base trees, or to a system that it extends. The
// steps that make a whole system are not for such an image.
func (m *image) onlyAdditions() bool { return m.Overlay || isExtension(m.Format) }

func isExtension(f config.Format) bool {
	_, ok := extensionReleases[f]
	return ok
}

// step runs fn as a step that the user sees.
func (m *image) step(text string, fn func() error) error {
	s := m.b.UI.Begin(m.Image.Image, "%s", text)
	span := m.b.Timing.Begin(m.Image.Image, text)
	err := fn()
	span.End(err)
	s.End(err)
	return err
}

// makeWorkspace prepares the directory for what is needed only while building.
func (m *image) makeWorkspace(memory int64) error {
	m.work = m.b.work.Path(m.Image.Image)
	if err := os.Mkdir(m.work, 0o700); err != nil {
		return fmt.Errorf("making a workspace: %w", err)
	}
	if memory == 0 {
		return nil
	}
	if err := sandbox.MountTmpfs(m.work, memory, 0o700); err != nil {
		return fmt.Errorf("making a workspace in memory: %w", err)
	}
	return nil
}

// close gives back everything that the image held.
func (m *image) close() error {
	var errs []error
	errs = append(errs, m.closeTree())
	for _, e := range m.entries {
		errs = append(errs, e.Close())
	}
	if m.failed && m.b.Config.Options.DebugWorkspace {
		return errors.Join(append(errs, m.b.keep(m.Image.Image, m.stage))...)
	}
	// A workspace in memory goes with its mount; whatever lies on disk is removed with the build's own workspace, but
	// for the name, which a second try wants.
	_ = sandbox.Unmount(m.work)
	errs = append(errs, tree.RemoveAll(context.Background(), m.work))
	// The staging directory may hold the tree of an earlier build. Nobody has to wait for its removal but the program.
	m.b.cleanup.Go(func() {
		if err := m.stage.Close(); err != nil {
			m.b.UI.Warnf(m.Image.Image, "cleaning up: %v", err)
		}
	})
	return errors.Join(errs...)
}

// finishTree is the last step that changes the tree.
func (m *image) finishTree(ctx context.Context) error {
	if isExtension(m.Format) {
		if err := tree.RemoveEmptyDirs(ctx, m.root); err != nil {
			return err
		}
		root, err := os.OpenRoot(m.root)
		if err != nil {
			return err
		}
		defer root.Close()
		if err := writeExtensionRelease(root, m.Image, m.hostRelease); err != nil {
			return err
		}
	}
	if m.SourceDateEpoch == nil {
		return nil
	}
	return m.step("normalising modification times", func() error { return m.clampTimes(ctx, m.root) })
}

// clampTimes sets modification times below root that are later than SourceDateEpoch= to that.
func (m *image) clampTimes(ctx context.Context, root string) error {
	if m.SourceDateEpoch == nil {
		return nil
	}
	return tree.ClampTimes(ctx, root, m.epoch())
}

// outputs is the directory for the outputs, which is $OUTPUTDIR of scripts too.
func (m *image) outputs() string { return m.stage.Path("outputs") }

// temporary is a directory beside the outputs for what is needed only until they are written.
func (m *image) temporary() string { return m.stage.Path("writing") }

// copyNSpawnSettings puts the settings for systemd-nspawn(1) beside the output, where it finds them by itself.
func (m *image) copyNSpawnSettings(ctx context.Context) error {
	if m.NSpawnSettings == "" || m.Format == config.FormatNone {
		return nil
	}
	source, err := filepath.EvalSymlinks(m.NSpawnSettings)
	if err == nil {
		err = tree.Copy(ctx, source, filepath.Join(m.outputs(), m.SplitName("nspawn")), tree.CopyOptions{IgnoreOwners: true})
	}
	if err != nil {
		return fmt.Errorf("copying NSpawnSettings=: %w", err)
	}
	return nil
}

// writeOutput packs the tree and puts the outputs into their places, each in one step.
func (m *image) writeOutput(ctx context.Context) (int64, error) {
	req := output.Request{
		Image:   m.Image,
		Root:    m.root,
		Dir:     m.outputs(),
		TempDir: m.temporary(),
		Run:     m.runHostTool,
		Warn:    func(text string) { m.b.UI.Warnf(m.Image.Image, "%s", text) },
		// A tree in the staging directory may be renamed into place.
		OwnsRoot:     filepath.Dir(m.root) == m.stage.Path("."),
		IgnoreOwners: m.b.session.SingleUser,
		FileMode:     0o666 &^ os.FileMode(m.b.umask),
	}
	if m.makesBootFiles() {
		req.Boot, req.FinishDisk = m.makeBootFiles, m.finishDisk
	}
	if err := m.copyNSpawnSettings(ctx); err != nil {
		return 0, err
	}
	err := m.step("writing "+m.OutputName(), func() error {
		_, err := output.Write(ctx, req)
		return err
	})
	if err != nil {
		return 0, err
	}
	if err := m.postOutput(ctx); err != nil {
		return 0, err
	}
	if err := m.closeTree(); err != nil {
		return 0, err
	}
	if err := m.publish(ctx); err != nil {
		return 0, err
	}
	path := m.OutputPath(m.b.Config.Dir)
	fi, err := os.Lstat(path)
	if err != nil || !fi.IsDir() {
		return fileSize(fi), err
	}
	return tree.Size(ctx, path)
}

// publish puts the outputs, to which scripts may have added their own, into their places, and removes those of an earlier
// build that have not been made again.
func (m *image) publish(ctx context.Context) error {
	made, err := os.ReadDir(m.outputs())
	if err != nil {
		return err
	}
	dir := m.OutputDir(m.b.Config.Dir)
	var fresh []string
	for _, e := range made {
		if err := m.checkOutput(dir, e.Name()); err != nil {
			return err
		}
	}
	for _, e := range made {
		if err := tree.Swap(filepath.Join(m.outputs(), e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("putting %s into place: %w", e.Name(), err)
		}
		fresh = append(fresh, e.Name())
	}
	return m.b.remove(ctx, m.Image, m.b.staleOutputs(m.Image, fresh))
}

// checkOutput refuses what a script left among the outputs if it would replace a part of the configuration, where the
// outputs go beside that.
func (m *image) checkOutput(dir, name string) error {
	configures := strings.HasPrefix(name, "mkosi.") || strings.HasPrefix(name, ".")
	if !configures || dir != m.b.Config.Dir || slices.Contains(outputNames(m.Image), name) {
		return nil
	}
	return fmt.Errorf("a script left %s in $OUTPUTDIR, which would become a part of the configuration in %s: set OutputDirectory=, or create the directory mkosi.output", name, dir)
}

func fileSize(fi fs.FileInfo) int64 {
	if fi == nil {
		return 0
	}
	return fi.Size()
}
