package ui

import (
	"fmt"
	"slices"
	"time"
)

// redraw is how often the times of running steps are brought up to date on a terminal.
const redraw = 100 * time.Millisecond

// Step is something that takes a while. It begins with [Printer.Begin] and ends with Done or Fail, once.
type Step struct {
	p     *Printer
	image string
	text  string
	note  string
	begun time.Time
	ended bool
	named bool // a line says that it has begun
}

// Begin shows that a step of an image has begun, said as what is being done: "installing 66 packages".
func (p *Printer) Begin(image, format string, args ...any) *Step {
	s := &Step{p: p, image: image, text: fmt.Sprintf(format, args...), begun: p.opts.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
	p.running = append(p.running, s)
	if p.opts.Terminal {
		p.startTicker()
	} else if p.opts.Debug {
		p.name(s)
	}
	p.draw()
	return s
}

// name prints that a step has begun, once; the caller holds the lock.
func (p *Printer) name(s *Step) {
	if !s.named {
		fmt.Fprintf(p.out, "%s%s ...\n", p.tag(s.image), Printable(s.text))
	}
	s.named = true
}

// Note replaces the small text that stands behind a running step on a terminal, such as how far it is.
func (s *Step) Note(format string, args ...any) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.note = fmt.Sprintf(format, args...)
}

// Done ends the step and prints its line with the time it took.
func (s *Step) Done() { s.end("") }

// Fail ends the step and prints that it failed; the error itself is printed by whoever reports it.
func (s *Step) Fail() { s.end("failed: ") }

// End is Fail when err is not nil, else Done. It suits a defer.
func (s *Step) End(err error) {
	if err != nil {
		s.Fail()
		return
	}
	s.Done()
}

func (s *Step) end(prefix string) {
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	p.wipe()
	if i := slices.Index(p.running, s); i >= 0 {
		p.running = slices.Delete(p.running, i, i+1)
	}
	fmt.Fprintf(p.out, "%s%s%s %s\n", p.tag(s.image), prefix, Printable(s.text), p.style.Faint("("+seconds(p.opts.Now().Sub(s.begun))+")"))
	if len(p.running) == 0 {
		p.stopTicker()
	}
	p.draw()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

// wipe removes the drawn progress from the screen; the caller holds the lock.
func (p *Printer) wipe() {
	if p.drawn > 0 {
		fmt.Fprintf(p.out, "\x1b[%dA\x1b[J", p.drawn)
		p.drawn = 0
	}
}

// draw shows the running steps, one line each; the caller holds the lock.
func (p *Printer) draw() {
	if !p.opts.Terminal {
		return
	}
	width := p.opts.Width()
	for _, s := range p.running {
		text := s.text
		if s.note != "" {
			text += ": " + s.note
		}
		text = Printable(fmt.Sprintf("%s %s", text, seconds(p.opts.Now().Sub(s.begun))))
		if room := width - len(s.image) - 4; len([]rune(text)) > room && room > 0 {
			text = string([]rune(text)[:room])
		}
		fmt.Fprintf(p.out, "%s%s\n", p.tag(s.image), p.style.Faint(text))
		p.drawn++
	}
}

func (p *Printer) startTicker() {
	if p.ticker != nil {
		return
	}
	ticker, stop := time.NewTicker(redraw), make(chan struct{})
	p.ticker, p.stop = ticker, stop
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				p.mu.Lock()
				if p.ticker == ticker {
					p.wipe()
					p.draw()
				}
				p.mu.Unlock()
			}
		}
	}()
}

// stopTicker ends the redrawing; the caller holds the lock.
func (p *Printer) stopTicker() {
	if p.ticker != nil {
		p.ticker.Stop()
		close(p.stop)
		p.ticker, p.stop = nil, nil
	}
}
