package ui

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Style gives text its look by the part it plays. The zero value changes nothing: it is the style of output that goes
// to no terminal. Styled text cannot be styled again.
type Style struct{ color bool }

// NewStyle returns the style that uses bold and coloured text if color is set, else one that changes nothing.
func NewStyle(color bool) Style { return Style{color} }

// StyleFor returns the style that suits w: colour on a terminal that understands it, unless NO_COLOR is set
// (no-color.org).
func StyleFor(w io.Writer) Style {
	return Style{isTerminal(w, os.LookupEnv) && os.Getenv("NO_COLOR") == ""}
}

// Bold stands out.
func (s Style) Bold(text string) string { return s.paint("1", text) }

// Faint stands back.
func (s Style) Faint(text string) string { return s.paint("2", text) }

// Heading is the title of a part.
func (s Style) Heading(text string) string { return s.paint("1;4", text) }

// Key is the name of something, such as a setting.
func (s Style) Key(text string) string { return s.paint("36", text) }

// Value is what a key stands for.
func (s Style) Value(text string) string { return text }

// Origin says where a value comes from.
func (s Style) Origin(text string) string { return s.paint("2", text) }

// Good is something that went well, or was taken.
func (s Style) Good(text string) string { return s.paint("32", text) }

// Bad is an error.
func (s Style) Bad(text string) string { return s.paint("31;1", text) }

// Warning is something to be careful about.
func (s Style) Warning(text string) string { return s.paint("33", text) }

// Hint is advice.
func (s Style) Hint(text string) string { return s.paint("36", text) }

func (s Style) paint(code, text string) string {
	if !s.color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Width returns the number of columns of the terminal that w is, or 0 if it is none.
func Width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// isTerminal reports whether w is a terminal that understands control sequences.
func isTerminal(w io.Writer, env func(string) (string, bool)) bool {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false
	}
	name, _ := env("TERM")
	return name != "" && name != "dumb"
}
