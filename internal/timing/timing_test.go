package timing

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeClock is a process whose figures a test sets.
type fakeClock struct {
	at    time.Time
	used  usage
	blind bool
}

func (c *fakeClock) now() time.Time      { return c.at }
func (c *fakeClock) self() (usage, bool) { return c.used, !c.blind }
func (c *fakeClock) pass(wall, cpu time.Duration, written int64) {
	c.at = c.at.Add(wall)
	c.used.add(usage{cpu, written})
}

// text writes a report in short: a line for each span, indented.
func text(p Report, indent string) string {
	var b strings.Builder
	for _, e := range p {
		fmt.Fprintf(&b, "%s%s %s@%g wall=%g cpu=%g", indent, e.Image, e.label(), e.Start, e.Wall, e.CPU)
		if e.Written != nil {
			fmt.Fprintf(&b, " written=%d", *e.Written)
		}
		b.WriteString("\n" + text(e.Steps, indent+" "))
	}
	return b.String()
}

func equal(t *testing.T, got, want string) {
	t.Helper()
	if got != strings.TrimLeft(want, "\n") {
		t.Errorf("got:\n%swant:%s", got, want)
	}
}

func TestStepsLieInTheirImageAndImagesInTheBuild(t *testing.T) {
	c := &fakeClock{at: time.Unix(100, 0)}
	r := newRecorder(c)
	build := r.Begin("", "build")
	c.pass(time.Second, time.Second, 10)
	main := r.Begin("main", "image main")
	step := r.Begin("main", "installing")
	c.pass(2*time.Second, time.Second, 100)
	step.End(nil)
	step = r.Begin("main", "writing")
	c.pass(time.Second, 0, 5)
	step.End(errors.New("x"))
	main.End(errors.New("x"))
	build.End(errors.New("x"))
	equal(t, text(r.Report(), ""), `
 build (failed)@0 wall=4 cpu=2 written=115
 main image main (failed)@1 wall=3 cpu=1 written=105
  main installing@1 wall=2 cpu=1 written=100
  main writing (failed)@3 wall=1 cpu=0 written=5
`)
}

func TestWhatTheProgramUsesIsDividedAndWhatCommandsUseIsNot(t *testing.T) {
	c := &fakeClock{at: time.Unix(100, 0)}
	r := newRecorder(c)
	a, b := r.Begin("a", "image a"), r.Begin("b", "image b")
	c.pass(time.Second, 2*time.Second, 11)
	// The kernel counts what a command wrote as ours once it was waited for.
	c.pass(time.Second, 0, 1000)
	r.Used("a", 30*time.Second, 1000)
	a.End(nil)
	b.End(nil)
	got := r.Report()
	if got[0].CPU != 31 || got[1].CPU != 1 {
		t.Errorf("CPU %g and %g, want 31 and 1", got[0].CPU, got[1].CPU)
	}
	if sum := *got[0].Written + *got[1].Written; sum != 1011 || *got[1].Written > 6 {
		t.Errorf("written %d and %d, want 1011 together, of which b has half of 11", *got[0].Written, *got[1].Written)
	}
}

func TestACommandThatIsCountedTooEarlyIsCountedOnce(t *testing.T) {
	c := &fakeClock{at: time.Unix(100, 0)}
	r := newRecorder(c)
	a, b := r.Begin("a", "image a"), r.Begin("b", "image b")
	c.pass(0, 0, 1000)
	b.End(nil) // divides before Used is called
	r.Used("a", 0, 1000)
	c.pass(0, 0, 300)
	a.End(nil)
	if got := r.Report(); *got[0].Written < 1000 || *got[1].Written > 500 || *got[0].Written > 1500 {
		t.Errorf("written %d and %d", *got[0].Written, *got[1].Written)
	}
}

func TestARunningSpanIsReportedUpToNow(t *testing.T) {
	c := &fakeClock{at: time.Unix(100, 0), blind: true}
	r := newRecorder(c)
	r.Begin("a", "image a")
	c.pass(3*time.Second, 0, 0)
	equal(t, text(r.Report(), ""), "\na image a@0 wall=3 cpu=0\n")
}

