package manual

import "strings"

// Kind is the kind of a block.
type Kind int

// The kinds of blocks.
const (
	Paragraph Kind = iota
	Heading
	Item // of a list
	Code
)

// Block is a part of a page.
type Block struct {
	Kind  Kind
	Level int    // of a heading: 1 is a chapter, 2 a section, 3 an entry whose text is indented
	Spans []Span // of all but code
	Lines []string
}

// Look is how a span of text stands out.
type Look int

// The looks.
const (
	Plain Look = iota
	Literal
	Emphasis
)

// Span is text with one look.
type Span struct {
	Text string
	Look Look
}

// Parse reads Markdown: headings, paragraphs, lists without lists in them, code in fences or indented by four, and in
// text `code` and *emphasis*. Everything else is text.
func Parse(text string) []Block {
	var p parser
	for _, line := range strings.Split(text, "\n") {
		p.line(strings.TrimRight(line, " \t\r"))
	}
	p.end()
	return p.blocks
}

// parser collects the lines of a block until another begins.
type parser struct {
	blocks []Block
	kind   Kind
	lines  []string // of the block that has begun
	fence  bool
	blank  bool // the line before was blank
}

func (p *parser) line(line string) {
	blank := p.blank
	p.blank = line == "" && !p.fence
	switch {
	case strings.HasPrefix(line, "```"):
		if !p.fence {
			p.end()
		}
		p.fence = !p.fence
		p.kind = Code
		if !p.fence {
			p.end()
		}
	case p.fence:
		p.lines = append(p.lines, line)
	case line == "":
		if p.kind == Code {
			p.lines = append(p.lines, "")
		} else if p.kind == Paragraph {
			p.end()
		}
	case strings.HasPrefix(line, "#"):
		p.end()
		words := strings.TrimLeft(line, "#")
		p.blocks = append(p.blocks, Block{Kind: Heading, Level: len(line) - len(words), Spans: spans(strings.TrimSpace(words))})
	case strings.HasPrefix(line, "- "):
		p.end()
		p.kind, p.lines = Item, []string{line[2:]}
	case strings.HasPrefix(line, "    ") && (p.kind == Code || len(p.lines) == 0 || blank):
		if p.kind != Code {
			p.end()
			p.kind = Code
		}
		p.lines = append(p.lines, line[4:])
	default:
		if p.kind == Code || p.kind == Item && blank && !strings.HasPrefix(line, " ") {
			p.end()
		}
		p.lines = append(p.lines, strings.TrimSpace(line))
	}
}

// end finishes the block that has begun.
func (p *parser) end() {
	if p.kind == Code {
		for len(p.lines) > 0 && p.lines[len(p.lines)-1] == "" {
			p.lines = p.lines[:len(p.lines)-1]
		}
		if len(p.lines) > 0 {
			p.blocks = append(p.blocks, Block{Kind: Code, Lines: p.lines})
		}
	} else if len(p.lines) > 0 {
		p.blocks = append(p.blocks, Block{Kind: p.kind, Spans: spans(strings.Join(p.lines, " "))})
	}
	p.kind, p.lines = Paragraph, nil
}

// spans splits a paragraph where its look changes. A mark that has no partner is text.
func spans(text string) []Span {
	var list []Span
	plain := 0
	add := func(s Span) {
		if s.Text != "" {
			list = append(list, s)
		}
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '`' && (c != '*' || i+1 == len(text) || text[i+1] == ' ') {
			continue
		}
		length := strings.IndexByte(text[i+1:], c)
		if length <= 0 {
			continue
		}
		look := Literal
		if c == '*' {
			look = Emphasis
		}
		add(Span{text[plain:i], Plain})
		add(Span{text[i+1 : i+1+length], look})
		i += length + 1
		plain = i + 1
	}
	add(Span{text[plain:], Plain})
	return list
}
