package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/manual"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// explain says where values come from: those of the settings that are named, or, without any, which files were read.
func (a *app) explain(ctx context.Context) error {
	questions, err := questions(a.cfg.VerbArgs)
	if err != nil {
		return err
	}
	if a.cfg.Options.JSON {
		return a.writeJSON(a.explainJSON(questions))
	}
	if a.cfgErr != nil {
		for _, e := range flatten(a.cfgErr) {
			var cfgErr *config.Error
			if errors.As(e, &cfgErr) {
				a.ui.Diagnose(a.diagnostic(cfgErr, ui.SeverityError))
			}
		}
	}
	return a.page(ctx, func(w io.Writer) error {
		x := &explainer{app: a, w: w, style: ui.StyleFor(a.stdout)}
		if len(questions) == 0 {
			x.files()
		}
		for i, q := range questions {
			if i > 0 {
				fmt.Fprintln(w)
			}
			if err := x.setting(q); err != nil {
				return err
			}
		}
		return nil
	})
}

// question is a setting to explain, and perhaps a word of its value.
type question struct {
	setting *config.Setting
	word    string
}

// questions reads arguments such as "Packages" and "Packages=systemd".
func questions(args []string) ([]question, error) {
	var list []question
	for _, arg := range args {
		name, word, _ := strings.Cut(arg, "=")
		s, hint := config.FindSetting(name)
		if s == nil {
			return nil, &config.Error{Msg: fmt.Sprintf("there is no setting %q", name), Hint: hint}
		}
		list = append(list, question{s, word})
	}
	return list, nil
}

// answer explains the setting in all images, or in those that have to do with the word.
func (q question) answer(c *config.Config) []config.Explanation {
	list := config.Explain(c, q.setting)
	if q.word == "" {
		return list
	}
	about := []config.Explanation{}
	for _, e := range list {
		if e, ok := e.About(q.word); ok {
			about = append(about, e)
		}
	}
	return about
}

// explained is the explanation of a setting as data.
type explained struct {
	Setting string
	Section string
	Kind    string
	Default string // as one would write it, or in words; "" for none
	Help    string
	Images  []config.Explanation
}

func (a *app) explainJSON(questions []question) any {
	if len(questions) == 0 {
		return append([]*config.Source{}, a.cfg.Sources...)
	}
	list := []explained{}
	for _, q := range questions {
		list = append(list, explained{q.setting.Name, q.setting.Section, q.setting.Kind(), q.setting.DefaultText(), q.setting.Help, q.answer(a.cfg)})
	}
	return list
}

// explainer writes explanations for people.
type explainer struct {
	app   *app
	w     io.Writer
	style ui.Style
}

// files lists what reading came to, in order.
func (x *explainer) files() {
	var images []string
	for _, src := range x.app.cfg.Sources {
		if !slices.Contains(images, src.Image) {
			images = append(images, src.Image)
		}
	}
	for i, image := range images {
		if i > 0 {
			fmt.Fprintln(x.w)
		}
		fmt.Fprintln(x.w, x.style.Heading("IMAGE "+image))
		t := &table{}
		for _, src := range x.app.cfg.Sources {
			if src.Image == image && (src.Skipped == nil || !src.BuiltIn()) {
				t.row(x.file(src)...)
			}
		}
		t.write(x.w)
	}
	if len(images) == 0 {
		fmt.Fprintln(x.w, "no configuration files")
	}
}

// file is the row of a file.
func (x *explainer) file(src *config.Source) []cell {
	mark, path := cell{"read", x.style.Good}, cell{text: strings.Repeat("  ", src.Depth) + x.app.short(src.Path)}
	remark := count(src.Settings, "setting")
	if why := x.why(src); why != "" {
		remark += ", " + why
	}
	if src.Skipped != nil {
		mark = cell{"skipped", x.style.Warning}
		remark = src.Skipped.String()
		if src.Skipped.Line > 0 {
			remark += fmt.Sprintf(" (line %d)", src.Skipped.Line)
		}
	}
	return []cell{{text: "  "}, mark, path, {remark, x.style.Faint}}
}

