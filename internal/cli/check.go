package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// toleratesErrors reports whether a verb has a use for a configuration that is wrong. On the command line itself
// nothing may be wrong.
func toleratesErrors(c *config.Config) bool {
	switch c.Verb {
	case config.VerbCheck, config.VerbExplain:
		return len(c.Images) > 0
	case config.VerbInspect, config.VerbVerify:
		return len(c.Images) > 0 && len(c.VerbArgs) > 0 // it is only asked for certificates
	}
	return false
}

// foundProblems is the error of a check that has said already what is wrong.
type foundProblems struct{ summary string }

func (e foundProblems) Error() string { return e.summary }

// check says everything that is wrong with the configuration, and fails if that is anything.
func (a *app) check(context.Context) error {
	report := config.Check(a.cfg, a.cfgErr)
	if a.cfg.Options.Strict {
		report.Errors, report.Warnings = slices.Concat(report.Errors, report.Warnings), nil
	}
	if a.cfg.Options.JSON {
		if err := a.writeJSON(problemsJSON(report)); err != nil {
			return err
		}
	} else {
		a.diagnose(report.Warnings, ui.SeverityWarning)
		a.diagnose(report.Errors, ui.SeverityError)
	}
	if len(report.Errors) > 0 {
		return foundProblems{fmt.Sprintf("%s, %s", count(len(report.Errors), "error"), count(len(report.Warnings), "warning"))}
	}
	if !a.cfg.Options.JSON {
		fmt.Fprintf(a.stdout, "%s in %s, %s\n", count(len(a.cfg.Images), "image"), count(len(files(a.cfg)), "file"), count(len(report.Warnings), "warning"))
	}
	return nil
}

// diagnose shows problems with an empty line after each, since there may be many.
func (a *app) diagnose(list []*config.Error, severity ui.Severity) {
	for _, e := range list {
		a.ui.Diagnose(a.diagnostic(e, severity))
		a.ui.Infof("", "")
	}
}

func count(n int, what string) string {
	switch n {
	case 0:
		return "no " + what + "s"
	case 1:
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// files returns the configuration files of the user's that were read.
func files(c *config.Config) []string {
	var list []string
	for _, s := range c.Sources {
		if s.Skipped == nil && filepath.IsAbs(s.Path) && !slices.Contains(list, s.Path) {
			list = append(list, s.Path)
		}
	}
	return list
}

// problem is an error or a warning as data.
type problem struct {
	Severity ui.Severity
	File     *string // null for the command line
	Line     *int    // counted from 1
	Column   *int    // in characters, counted from 1
	Length   *int    // in characters
	Setting  *string
	Message  string
	Hint     *string
}

func problemsJSON(r config.Report) []problem {
	list := []problem{}
	add := func(errs []*config.Error, severity ui.Severity) {
		for _, e := range errs {
			list = append(list, problem{severity, orNil(e.File), orNil(e.Line), orNil(e.Column), orNil(e.Length), orNil(e.Setting), e.Msg, orNil(e.Hint)})
		}
	}
	add(r.Errors, ui.SeverityError)
	add(r.Warnings, ui.SeverityWarning)
	return list
}

// orNil makes null in JSON of the value that stands for none.
func orNil[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// writeJSON writes data for programs to standard output.
func (a *app) writeJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "    ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return nil
}

// diagnostic shows an error of the configuration with the line that it is about.
func (a *app) diagnostic(e *config.Error, severity ui.Severity) ui.Diagnostic {
	d := ui.Diagnostic{Severity: severity, Message: a.relative(e.Msg), File: a.short(e.File), Line: e.Line, Column: e.Column, Length: e.Length}
	if e.Line > 0 {
		d.Source = a.excerpts.Line(e.File, e.Line)
		// A hidden secret may be longer than what stands for it.
		d.Length = min(d.Length, max(1, utf8.RuneCountInString(d.Source)-d.Column+1))
	}
	if e.Hint != "" {
		d.Hints = []string{a.relative(e.Hint)}
	}
	return d
}

// relative writes the paths in a text that are below the current directory as one would type them. The directory's name
// may also stand in the middle of a longer path, which stays as it is.
func (a *app) relative(text string) string {
	dir := a.dir + "/"
	var b strings.Builder
	for {
		at := strings.Index(text, dir)
		if at < 0 {
			return b.String() + text
		}
		b.WriteString(text[:at])
		if at > 0 && !strings.ContainsRune(" \t\n\"'(=:,", rune(text[at-1])) {
			b.WriteString(dir)
		}
		text = text[at+len(dir):]
	}
}

// short writes a path relative to the current directory if it is below.
func (a *app) short(path string) string { return shorten(a.dir, path) }

// shorten writes a path relative to a directory if it is below.
func shorten(dir, path string) string {
	if rel, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(rel) && dir != "/" {
		return rel
	}
	return path
}
