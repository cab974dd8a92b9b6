package manual

import (
	"fmt"
	"io"
	"strings"

	"github.com/mkosi-go/mkosi/internal/ui"
)

// Terminal writes Markdown for people to read, in lines of at most width columns if words allow.
func Terminal(w io.Writer, markdown string, style ui.Style, width int) error {
	t := &terminal{w: w, style: style, width: width}
	for i, b := range Parse(markdown) {
		t.block(b, i == 0)
	}
	return t.err
}

// Width returns the columns that text is wrapped at on a terminal of so many, 0 for none.
func Width(columns int) int {
	if columns <= 0 {
		return 80
	}
	return min(max(columns, 30), 100) // longer lines are hard to read
}

type terminal struct {
	w      io.Writer
	style  ui.Style
	width  int
	indent int
	item   bool // the block before was an item
	err    error
}

func (t *terminal) print(text string) {
	if t.err == nil {
		_, t.err = fmt.Fprintln(t.w, strings.TrimRight(text, " "))
	}
}

func (t *terminal) block(b Block, first bool) {
	if !first && (b.Kind != Item || !t.item) {
		t.print("")
	}
	t.item = b.Kind == Item
	switch b.Kind {
	case Heading:
		t.heading(b)
	case Code:
		for _, line := range b.Lines {
			t.print(strings.Repeat(" ", t.indent+4) + line)
		}
	case Item:
		t.wrap(b.Spans, t.indent+2, "- ")
	case Paragraph:
		t.wrap(b.Spans, t.indent, "")
	}
}

// heading writes a heading and sets how far the text below it is indented.
func (t *terminal) heading(b Block) {
	text := plainText(b.Spans)
	switch b.Level {
	case 1:
		t.print(t.style.Heading(strings.ToUpper(text)))
		t.indent = 4
	case 2:
		t.print("  " + t.style.Bold(text))
		t.indent = 4
	default:
		t.print("    " + t.style.Key(text))
		t.indent = 8
	}
}

// wrap writes words up to the width. The first line starts with a mark.
func (t *terminal) wrap(spans []Span, indent int, mark string) {
	line, columns := strings.Repeat(" ", indent-len(mark))+mark, indent
	empty := true
	for _, word := range words(spans) {
		length := 0
		text := ""
		for _, s := range word {
			length += ui.Columns(s.Text)
			text += t.look(s)
		}
		if !empty && columns+1+length > t.width {
			t.print(line)
			line, columns, empty = strings.Repeat(" ", indent), indent, true
		}
		if !empty {
			line, columns = line+" ", columns+1
		}
		line, columns, empty = line+text, columns+length, false
	}
	t.print(line)
}

func (t *terminal) look(s Span) string {
	switch s.Look {
	case Literal:
		return t.style.Key(s.Text)
	case Emphasis:
		return t.style.Bold(s.Text)
	}
	return s.Text
}

// words splits spans at white space. A word may change its look within.
func words(spans []Span) [][]Span {
	var list [][]Span
	open := false // whether the last word goes on
	for _, s := range spans {
		for i, part := range strings.FieldsFunc(s.Text, func(r rune) bool { return r == ' ' }) {
			part := Span{part, s.Look}
			if i == 0 && open && !strings.HasPrefix(s.Text, " ") {
				list[len(list)-1] = append(list[len(list)-1], part)
			} else {
				list = append(list, []Span{part})
			}
		}
		open = !strings.HasSuffix(s.Text, " ") && len(list) > 0
	}
	return list
}

func plainText(spans []Span) string {
	var b strings.Builder
	for _, s := range spans {
		b.WriteString(s.Text)
	}
	return b.String()
}
