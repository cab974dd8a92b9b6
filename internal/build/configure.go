package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/distro"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// maxConfigured limits what a configure script may print, in bytes.
const maxConfigured = 16 << 20

// Configure runs the configure scripts of all images: each reads the image as JSON and prints it again with its
// changes. The images of the configuration are replaced by what comes out. It has to run before the build is planned.
func (b *Builder) Configure(ctx context.Context) error {
	b.session = sandbox.Current()
	for i, img := range b.Config.Images {
		for _, script := range img.ConfigureScripts {
			changed, err := b.configure(ctx, img, script)
			if err != nil {
				return fmt.Errorf("configure script %s of image %s: %w", script, img.Image, err)
			}
			img = changed
		}
		b.Config.Images[i] = img
	}
	return nil
}

// sourceDir is where scripts find the sources of the user.
const sourceDir = "/work/src"

func (b *Builder) configure(ctx context.Context, img *config.Image, script string) (changed *config.Image, err error) {
	in, err := config.ImageJSON(img)
	if err != nil {
		return nil, err
	}
	env, err := b.configureEnv(img)
	if err != nil {
		return nil, err
	}
	const name = "/work/configure"
	ops := append(sandbox.HostUsr(), sandbox.Dir(sourceDir, 0o755))
	for _, tree := range img.BuildSources {
		ops = append(ops, sandbox.Bind(tree.Source, path.Join(sourceDir, tree.Target)))
	}
	ops = append(ops, sandbox.BindReadOnly(script, name))
	if img.WithNetwork {
		ops = append(ops, sandbox.HostNetwork()...)
	}
	messages := b.UI.Writer(img.Image)
	defer messages.Close()
	out := &limitedBuffer{max: maxConfigured}
	step := b.UI.Begin(img.Image, "running %s", filepath.Base(script))
	defer func() { step.End(err) }()
	err = b.run(ctx, img.Image, &sandbox.Cmd{
		Args: []string{name}, Env: env, Dir: sourceDir, Ops: ops, Network: img.WithNetwork,
		Stdin: bytes.NewReader(in), Stdout: out, Stderr: messages,
	})
	if err != nil {
		return nil, err
	}
	return img.WithJSON(out.Bytes(), config.Origin{Kind: config.FromScript, File: script})
}

// configureEnv is the environment of a configure script.
func (b *Builder) configureEnv(img *config.Image) ([]string, error) {
	env, err := img.ReadEnvironment()
	if err != nil {
		return nil, err
	}
	maps.Copy(env, map[string]string{
		"ARCHITECTURE":              string(img.Architecture),
		"DISTRIBUTION":              string(img.Distribution),
		"DISTRIBUTION_ARCHITECTURE": distributionArchitecture(img),
		"EFI_ARCHITECTURE":          img.Architecture.EFI(),
		"QEMU_ARCHITECTURE":         img.Architecture.QEMU(),
		"RELEASE":                   img.Release,
		"SRCDIR":                    sourceDir,
		"MKOSI_UID":                 fmt.Sprint(b.Host.UID),
		"MKOSI_DEBUG":               map[bool]string{true: "1", false: "0"}[b.UI.Debugging()],
		"PATH":                      toolPath,
		"HOME":                      "/",
		"LANG":                      "C.UTF-8",
		"TERM":                      "dumb",
	})
	for name, value := range map[string]string{"IMAGE_ID": img.ImageId, "IMAGE_VERSION": img.ImageVersion} {
		if value != "" {
			env[name] = value
		}
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list, nil
}

// distributionArchitecture is the distribution's own name of the architecture, or ours where it has none.
func distributionArchitecture(img *config.Image) string {
	d, err := distro.Lookup(string(img.Distribution))
	if err != nil {
		return string(img.Architecture)
	}
	if arch, err := d.Architecture(string(img.Architecture)); err == nil {
		return arch
	}
	return string(img.Architecture)
}

// limitedBuffer keeps what is written to it up to a limit, and then fails.
type limitedBuffer struct {
	bytes.Buffer
	max int
}

var errTooLong = errors.New("it printed more than a configuration can be")

func (l *limitedBuffer) Write(p []byte) (int, error) {
	if l.Len()+len(p) > l.max {
		return 0, errTooLong
	}
	return l.Buffer.Write(p)
}
