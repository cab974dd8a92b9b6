package ui

import "strings"

// Table writes rows of three columns, each as wide as it has to be. What does not fit the width is continued on the next
// line, in its column. Cells must be fit to print, see [Printable].
type Table struct {
	Indent int // columns before each row
	Width  int // columns of the terminal; 0 for as many as it takes
	Looks  [3]func(string) string

	widest [3]int
}

// gap is the space between two columns.
const gap = 2

// narrowest is how far columns are narrowed; beyond that lines become wider than the terminal.
const narrowest = 12

// Fit makes room for a row that will be written.
func (t *Table) Fit(row [3]string) {
	for i, cell := range row {
		t.widest[i] = max(t.widest[i], Columns(cell))
	}
}

// widths returns the widths of the columns: the last one gives way first, up to a third of the terminal, then the second.
func (t *Table) widths() [3]int {
	w := t.widest
	if t.Width <= 0 {
		// Nothing is cut, but one long value does not push all origins far to the right.
		return [3]int{w[0], min(w[1], 50), w[2]}
	}
	room := t.Width - t.Indent - 2*gap - w[0]
	if w[1]+w[2] > room {
		w[2] = min(w[2], max(t.Width/3, room-w[1], narrowest))
		w[1] = min(w[1], max(room-w[2], narrowest))
	}
	return w
}

// Row returns a row as lines.
func (t *Table) Row(row [3]string) string {
	widths := t.widths()
	var cells [3][]string
	for i, cell := range row {
		cells[i] = []string{cell}
		if t.Width > 0 && i > 0 {
			cells[i] = Wrap(cell, widths[i])
		}
	}
	var b strings.Builder
	for n := range max(len(cells[0]), len(cells[1]), len(cells[2])) {
		blank := t.Indent
		for i := range cells {
			text := ""
			if n < len(cells[i]) {
				text = cells[i][n]
			}
			if text != "" {
				b.WriteString(strings.Repeat(" ", blank) + t.Looks[i](text))
				blank = 0
			}
			blank += max(widths[i]-Columns(text), 0) + gap
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Wrap breaks a text into lines of at most so many columns: after a space, a comma or a slash where there is one, else
// anywhere. It loses nothing but the space at which it breaks. Without columns it breaks nothing.
func Wrap(text string, columns int) []string {
	var lines []string
	for columns > 0 && Columns(text) > columns {
		end := cut(text, columns)
		if end == len(text) { // one character that is wider than the column
			break
		}
		lines = append(lines, strings.TrimSuffix(text[:end], " "))
		text = text[end:]
	}
	return append(lines, text)
}

// cut returns where to break a text that is wider than so many columns.
func cut(text string, columns int) int {
	fits, used := len(text), 0
	for i, r := range text {
		if used += runeColumns(r); used > columns && i > 0 {
			fits = i
			break
		}
	}
	if strings.HasPrefix(text[fits:], " ") {
		return fits + 1
	}
	if i := strings.LastIndexAny(text[:fits], " ,/"); i > 0 {
		return i + 1
	}
	return fits
}
