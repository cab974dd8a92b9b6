package console

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
)

// screen writes what a guest prints to the user's terminal, without what would spoil that beyond the guest's end or lose
// what was on it before. Firmware resets the terminal, turns off the wrapping of lines and clears the screen, for a
// terminal of its own.
type screen struct {
	to      io.Writer
	rows    func() int // of the terminal
	split   splitter
	cleared bool
}

// newScreen returns a screen on a terminal with so many rows.
func newScreen(to io.Writer, rows func() int) *screen { return &screen{to: to, rows: rows} }

// Write takes what the guest prints.
func (s *screen) Write(data []byte) (int, error) {
	var out bytes.Buffer
	s.split.split(data, func(text []byte) { out.Write(text) }, func(sequence []byte) { s.control(&out, string(sequence)) })
	if out.Len() > 0 {
		if _, err := s.to.Write(out.Bytes()); err != nil {
			return 0, err
		}
	}
	return len(data), nil
}

// control passes on a sequence, or what is better for the user.
func (s *screen) control(out *bytes.Buffer, sequence string) {
	final := sequence[len(sequence)-1]
	csi := strings.HasPrefix(sequence, "\x1b[")
	switch {
	case sequence == "\x1bc": // reset: many terminals forget what was scrolled out, too
		s.keep(out)
		out.WriteString("\x1b[0m\x1b[H\x1b[2J")
	case sequence == "\x1b[2J" || sequence == "\x1b[J":
		s.keep(out)
		out.WriteString(sequence)
	case sequence == "\x1b[3J": // forget what was scrolled out
	case sequence == "\x1b[?7l": // let lines end at the margin
	case csi && final == 't': // change the window
	case csi && strings.HasPrefix(sequence, "\x1b[=") && (final == 'h' || final == 'l'): // ANSI.SYS: change the screen's mode
	default:
		out.WriteString(sequence)
	}
}

// keep scrolls what is on the screen out of it before it is cleared for the first time.
func (s *screen) keep(out *bytes.Buffer) {
	if !s.cleared {
		out.WriteString(strings.Repeat("\n", s.rows()))
	}
	s.cleared = true
}

// leave is what brings a terminal back to what a shell expects, whatever program of the guest was on it last: normal
// characters of the usual set, a visible cursor, no insertion, wrapped lines that scroll on the whole screen, which is the
// main one, keys and pastes as they are, neither mouse nor focus. The margins and the origin move the cursor, which is
// saved before that.
const leave = "\x1b[?47l\x1b[0m\x1b(B\x0f\x1b[?25h\x1b[4l\x1b7\x1b[r\x1b[?6l\x1b8\x1b[?7h" +
	"\x1b[?1l\x1b>\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l"

// Tidy brings a terminal, if f is one, back to what a shell expects after a guest has written to it.
func Tidy(f *os.File) {
	if IsTerminal(f) {
		// A terminal that is gone needs nothing back.
		_, _ = io.WriteString(f, leave)
	}
}

// Lasting returns a writer that goes on when to does not any more, because a terminal was closed or a reader has gone:
// it calls broken, once, and drops the rest.
func Lasting(to io.Writer, broken func()) io.Writer { return &lasting{to: to, broken: broken} }

type lasting struct {
	to     io.Writer // nil when it is broken
	broken func()
}

// Write passes on what still can be.
func (l *lasting) Write(data []byte) (int, error) {
	if l.to == nil {
		return len(data), nil
	}
	if _, err := l.to.Write(data); err != nil {
		l.to = nil
		l.broken()
	}
	return len(data), nil
}

// plain writes text without control sequences and characters, for people and for grep.
type plain struct {
	to    io.Writer
	split splitter
}

// Plain returns a writer that passes on text only: lines as they end up, without control sequences, and with a line feed
// for every end of a line.
func Plain(to io.Writer) io.Writer { return &plain{to: to} }

// Write takes what a guest prints.
func (p *plain) Write(data []byte) (int, error) {
	var out []byte
	p.split.split(data, func(text []byte) { out = append(out, text...) }, func([]byte) {})
	out = slices.DeleteFunc(out, func(b byte) bool { return b < 0x20 && b != '\n' && b != '\t' || b == 0x7f })
	if len(out) > 0 {
		if _, err := p.to.Write(out); err != nil {
			return 0, err
		}
	}
	return len(data), nil
}
