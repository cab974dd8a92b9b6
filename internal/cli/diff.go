package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/inspect"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// exitDifferent is the error of a comparison that has said what differs.
type exitDifferent struct{}

func (exitDifferent) Error() string { return "the two differ" }

// troubleError is why two images could not be compared.
type troubleError struct{ error }

func (e troubleError) Unwrap() error { return e.error }

// diff says what differs between two images, and fails if anything does.
func (a *app) diff(ctx context.Context) error {
	if len(a.cfg.VerbArgs) != 2 {
		return &config.Error{Msg: fmt.Sprintf("diff takes two images, and there are %d", len(a.cfg.VerbArgs)), Hint: "name them: mkosi diff old.raw new.raw"}
	}
	c, err := a.compare(ctx)
	if err != nil {
		return troubleError{err}
	}
	if a.cfg.Options.JSON {
		err = a.writeJSON(c)
	} else if !c.Equal {
		err = a.styled(ctx, func(w io.Writer, s ui.Style) error {
			(&differences{w, s}).write(c)
			return nil
		})
	}
	if err != nil {
		return troubleError{err}
	}
	if !c.Equal {
		return exitDifferent{}
	}
	return nil
}

func (a *app) compare(ctx context.Context) (c *inspect.Comparison, err error) {
	var sources [2]*inspect.Source
	for i, path := range a.cfg.VerbArgs {
		if sources[i], err = a.openImage(ctx, path); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, sources[i].Close()) }()
	}
	has := func(word string) bool { return slices.Contains(a.cfg.Options.Ignore, word) }
	return inspect.Diff(ctx, sources[0], sources[1], inspect.Ignore{
		Mode: has("mode"), Mtime: has("mtime"), Owner: has("owner"), Xattrs: has("xattrs"), UUID: has("uuid"), Layout: has("layout"),
	})
}

// differences writes a comparison for people.
type differences struct {
	w     io.Writer
	style ui.Style
}

func (d *differences) write(c *inspect.Comparison) {
	parts := 0
	section := func(title string) {
		if parts++; parts > 1 {
			fmt.Fprintln(d.w)
		}
		fmt.Fprintln(d.w, d.style.Heading(ui.Printable(title)))
	}
	if len(c.Fields) > 0 {
		section("IMAGE")
		t := &table{}
		d.fields(t, c.Fields)
		t.write(d.w)
	}
	for _, p := range c.Partitions {
		number := p.B
		if number == 0 {
			number = p.A
		}
		title := fmt.Sprintf("PARTITION %d %s", number, p.Type)
		if p.Label != p.Type && p.Label != "" {
			title += " " + p.Label
		}
		section(title)
		t := &table{}
		if p.Change != inspect.Changed {
			t.row(cell{text: "  "}, d.change(p.Change))
		}
		d.fields(t, p.Fields)
		t.write(d.w)
		d.tree(p.Tree)
	}
	if c.Tree != nil {
		section("FILES")
		d.tree(c.Tree)
	}
}

// change is the cell that says how something differs.
func (d *differences) change(c inspect.Change) cell {
	switch c {
	case inspect.Added:
		return cell{string(c), d.style.Good}
	case inspect.Removed:
		return cell{string(c), d.style.Bad}
	}
	return cell{string(c), d.style.Warning}
}

func (d *differences) fields(t *table, list []inspect.Field) {
	for _, f := range list {
		t.row(cell{text: "  "}, cell{f.Name, d.style.Key}, cell{text: fromTo(f)})
	}
}

// fromTo writes what a property was and is.
func fromTo(f inspect.Field) string {
	a, b := f.A, f.B
	if f.Name == "mtime" {
		a, b = moment(a), moment(b)
	}
	switch {
	case a == "":
		return shortValue(b)
	case b == "":
		return shortValue(a) + " is gone"
	}
	return shortValue(a) + " became " + shortValue(b)
}

// maxValue is how many bytes of a value people get to see.
const maxValue = 80

func shortValue(text string) string {
	if len(text) > maxValue {
		return text[:maxValue-3] + "..."
	}
	return text
}

// moment writes seconds since 1970 as a date.
func moment(text string) string {
	var sec, nsec int64
	if _, err := fmt.Sscanf(text, "%d.%d", &sec, &nsec); err != nil {
		return text
	}
	return time.Unix(sec, nsec).UTC().Format("2006-01-02 15:04:05.999999999")
}

// tree writes the files and packages that differ.
func (d *differences) tree(t *inspect.TreeDiff) {
	if t == nil {
		return
	}
	packages := &table{}
	for _, p := range t.Packages {
		packages.row(cell{text: "  "}, d.change(p.Change), cell{text: "package " + p.Name}, cell{text: fromTo(inspect.Field{A: p.A, B: p.B})})
	}
	packages.write(d.w)
	files := &table{}
	for _, f := range t.Files {
		what := f.Type
		if f.Change == inspect.Changed {
			what = fileChanges(&f)
		}
		files.row(cell{text: "  "}, d.change(f.Change), cell{text: f.Path}, cell{text: what})
	}
	files.write(d.w)
}

// fileChanges says what of a file differs.
func fileChanges(f *inspect.FileDiff) string {
	text := ""
	for i, field := range f.Fields {
		if i > 0 {
			text += ", "
		}
		text += field.Name + " " + fromTo(field)
	}
	if f.Content != nil {
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("content from byte %d on", *f.Content)
	}
	return text
}
