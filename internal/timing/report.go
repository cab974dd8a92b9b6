package timing

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Report is what a [Recorder] has recorded. As JSON it is a list of objects, one for each span, with those that lie in it
// as Steps.
type Report []*Entry

// Entry is one span of a report.
type Entry struct {
	Image string // "" for the build
	Name  string // what was done
	// Start, Wall and CPU are in seconds: since the recorder was made, by the clock, and of all processors together. CPU
	// is that of the Steps too.
	Start, Wall, CPU float64
	// Written are bytes written to disks, those of the Steps too; null if the kernel does not count them.
	Written *int64
	Failed  bool
	Steps   Report
}

// Report returns what was recorded so far. Spans that have not ended are reported as if they ended now.
func (r *Recorder) Report() Report {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.divide()
	report, _ := r.report(r.roots, r.clock.now())
	return report
}

// report returns the entries of spans, and what they used together.
func (r *Recorder) report(spans []*Span, now time.Time) (Report, usage) {
	report, sum := Report{}, usage{}
	for _, s := range spans {
		end := s.end
		if end.IsZero() {
			end = now
		}
		e := &Entry{Image: s.image, Name: s.name, Failed: s.failed,
			Start: s.begin.Sub(r.begun).Seconds(), Wall: end.Sub(s.begin).Seconds()}
		var used usage
		e.Steps, used = r.report(s.children, now)
		used.add(s.used)
		e.CPU = used.cpu.Seconds()
		if r.written {
			e.Written = &used.written
		}
		report, sum = append(report, e), usage{sum.cpu + used.cpu, sum.written + used.written}
	}
	return report, sum
}

// Table returns the report as text in four columns with a heading: a line for each span, indented below that in which
// it lies, in the order in which they began. printable makes names fit for a terminal; bytes writes a number of bytes.
func (p Report) Table(printable func(string) string, bytes func(int64) string) string {
	var rows []row
	p.rows(&rows, 0, printable, bytes)
	width := len(heading.name)
	for _, r := range rows {
		width = max(width, utf8.RuneCountInString(r.name))
	}
	var b strings.Builder
	for _, r := range append([]row{heading}, rows...) {
		pad := strings.Repeat(" ", width-utf8.RuneCountInString(r.name))
		fmt.Fprintf(&b, "%s%s  %9s  %9s  %9s\n", r.name, pad, r.wall, r.cpu, r.written)
	}
	return b.String()
}

// row is a line of the table.
type row struct{ name, wall, cpu, written string }

var heading = row{"Step", "Wall", "CPU", "Written"}

func (p Report) rows(rows *[]row, depth int, printable func(string) string, bytes func(int64) string) {
	for _, e := range p {
		r := row{strings.Repeat("  ", depth) + printable(e.label()), seconds(e.Wall), seconds(e.CPU), "-"}
		if e.Written != nil {
			r.written = bytes(*e.Written)
		}
		*rows = append(*rows, r)
		e.Steps.rows(rows, depth+1, printable, bytes)
	}
}

func (e *Entry) label() string {
	if e.Failed {
		return e.Name + " (failed)"
	}
	return e.Name
}

func seconds(s float64) string { return fmt.Sprintf("%.2fs", s) }
