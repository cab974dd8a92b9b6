package ui

import (
	"fmt"
	"strconv"
	"strings"
)

// Severity says how bad something is.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Diagnostic is something that is wrong with a file, and where. All fields but Message may be empty.
type Diagnostic struct {
	Severity Severity // "" is an error
	Message  string
	File     string   // as it is to be shown
	Line     int      // counted from 1; 0 when it is the whole file
	Column   int      // in characters, counted from 1; 0 when it is the whole line
	Length   int      // in characters; 0 points at a place
	Source   string   // text of the line; what follows a newline is not shown
	Hints    []string // what to do about it
}

// Position returns the file, line and column as far as they are known, in the form that editors understand.
func (d Diagnostic) Position() string {
	switch {
	case d.Line == 0 || d.File == "":
		return Printable(d.File)
	case d.Column == 0:
		return fmt.Sprintf("%s:%d", Printable(d.File), d.Line)
	}
	return fmt.Sprintf("%s:%d:%d", Printable(d.File), d.Line, d.Column)
}

// Render returns the diagnostic as lines for people: what is wrong, where, an excerpt of the source that points at the
// place, and the hints. The excerpt is cut such that no line is wider than width columns; 0 is a terminal's usual width.
func (d Diagnostic) Render(s Style, width int) string {
	var b strings.Builder
	if d.Severity == SeverityWarning {
		b.WriteString(s.Warning("warning:"))
	} else {
		b.WriteString(s.Bad("error:"))
	}
	b.WriteString(" " + paragraph(d.Message) + "\n")
	margin := strings.Repeat(" ", len(strconv.Itoa(d.Line))+1)
	if position := d.Position(); position != "" {
		fmt.Fprintf(&b, "%s%s %s\n", margin, s.Faint("-->"), position)
	}
	if source, _, _ := strings.Cut(d.Source, "\n"); d.Line > 0 && strings.TrimSpace(source) != "" {
		bar := s.Faint("|")
		fmt.Fprintf(&b, "%s %s\n", margin, bar)
		// One column is kept for a caret behind the end of the line.
		text, caret, carets := d.excerpt(source, room(width, len(margin)+3+1))
		fmt.Fprintf(&b, " %s %s %s\n", s.Faint(strconv.Itoa(d.Line)), bar, text)
		if carets > 0 {
			fmt.Fprintf(&b, "%s %s %s%s\n", margin, bar, strings.Repeat(" ", caret), s.Bad(strings.Repeat("^", carets)))
		}
	}
	for _, hint := range d.Hints {
		b.WriteString(s.Hint("hint:") + " " + paragraph(hint) + "\n")
	}
	return b.String()
}

// Diagnose prints a diagnostic.
func (p *Printer) Diagnose(d Diagnostic) {
	text := d.Render(p.style, p.opts.Width())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
	fmt.Fprint(p.out, text)
	p.draw()
}

// paragraph indents the lines after the first.
func paragraph(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := range lines {
		lines[i] = Printable(lines[i])
	}
	return strings.Join(lines, "\n  ")
}

// room returns the columns that are left beside a margin, enough for a few words at least.
func room(width, margin int) int {
	if width <= 0 {
		width = 80
	}
	return max(width-margin, 20)
}

// ellipsis stands for what an excerpt leaves out.
const ellipsis = "..."

// tabStop is how many columns a tab goes on to a multiple of.
const tabStop = 4

// cell is a character of the source as it is shown.
type cell struct {
	text    string
	columns int
}

// cells makes a line fit to be shown: tabs become spaces, control characters and bytes that are no text U+FFFD.
func cells(source string) []cell {
	var list []cell
	column := 0
	for _, r := range source {
		c := cell{text: Printable(string(r)), columns: runeColumns(r)}
		if r == '\t' {
			c.columns = tabStop - column%tabStop
			c.text = strings.Repeat(" ", c.columns)
		}
		list = append(list, c)
		column += c.columns
	}
	return list
}

// excerpt returns the line, cut to the given number of columns around the place, the column of the place in it,
// counted from 0, and how many carets point at it.
func (d Diagnostic) excerpt(source string, columns int) (text string, caret, carets int) {
	line := cells(strings.TrimRight(source, " \t\r"))
	// A place after the end of the line is right behind it.
	first := min(max(d.Column-1, 0), len(line))
	last := first + min(max(d.Length, 0), len(line)-first)
	from, to := window(line, first, columns)
	var b strings.Builder
	if from > 0 {
		b.WriteString(ellipsis)
		caret = len(ellipsis)
	}
	for i, c := range line[from:to] {
		b.WriteString(c.text)
		switch i += from; {
		case i < first:
			caret += c.columns
		case i < last:
			carets += c.columns
		}
	}
	if to < len(line) {
		b.WriteString(ellipsis)
	}
	if d.Column == 0 {
		return b.String(), 0, 0
	}
	return b.String(), caret, max(carets, 1)
}

// window returns the cells from and up to which a line is shown: all if they fit, else such that the place has some of
// the line before it and most of the room behind it.
func window(line []cell, first, columns int) (from, to int) {
	total := 0
	for _, c := range line {
		total += c.columns
	}
	if total <= columns {
		return 0, len(line)
	}
	columns -= 2 * len(ellipsis)
	from = first
	for before := 0; from > 0 && before+line[from-1].columns <= columns/3; from-- {
		before += line[from-1].columns
	}
	used := 0
	for to = from; to < len(line) && used+line[to].columns <= columns; to++ {
		used += line[to].columns
	}
	// Near the end of the line there is room left for more of its beginning.
	for to == len(line) && from > 0 && used+line[from-1].columns <= columns {
		from--
		used += line[from].columns
	}
	return from, to
}
