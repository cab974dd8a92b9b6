package build

import (
	"bytes"
	"context"
	"errors"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/script"
)

// maxConfigured limits what a configure script may print, in bytes.
const maxConfigured = 16 << 20

// Configure runs the configure scripts of all images: each reads the image as JSON and prints it again with its
// changes. The images of the configuration are replaced by what comes out. It has to run before the build is planned.
func (b *Builder) Configure(ctx context.Context) error {
	b.session = sandbox.Current()
	for i, img := range b.Config.Images {
		for _, path := range img.ConfigureScripts {
			changed, err := b.configure(ctx, img, path)
			if err != nil {
				m := &image{Image: img, b: b}
				return &ImageError{img.Image, &script.Error{Kind: script.Configure, Script: m.shown(path), Err: err}}
			}
			img = changed
		}
		b.Config.Images[i] = img
	}
	return nil
}

func (b *Builder) configure(ctx context.Context, img *config.Image, path string) (*config.Image, error) {
	in, err := config.ImageJSON(img)
	if err != nil {
		return nil, err
	}
	view := &script.View{Image: img, UID: b.Host.UID, GID: b.Host.GID, Debug: b.UI.Debugging(), HostEnv: b.Host.Environment}
	for _, t := range script.Sources(img) {
		view.Sources = append(view.Sources, sandbox.Bind(t.Source, t.Target))
	}
	cmd, err := view.Command(script.Configure, path)
	if err != nil {
		return nil, err
	}
	messages := b.UI.Writer(img.Image)
	defer messages.Close()
	out := &limitedBuffer{max: maxConfigured}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), out, messages
	m := &image{Image: img, b: b}
	err = m.step("running configure script "+m.shown(path), func() error { return b.run(ctx, img.Image, cmd) })
	if err != nil {
		return nil, err
	}
	return img.WithJSON(out.Bytes(), config.Origin{Kind: config.FromScript, File: path})
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