func TestANilRecorderRecordsNothing(t *testing.T) {
	var r *Recorder
	r.Begin("a", "b").End(nil)
	r.Used("a", 1, 1)
	if got := r.Report(); got != nil {
		t.Errorf("reported %v", got)
	}
}

func TestSpansOfManyGoroutines(t *testing.T) {
	r := New()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			image := fmt.Sprint(i)
			s := r.Begin(image, "image")
			for range 20 {
				r.Begin(image, "step").End(nil)
				r.Used(image, time.Millisecond, 7)
			}
			s.End(nil)
		})
	}
	wg.Wait()
	report := r.Report()
	if len(report) != 8 {
		t.Fatalf("%d images, want 8", len(report))
	}
	for _, e := range report {
		if len(e.Steps) != 20 || e.CPU < 0.02 {
			t.Errorf("image %s: %d steps and %gs, want 20 and at least 0.02s", e.Image, len(e.Steps), e.CPU)
		}
	}
}

// TestThisProcessIsMeasured writes and computes, and sees both.
func TestThisProcessIsMeasured(t *testing.T) {
	r := New()
	s := r.Begin("a", "busy")
	for begin := (system{}).cpu(); (system{}).cpu() < begin+20*time.Millisecond; {
	}
	if err := os.WriteFile(t.TempDir()+"/x", make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s.End(nil)
	e := r.Report()[0]
	if e.CPU < 0.015 || e.CPU > 30 || e.Wall < 0.001 {
		t.Errorf("CPU %g, wall %g", e.CPU, e.Wall)
	}
	if e.Written != nil && *e.Written < 0 {
		t.Errorf("wrote %d bytes", *e.Written)
	}
}

func sample() Report {
	written := int64(2048)
	return Report{{Name: "build", Wall: 10, CPU: 4, Written: &written, Failed: true, Steps: Report{
		{Image: "base", Name: "image base", Wall: 4, CPU: 3, Written: &written, Steps: Report{
			{Image: "base", Name: "installing <&\"'> a\x1b[31m", Wall: 3, CPU: 2, Written: &written}}},
		{Image: "main", Name: "image main", Start: 4, Wall: 6, CPU: 1, Written: &written},
	}}}
}

func plain(n int64) string { return fmt.Sprintf("%dB", n) }

func TestTable(t *testing.T) {
	got := sample().Table(func(s string) string { return strings.ReplaceAll(s, "\x1b", "?") }, plain)
	equal(t, got, `
Step                              Wall        CPU    Written
build (failed)                  10.00s      4.00s      2048B
  image base                     4.00s      3.00s      2048B
    installing <&"'> a?[31m      3.00s      2.00s      2048B
  image main                     6.00s      1.00s      2048B
`)
}

func TestSVGIsWellFormedAndHasALaneForEachImage(t *testing.T) {
	svg := string(sample().SVG(plain))
	lanes := map[string]bool{}
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if e, ok := token.(xml.StartElement); ok {
			if e.Name.Local == "script" {
				t.Error("it has a script")
			}
			for _, a := range e.Attr {
				if e.Name.Local == "rect" && a.Name.Local == "y" {
					lanes[a.Value] = true
				}
			}
		}
	}
	if len(lanes) != 4 {
		t.Errorf("%d lanes, want one for the build, two for base and one for main:\n%s", len(lanes), svg)
	}
	for _, want := range []string{"prefers-color-scheme: dark", "[main] image main\n6.00s, CPU 1.00s, 2048B written", "&lt;&amp;&#34;&#39;&gt;", `class="failed"`} {
		if !strings.Contains(svg, want) {
			t.Errorf("%q is missing in\n%s", want, svg)
		}
	}
}

func TestTicksAreRoundAndFew(t *testing.T) {
	for _, total := range []float64{0.001, 0.3, 1, 7, 59, 61, 999, 86400} {
		step := tick(total)
		if n := total / step; n < 4 || n > 12.01 {
			t.Errorf("%g seconds: %g lines", total, n)
		}
	}
}
