package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// summary shows the configuration, for people or, with --json, for programs.
func (a *app) summary(ctx context.Context) error {
	a.warn()
	if !a.cfg.Options.JSON {
		s := &summaryWriter{style: ui.StyleFor(a.stdout), width: ui.Width(a.stdout), dir: a.cfg.Dir}
		return a.page(ctx, func(w io.Writer) error {
			s.w = w
			return s.write(config.Summarize(a.cfg, a.cfg.Options.All))
		})
	}
	b, err := config.JSON(a.cfg)
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(append(b, '\n'))
	return err
}

// page shows what write writes through a pager, unless the user wants none.
func (a *app) page(ctx context.Context, write func(w io.Writer) error) error {
	return ui.Page(ctx, ui.PageOptions{Stdout: a.stdout, Disabled: a.cfg.Options.NoPager}, write)
}

// summaryWriter writes summaries in columns: names, values and where they come from.
type summaryWriter struct {
	w     io.Writer
	style ui.Style
	width int    // of the terminal; 0 for none, which has room for everything
	dir   string // of the configuration
}

func (s *summaryWriter) write(images []config.ImageSummary) error {
	var b strings.Builder
	for i, img := range images {
		if i > 0 {
			b.WriteString("\n")
		}
		s.image(&b, img)
	}
	_, err := io.WriteString(s.w, b.String())
	return err
}

// outputName is the row of what no single setting says, the path of the output.
const outputName = "Output path"

func (s *summaryWriter) image(b *strings.Builder, img config.ImageSummary) {
	fmt.Fprintf(b, "%s\n", s.style.Heading("IMAGE: "+ui.Printable(img.Image)))
	table := s.table(img)
	b.WriteString(table.Row([3]string{outputName, ui.Printable(s.path(img.Output))}))
	for _, section := range img.Sections {
		fmt.Fprintf(b, "\n  %s\n", s.style.Bold("["+section.Name+"]"))
		for _, setting := range section.Settings {
			for _, row := range s.rows(setting) {
				b.WriteString(table.Row(row))
			}
		}
	}
	if len(img.Shared) > 0 {
		fmt.Fprintf(b, "\n  %s\n", s.style.Bold("As in the main image"))
		for _, line := range ui.Wrap(strings.Join(img.Shared, ", "), s.width-4) {
			fmt.Fprintf(b, "    %s\n", line)
		}
	}
}

// table fits three columns to an image's settings.
func (s *summaryWriter) table(img config.ImageSummary) ui.Table {
	t := ui.Table{Indent: 4, Width: s.width, Looks: [3]func(string) string{s.style.Key, s.style.Value, s.style.Origin}}
	t.Fit([3]string{outputName, s.path(img.Output)})
	for _, section := range img.Sections {
		for _, setting := range section.Settings {
			for _, row := range s.rows(setting) {
				t.Fit(row)
			}
		}
	}
	return t
}

// rows returns the lines of a setting: an element of a list each, whose origin is left out if it is that of the one
// before it.
func (s *summaryWriter) rows(setting config.SettingSummary) [][3]string {
	var rows [][3]string
	name, before, origin := setting.Name, "", ""
	for i, v := range setting.Values {
		// Elements that share all origins of a long list would take the square of its length.
		if i == 0 || !sameSlice(v.Origins, setting.Values[i-1].Origins) {
			origin = s.origins(v.Origins)
		}
		row := [3]string{name, ui.Printable(v.Text)}
		if origin != before {
			row[2] = ui.Printable(origin)
		}
		name, before = "", origin
		rows = append(rows, row)
	}
	return rows
}

// sameSlice reports whether two slices are one.
func sameSlice[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// origins says in short where a value comes from.
func (s *summaryWriter) origins(origins []config.Origin) string {
	if len(origins) == 0 {
		return "default"
	}
	var words []string
	seen := map[string]bool{}
	for _, o := range origins {
		o.File = s.path(o.File)
		if word := o.String(); !seen[word] {
			words, seen[word] = append(words, word), true
		}
	}
	return strings.Join(words, ", ")
}

// path shortens a path that is below the directory of the configuration.
func (s *summaryWriter) path(path string) string { return shorten(s.dir, path) }

// catConfig prints the configuration files, each under its name.
func (a *app) catConfig(ctx context.Context) error {
	a.warn()
	sources, err := config.Texts(a.cfg)
	if err != nil {
		return err
	}
	s := &summaryWriter{style: ui.StyleFor(a.stdout), dir: a.cfg.Dir}
	return a.page(ctx, func(w io.Writer) error {
		s.w = w
		return s.writeSources(sources)
	})
}

func (s *summaryWriter) writeSources(images []config.ImageTexts) error {
	var b strings.Builder
	for _, img := range images {
		fmt.Fprintf(&b, "%s\n", s.style.Heading("### IMAGE: "+ui.Printable(img.Image)))
		for _, file := range img.Files {
			fmt.Fprintf(&b, "%s\n", s.style.Key("# "+ui.Printable(s.path(file.Path))))
			for _, line := range strings.Split(strings.TrimSuffix(file.Text, "\n"), "\n") {
				fmt.Fprintf(&b, "%s\n", ui.Printable(strings.TrimSuffix(line, "\r")))
			}
			b.WriteString("\n")
		}
	}
	_, err := io.WriteString(s.w, b.String())
	return err
}
