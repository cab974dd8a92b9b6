package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/manual"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// documentation shows a page of the manual.
func (a *app) documentation(ctx context.Context) error {
	name := "mkosi"
	if args := a.cfg.VerbArgs; len(args) == 1 {
		name = args[0]
	} else if len(args) > 1 {
		return &config.Error{Msg: fmt.Sprintf("documentation shows one page, and there is also %q", args[1])}
	}
	if name == "schema" {
		return a.printSchema()
	}
	page := manual.Load(name)
	if page == nil {
		return &config.Error{Msg: fmt.Sprintf("there is no page %q", name),
			Hint: "choose one of " + strings.Join(documentationTopics(), ", ")}
	}
	switch a.cfg.Options.DocFormat {
	case "pandoc":
		return &config.Error{Msg: "--doc-format: pandoc is not needed and not supported",
			Hint: "--doc-format=man prints the manual page, --doc-format=markdown the text that pandoc reads"}
	case "system":
		return a.systemManual(ctx, page)
	case "man":
		_, err := a.stdout.Write(manual.Roff(page))
		return err
	case "markdown":
		return a.styled(ctx, func(w io.Writer, _ ui.Style) error {
			_, err := fmt.Fprintf(w, "# %s(%d): %s\n\n%s", page.Name, page.Section, page.Summary, page.Markdown)
			return err
		})
	}
	width := manual.Width(ui.Width(a.stdout))
	return a.styled(ctx, func(w io.Writer, s ui.Style) error {
		title := fmt.Sprintf("# Name\n\n%s: %s\n\n", page.Name, page.Summary)
		return manual.Terminal(w, title+page.Markdown, s, width)
	})
}

// documentationTopics are what can be asked for.
func documentationTopics() []string { return append(manual.Names(), "schema") }

func (a *app) printSchema() error {
	schema, err := config.JSONSchema()
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(schema)
	return err
}

// systemManual shows the page that is installed on this machine.
func (a *app) systemManual(ctx context.Context, page *manual.Page) error {
	cmd := exec.CommandContext(ctx, "man", strconv.Itoa(page.Section), page.Name)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, a.stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return &hintError{fmt.Errorf("showing the installed manual page %s(%d): %w", page.Name, page.Section, err),
			"without --doc-format=system the program shows its own"}
	}
	return nil
}

// styled shows what write writes through a pager, in the style that suits the terminal.
func (a *app) styled(ctx context.Context, write func(w io.Writer, s ui.Style) error) error {
	style := ui.StyleFor(a.stdout)
	return a.page(ctx, func(w io.Writer) error { return write(w, style) })
}
