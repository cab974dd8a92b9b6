package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/inspect"
	"github.com/mkosi-go/mkosi/internal/keys"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// inspect says what an image is and what it holds.
func (a *app) inspect(ctx context.Context) error {
	path, err := a.imageArgument()
	if err != nil {
		return err
	}
	image, err := a.look(ctx, path, false)
	if err != nil {
		return err
	}
	if a.cfg.Options.JSON {
		return a.writeJSON(image)
	}
	return a.styled(ctx, func(w io.Writer, s ui.Style) error {
		(&describer{w, s}).image(image)
		return nil
	})
}

// imageArgument is the image that the verb is about: its argument, or the output of the configuration.
func (a *app) imageArgument() (string, error) {
	switch args := a.cfg.VerbArgs; {
	case len(args) > 1:
		return "", &config.Error{Msg: fmt.Sprintf("%s takes one image, and there is also %q", a.cfg.Verb, args[1])}
	case len(args) == 1:
		return args[0], nil
	case len(a.cfg.Images) == 0:
		return "", &config.Error{Msg: fmt.Sprintf("%s takes an image", a.cfg.Verb)}
	}
	main := a.cfg.Images[len(a.cfg.Images)-1]
	return main.OutputPath(a.cfg.Dir), nil
}

// look opens an image and describes it.
func (a *app) look(ctx context.Context, path string, blame bool) (image *inspect.Image, err error) {
	certificates, err := a.certificates()
	if err != nil {
		return nil, err
	}
	source, err := a.openImage(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	return inspect.Inspect(ctx, source, inspect.Options{Certificates: certificates, Blame: blame})
}

func (a *app) openImage(ctx context.Context, path string) (*inspect.Source, error) {
	source, err := inspect.Open(ctx, path, 0)
	switch {
	case errors.Is(err, inspect.ErrTooLarge):
		return nil, &hintError{err, "unpack it yourself and give the result"}
	case errors.Is(err, fs.ErrNotExist) && len(a.cfg.VerbArgs) == 0:
		return nil, &hintError{err, "build the image first, or name another one"}
	}
	return source, err
}

// certificates are those of the command line or, without any, those that the configuration signs with.
func (a *app) certificates() ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	if given := a.cfg.Options.Certificates; len(given) > 0 {
		for _, path := range given {
			cert, err := keys.LoadCertificate(path)
			if err != nil {
				return nil, &config.Error{Setting: "certificate", Msg: err.Error()}
			}
			list = append(list, cert)
		}
		return list, nil
	}
	var paths []string
	for _, img := range a.cfg.Images {
		for _, path := range []string{img.VerityCertificate, img.SecureBootCertificate} {
			if path != "" && !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	for _, path := range paths {
		// One that comes from elsewhere than a file cannot be asked for here.
		if cert, err := keys.LoadCertificate(path); err == nil {
			list = append(list, cert)
		} else {
			a.ui.Warnf("", "%s", a.relative(err.Error()))
		}
	}
	return list, nil
}

// describer writes what is known of an image for people.
type describer struct {
	w     io.Writer
	style ui.Style
}

// field is a line of a description: a name and what is to be said.
type field struct {
	name, text string
	look       func(string) string
}

// fields writes those that have something to say.
func (d *describer) fields(list ...field) {
	t := &table{}
	for _, f := range list {
		if f.text != "" {
			t.row(cell{text: "  "}, cell{f.name, d.style.Key}, cell{f.text, f.look})
		}
	}
	t.write(d.w)
}

// state is the look of something that was checked.
func (d *describer) state(state string) func(string) string {
	if state == inspect.Good {
		return d.style.Good
	}
	return d.style.Bad
}

func (d *describer) image(im *inspect.Image) {
	fmt.Fprintln(d.w, d.style.Heading("IMAGE "+ui.Printable(im.Path)))
	kind := string(im.Kind)
	if im.Size > 0 {
		kind += ", " + ui.Bytes(im.Size)
	}
	if im.Compression != "" {
		kind += ", compressed with " + im.Compression
	}
	list := []field{{name: "Kind", text: kind}}
	if t := im.Table; t != nil {
		list = append(list, field{name: "UUID", text: t.UUID.String()}, field{name: "Sectors", text: ui.Bytes(int64(t.SectorSize))},
			field{"Table", t.Primary, d.state(t.Primary)}, field{"Backup", t.Backup, d.state(t.Backup)})
	}
	if b := im.Boot; b != nil {
		list = append(list, bootField(b, d.style))
	}
	d.fields(list...)
	if len(im.Partitions) > 0 {
		fmt.Fprintln(d.w)
		d.partitions(im.Partitions)
	}
	for _, p := range im.Partitions {
		if name := fmt.Sprintf("PARTITION %d", p.Number); p.Label != "" {
			d.content(name+" "+ui.Printable(p.Label), &p.Content)
		} else {
			d.content(name, &p.Content)
		}
	}
	if im.Content != nil {
		d.content("CONTENT", im.Content)
	}
}

// bootField says what a boot catalogue is for.
func bootField(b *inspect.BootCatalogue, style ui.Style) field {
	if b.Problem != "" {
		return field{"CD", b.Problem, style.Bad}
	}
	text := "boots other firmware"
	if b.EFI {
		text = "boots UEFI firmware"
	}
	if !b.Bootable {
		text = "does not boot"
	}
	if b.Volume != "" {
		text += ", volume " + b.Volume
	}
	return field{name: "CD", text: fmt.Sprintf("%s, from byte %d", text, b.Offset)}
}

// partitions writes the table of partitions.
func (d *describer) partitions(list []inspect.Partition) {
	t := &table{}
	bold := d.style.Bold
	t.row(cell{text: "  "}, cell{"NR", bold}, cell{"TYPE", bold}, cell{"LABEL", bold}, cell{"OFFSET", bold}, cell{"SIZE", bold}, cell{"HOLDS", bold}, cell{"UUID", bold}, cell{"ATTRIBUTES", bold})
	for _, p := range list {
		look := d.style.Good
		if p.Content.Format == inspect.FormatUnknown || p.Content.Format == inspect.FormatEmpty {
			look = d.style.Faint
		}
		t.row(cell{text: "  "}, cell{text: fmt.Sprint(p.Number)}, cell{text: p.Type}, cell{text: p.Label}, cell{text: ui.Bytes(p.Offset)},
			cell{text: ui.Bytes(p.Size)}, cell{string(p.Content.Format), look}, cell{p.UUID.String(), d.style.Faint}, cell{text: strings.Join(p.Attributes, ", ")})
	}
	t.write(d.w)
}
