// Package ui is how the program speaks to the person at the keyboard while it works.
//
// The rules of speech, in one place. A line names its image in brackets when it belongs to one. It starts with a
// small letter and ends without a full stop. A warning starts with "warning:", an error with "error:", and what to
// do about it follows on a line of its own that starts with "hint:". Everything goes to one writer, normally standard
// error, so that standard output carries nothing but what a verb was asked for.
//
// On a terminal the steps that are running stand below the text and are redrawn in place; elsewhere each finished
// step is one plain line. Nothing outside this package and internal/cli prints.
package ui

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Options say how a [Printer] speaks.
type Options struct {
	// Terminal draws progress in place with control sequences.
	Terminal bool
	// Color uses bold and coloured text.
	Color bool
	// Debug also prints what [Printer.Debugf] is told, and every line of the tools that run.
	Debug bool
	// Width is the terminal's width in columns; 0 means 80.
	Width func() int
	// Now is the clock for durations; nil means time.Now.
	Now func() time.Time
}

// Printer writes lines for people. It may be used from several goroutines; a line is never torn.
type Printer struct {
	opts  Options
	style Style

	mu      sync.Mutex
	out     io.Writer
	running []*Step // in the order they began
	drawn   int     // lines of the running steps now on the screen
	ticker  *time.Ticker
	stop    chan struct{}
}

// New returns a printer that writes to out. Close it so that the last drawn progress is wiped off a terminal.
func New(out io.Writer, opts Options) *Printer {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Width == nil {
		opts.Width = func() int { return 80 }
	}
	return &Printer{out: out, opts: opts, style: NewStyle(opts.Color)}
}

// ForFile returns a printer for f with the options that suit it: progress in place on a terminal that is not dumb,
// colour unless NO_COLOR is set (no-color.org).
func ForFile(f *os.File, debug bool) *Printer {
	return New(f, Options{
		Terminal: isTerminal(f, os.LookupEnv),
		Color:    StyleFor(f).color,
		Debug:    debug,
		Width:    func() int { return cmp.Or(Width(f), 80) },
	})
}

// Debugging reports whether debug lines are printed.
func (p *Printer) Debugging() bool { return p.opts.Debug }

// Infof prints one line. image may be empty.
func (p *Printer) Infof(image, format string, args ...any) {
	p.line(image, "", fmt.Sprintf(format, args...))
}

// Warnf prints one line that starts with "warning:".
func (p *Printer) Warnf(image, format string, args ...any) {
	p.line(image, p.style.Warning("warning:")+" ", fmt.Sprintf(format, args...))
}

// Debugf prints one line when debugging.
func (p *Printer) Debugf(image, format string, args ...any) {
	if p.opts.Debug {
		p.line(image, "", fmt.Sprintf(format, args...))
	}
}

// Error prints err, after "error:", and each hint on a line of its own.
func (p *Printer) Error(err error, hints ...string) {
	p.line("", p.style.Bad("error:")+" ", err.Error())
	for _, h := range hints {
		p.line("", p.style.Hint("hint:")+" ", h)
	}
}

// Close ends the drawing of progress. The printer can still print lines.
func (p *Printer) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
	p.running = nil
	p.stopTicker()
}

// Pause leaves the screen to somebody else, such as a shell, until the function that it returns is called, once. Whoever
// prints meanwhile waits.
func (p *Printer) Pause() (resume func()) {
	p.mu.Lock()
	p.wipe()
	return func() {
		p.draw()
		p.mu.Unlock()
	}
}

func (p *Printer) line(image, prefix, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
	p.print(image, prefix, text)
	p.draw()
}

// output prints a line of a tool, below the name of the image's step that runs it.
func (p *Printer) output(image, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
	for _, s := range slices.Backward(p.running) {
		if s.image == image {
			p.name(s)
			break
		}
	}
	p.print(image, "", text)
	p.draw()
}

// print prints text line by line; the caller holds the lock.
func (p *Printer) print(image, prefix, text string) {
	for i, l := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if i > 0 && prefix != "" {
			prefix = strings.Repeat(" ", 2)
		}
		fmt.Fprintf(p.out, "%s%s%s\n", p.tag(image), prefix, Printable(l))
	}
}

func (p *Printer) tag(image string) string {
	if image == "" {
		return ""
	}
	return p.style.Bold("["+image+"]") + " "
}

// Printable replaces control characters, which a tool's output or a file name may carry, so that they cannot move the
// cursor, change the terminal's state or, as those of bidirectional text, make it show another order than there is.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return r
		case r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0), unicode.Is(unicode.Bidi_Control, r):
			return '\uFFFD'
		}
		return r
	}, s)
}

// Writer returns a writer that prints each line it is given under the image's tag, below the name of the step that is
// running: the output of a script, or of a tool while debugging. Close it to print a last line that has no newline.
func (p *Printer) Writer(image string) io.WriteCloser { return &lineWriter{p: p, image: image} }

// maxLine bounds a tool's line in memory; a longer one is printed in pieces.
const maxLine = 4096

type lineWriter struct {
	p     *Printer
	image string
	mu    sync.Mutex
	buf   []byte
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = append(w.buf, b...)
	for {
		i := bytes.IndexByte(w.buf, '\n')
		switch {
		case i >= 0:
			w.p.output(w.image, string(bytes.TrimRight(w.buf[:i], "\r")))
			w.buf = w.buf[i+1:]
		case len(w.buf) > maxLine:
			w.p.output(w.image, string(w.buf))
			w.buf = nil
		default:
			return len(b), nil
		}
	}
}

func (w *lineWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.buf) > 0 {
		w.p.output(w.image, string(w.buf))
		w.buf = nil
	}
	return nil
}
