package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/mkosi-go/mkosi/internal/ui"
)

// cell is a text in a table and its look, nil for none.
type cell struct {
	text string
	look func(string) string
}

// table is text in columns that are as wide as they have to be.
type table struct{ rows [][]cell }

func (t *table) row(cells ...cell) {
	for i := range cells {
		cells[i].text = ui.Printable(cells[i].text)
	}
	t.rows = append(t.rows, cells)
}

func (t *table) write(w io.Writer) {
	var widths []int
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], ui.Columns(c.text))
		}
	}
	for _, row := range t.rows {
		var line strings.Builder
		blank := 0 // owed before the next text
		for i, c := range row {
			if text := c.text; strings.TrimSpace(text) != "" {
				line.WriteString(strings.Repeat(" ", blank))
				blank = 0
				if c.look != nil {
					text = c.look(text)
				}
				line.WriteString(text)
				blank = widths[i] - ui.Columns(c.text)
			} else {
				blank += widths[i]
			}
			if i > 0 {
				blank += 2
			}
		}
		fmt.Fprintln(w, line.String())
	}
}