// why says what made mkosi read a file, where its name does not.
func (x *explainer) why(src *config.Source) string {
	switch {
	case src.Include != nil && src.Include.Kind == config.FromFile:
		return fmt.Sprintf("included by %s:%d", x.app.short(src.Include.File), src.Include.Line)
	case src.Include != nil:
		return "included by the command line"
	case src.Role == config.RoleProfile:
		return "profile " + src.Name
	}
	return ""
}

// setting explains one setting in all images.
func (x *explainer) setting(q question) error {
	s := q.setting
	fmt.Fprintf(x.w, "%s [%s], %s, --%s\n", x.style.Heading(s.Name+"="), s.Section, s.Kind(), s.Long)
	meaning, _, _ := strings.Cut(s.Doc(), "\n\n")
	if err := manual.Terminal(x.w, meaning, x.style, manual.Width(ui.Width(x.app.stdout))); err != nil {
		return err
	}
	if d := s.DefaultText(); d != "" {
		fmt.Fprintf(x.w, "Default: %s\n", strings.ReplaceAll(d, "`", ""))
	}
	answer := q.answer(x.app.cfg)
	if len(answer) == 0 {
		fmt.Fprintf(x.w, "\nno file and no image has %s\n", ui.Printable(q.word))
	}
	for _, e := range answer {
		fmt.Fprintf(x.w, "\n%s\n", x.style.Bold("IMAGE "+e.Image))
		x.value(e)
		t := &table{}
		for _, step := range e.Assignments {
			t.row(x.step(step)...)
		}
		for _, skipped := range e.Skipped {
			t.row(x.skipped(skipped)...)
		}
		t.write(x.w)
	}
	return nil
}

// value writes the value, the words of a list beside each other where they are many.
func (x *explainer) value(e config.Explanation) {
	lines := e.Value
	switch {
	case len(lines) == 0:
		lines = []string{"none"}
	case len(lines) > 1 && !slices.ContainsFunc(lines, func(v string) bool { return strings.ContainsAny(v, " \t\n") }):
		lines = wrap(lines, 70)
	}
	for i, line := range lines {
		name := "value"
		if i > 0 {
			name = ""
		}
		line = ui.Printable(line)
		if e.Default && i == len(lines)-1 {
			line += x.style.Faint("  (default)")
		}
		fmt.Fprintf(x.w, "  %-9s%s\n", name, line)
	}
}

// wrap puts words into lines of at most width columns, where they fit.
func wrap(words []string, width int) []string {
	lines := []string{""}
	for _, word := range words {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case ui.Columns(*last)+1+ui.Columns(word) > width:
			lines = append(lines, word)
		default:
			*last += " " + word
		}
	}
	return lines
}

// step is the row of an assignment.
func (x *explainer) step(step config.Step) []cell {
	look := x.style.Faint
	if step.Effect == config.Sets || step.Effect == config.Adds || step.Effect == config.Clears {
		look = x.style.Good
	}
	var remarks []string
	if step.From != "" {
		remarks = append(remarks, "passed down by image "+step.From)
	}
	if step.Source != nil {
		if why := x.why(step.Source); why != "" {
			remarks = append(remarks, why)
		}
	}
	return []cell{{text: "  "}, {string(step.Effect), look}, {text: x.place(step.Origin)}, {text: oneLine(step.Value)}, {strings.Join(remarks, ", "), x.style.Faint}}
}

func (x *explainer) skipped(s config.SkippedAssignment) []cell {
	why := s.Why.Skipped.String()
	if s.Why.Skipped.Line > 0 {
		why += fmt.Sprintf(" (%s:%d)", x.app.short(s.Why.Path), s.Why.Skipped.Line)
	}
	return []cell{{text: "  "}, {"skipped", x.style.Warning}, {text: fmt.Sprintf("%s:%d", x.app.short(s.File), s.Line)}, {text: oneLine(s.Value)}, {why, x.style.Faint}}
}

// place says where an assignment stands.
func (x *explainer) place(o config.Origin) string {
	o.File, o.From = x.app.short(o.File), "" // the image has a column of its own
	return o.String()
}

// maxShown is how many characters of a value a row of a table shows.
const maxShown = 48

// oneLine cuts a value for a row of a table.
func oneLine(value string) string {
	r := []rune(strings.Join(strings.Fields(value), " "))
	if len(r) > maxShown {
		r = append(r[:maxShown-3], '.', '.', '.')
	}
	return string(r)
}
