package timing

import (
	"fmt"
	"hash/fnv"
	"html"
	"math"
	"strings"
)

// The measures of the drawing, in pixels.
const (
	chartWidth = 1200.0 // of the time axis
	margin     = 12.0
	laneHeight = 22.0
	axisHeight = 26.0
	charWidth  = 6.6 // of the font, about
)

// SVG returns the report as a drawing of the kind that is called a flame chart: time runs to the right, every image has
// lanes of its own, and what lies in a span is below it. It needs no scripts; a browser shows the figures of a bar when
// the pointer rests on it. bytes writes a number of bytes.
func (p Report) SVG(bytes func(int64) string) []byte {
	d := drawing{bytes: bytes, total: p.end()}
	lanes := d.spans(p, 0)
	width, height := chartWidth+2*margin, axisHeight+float64(lanes)*laneHeight+margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" role="img">`+"\n", width, height, width, height)
	b.WriteString(style)
	fmt.Fprintf(&b, `<rect class="paper" width="%.0f" height="%.0f"/>`+"\n", width, height)
	d.axis(&b, height-margin)
	b.WriteString(d.bars.String())
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// style has the colours for light and for dark surroundings. The bars themselves are light in both.
const style = `<style>
text { font: 11px sans-serif; fill: #1f2328 }
.paper { fill: #ffffff }
.axis { fill: #59636e }
.grid { stroke: #d1d9e0 }
.failed { stroke: #cf222e; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  .paper { fill: #0d1117 }
  .axis { fill: #9198a1 }
  .grid { stroke: #3d444d }
}
</style>
`

// drawing is a chart in the making.
type drawing struct {
	bytes func(int64) string
	total float64 // seconds
	bars  strings.Builder
}

// end is when the last span ended, in seconds; never 0.
func (p Report) end() float64 {
	end := 1e-3
	for _, e := range p {
		end = max(end, e.Start+e.Wall, e.Steps.end())
	}
	return end
}

func (d *drawing) x(seconds float64) float64 { return margin + seconds/d.total*chartWidth }

// spans draws spans from a lane downwards and returns the first lane that is free below them. Spans that follow each
// other share a lane; one of another image, or that runs while the one before still does, gets new ones.
func (d *drawing) spans(p Report, lane int) int {
	next := lane
	for i, e := range p {
		if i > 0 && (e.Image != p[i-1].Image || e.Start < p[i-1].Start+p[i-1].Wall) {
			lane = next
		}
		d.bar(e, lane)
		next = max(next, lane+1, d.spans(e.Steps, lane+1))
	}
	return next
}

// bar draws one span.
func (d *drawing) bar(e *Entry, lane int) {
	x, y := d.x(e.Start), axisHeight+float64(lane)*laneHeight
	w := max(d.x(e.Start+e.Wall)-x, 0.5)
	class := ""
	if e.Failed {
		class = ` class="failed"`
	}
	fmt.Fprintf(&d.bars, `<g><title>%s</title><rect%s x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2" fill="hsl(%d 70%% 78%%)"/>`,
		escape(d.tooltip(e)), class, x, y, w, laneHeight-2, hue(e.Name))
	if text := fitting(e.Name, w-6); text != "" {
		fmt.Fprintf(&d.bars, `<text x="%.1f" y="%.1f">%s</text>`, x+3, y+14, escape(text))
	}
	d.bars.WriteString("</g>\n")
}

func (d *drawing) tooltip(e *Entry) string {
	text := e.label()
	if e.Image != "" {
		text = "[" + e.Image + "] " + text
	}
	text += fmt.Sprintf("\n%s, CPU %s", seconds(e.Wall), seconds(e.CPU))
	if e.Written != nil {
		text += ", " + d.bytes(*e.Written) + " written"
	}
	return text
}

// fitting cuts a text to a width in pixels; what is left of it is "" if that would say nothing.
func fitting(text string, width float64) string {
	room, runes := int(width/charWidth), []rune(text)
	switch {
	case len(runes) <= room:
		return text
	case room < 3:
		return ""
	}
	return string(runes[:room-1]) + "…"
}

// hue is the colour of a name, the same in every drawing.
func hue(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32() % 360
}

// axis draws the seconds and lines down to the bottom.
func (d *drawing) axis(b *strings.Builder, bottom float64) {
	step := tick(d.total)
	for i := 0; float64(i)*step <= d.total; i++ {
		t := float64(i) * step
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" y1="18" x2="%.1f" y2="%.1f"/><text class="axis" x="%.1f" y="14">%gs</text>`+"\n",
			d.x(t), d.x(t), bottom, d.x(t), math.Round(t*1e6)/1e6)
	}
}

// tick is a round number of seconds between the lines of the axis, so that there are about ten of them.
func tick(total float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(total/10)))
	for _, f := range []float64{1, 2, 5} {
		if total/(f*power) <= 12 {
			return f * power
		}
	}
	return 10 * power
}

// escape writes a text into XML. Characters that XML cannot hold are replaced.
func escape(text string) string {
	return html.EscapeString(strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\n' || r == 0x7f || r == 0xfffe || r == 0xffff {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD")))
}
