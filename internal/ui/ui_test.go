package ui

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock advances by a second at every reading.
func clock() func() time.Time {
	var mu sync.Mutex
	t := time.Unix(0, 0)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		t = t.Add(time.Second)
		return t
	}
}

func TestPlainLines(t *testing.T) {
	var out bytes.Buffer
	p := New(&out, Options{Now: clock()})
	s := p.Begin("base", "installing %d packages", 2)
	p.Infof("base", "hello\nworld")
	p.Debugf("", "not shown")
	s.Done()
	s.Done() // a second end says nothing
	p.Begin("btrfs", "packing").End(errors.New("full"))
	p.Warnf("", "careful")
	p.Error(errors.New("it broke"), "mend it")
	p.Close()
	want := "[base] hello\n[base] world\n[base] installing 2 packages (1.0s)\n[btrfs] failed: packing (1.0s)\n" +
		"warning: careful\nerror: it broke\nhint: mend it\n"
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestTerminalRedraws(t *testing.T) {
	var out bytes.Buffer
	p := New(&out, Options{Terminal: true, Now: clock(), Width: func() int { return 40 }})
	p.Begin("base", "a step whose text is longer than the terminal is wide")
	p.Infof("", "a line")
	p.Close()
	got := out.String()
	if !strings.Contains(got, "\x1b[1A\x1b[Ja line\n[base]") {
		t.Errorf("the running step was not redrawn below the line: %q", got)
	}
	for _, l := range strings.Split(got, "\n") {
		if len(l) > 40+len("\x1b[1A\x1b[J") {
			t.Errorf("line wider than the terminal: %q", l)
		}
	}
	if !strings.HasSuffix(got, "\x1b[1A\x1b[J") {
		t.Errorf("progress was left on the screen: %q", got)
	}
}

func TestWriterTagsLinesAndHoldsPartialOnes(t *testing.T) {
	var out bytes.Buffer
	p := New(&out, Options{})
	w := p.Writer("x")
	for _, s := range []string{"one\ntw", "o\r\nthree \x1b[31mred"} {
		if _, err := w.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if want := "[x] one\n[x] two\n[x] three \uFFFD[31mred\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestConcurrentLinesAreWhole(t *testing.T) {
	var out bytes.Buffer
	p := New(&out, Options{Terminal: true})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				s := p.Begin("i", "step")
				p.Infof("i", "line")
				s.Done()
			}
		})
	}
	wg.Wait()
	p.Close()
	if n := strings.Count(out.String(), "line\n"); n != 400 {
		t.Errorf("%d lines, want 400", n)
	}
}

func TestWhoeverPrintsDuringAPauseWaits(t *testing.T) {
	var out bytes.Buffer
	p := New(&out, Options{})
	p.Infof("", "before")
	resume := p.Pause()
	done := make(chan struct{})
	go func() {
		p.Infof("", "after")
		close(done)
	}()
	select {
	case <-done:
		t.Error("it was printed during the pause")
	case <-time.After(50 * time.Millisecond):
	}
	resume()
	<-done
	if out.String() != "before\nafter\n" {
		t.Errorf("got %q", out.String())
	}
}
