// Package timing measures the steps of a build: how long each took, how much of the processors it used and how much it
// wrote to disks.
//
// Steps of different images run side by side in one process, so what a step used cannot be read off the process
// alone. What the commands of a step used is known exactly: the kernel counts it for each of them, with all its
// children, see [Recorder.Used]. What the program itself used since something last began or ended is divided equally
// among the innermost steps that were running. The sum is right, a single share is an estimate where several steps ran.
package timing

import (
	"slices"
	"sync"
	"time"
)

// Recorder records the spans of one build. It may be used from several goroutines. A nil Recorder records nothing, and
// all its methods and those of its spans may be called.
type Recorder struct {
	clock clock

	mu    sync.Mutex
	begun time.Time
	roots []*Span
	open  map[string][]*Span // by image, the outermost first; "" is the build
	// last is what the program itself had used when it was last divided.
	last usage
	// commands is what commands used; the program's own count includes it.
	commands int64
	// written is whether the kernel counts what is written.
	written bool
}

// Span is the time from the beginning of something to its end.
type Span struct {
	r           *Recorder
	image, name string
	children    []*Span
	begin, end  time.Time // end is zero while it runs
	failed      bool
	used        usage // by itself, without its children
}

// usage is what was used up.
type usage struct {
	cpu     time.Duration
	written int64 // bytes
}

func (u *usage) add(o usage) {
	u.cpu += o.cpu
	u.written += o.written
}

// clock is where a recorder has its figures from.
type clock interface {
	now() time.Time
	// self is what this process used since it began. Its written bytes include those of commands that it has waited
	// for, its CPU time does not; ok is whether the kernel counts bytes.
	self() (u usage, ok bool)
}

// New returns a recorder of this process.
func New() *Recorder { return newRecorder(system{}) }

func newRecorder(c clock) *Recorder {
	r := &Recorder{clock: c, begun: c.now(), open: map[string][]*Span{}}
	r.last, r.written = c.self()
	return r
}

// Begin begins a span of an image; image is empty for what belongs to the build as a whole. A span lies in the innermost
// one of its image that has not ended, or, if there is none, in that of the build. Call End of the span once.
func (r *Recorder) Begin(image, name string) *Span {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.divide()
	s := &Span{r: r, image: image, name: name, begin: r.clock.now()}
	if parent := r.innermost(image); parent != nil {
		parent.children = append(parent.children, s)
	} else {
		r.roots = append(r.roots, s)
	}
	r.open[image] = append(r.open[image], s)
	return s
}

// End ends the span; err is how it failed, if it did.
func (s *Span) End(err error) {
	if s == nil {
		return
	}
	r := s.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if !s.end.IsZero() {
		return
	}
	r.divide()
	s.end, s.failed = r.clock.now(), err != nil
	if i := slices.Index(r.open[s.image], s); i >= 0 {
		r.open[s.image] = slices.Delete(r.open[s.image], i, i+1)
	}
}

// Used adds what a command that has ended used to the innermost running span of its image: the CPU time of all its
// processes and the bytes they wrote to disks. Call it for every command that the program has waited for.
func (r *Recorder) Used(image string, cpu time.Duration, written int64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commands += written
	if s := r.innermost(image); s != nil {
		s.used.add(usage{cpu, written})
	}
}

// innermost returns the innermost running span of an image, or of the build. The caller holds the lock.
func (r *Recorder) innermost(image string) *Span {
	for _, name := range []string{image, ""} {
		if open := r.open[name]; len(open) > 0 {
			return open[len(open)-1]
		}
	}
	return nil
}

// divide gives what the program itself used since the last time to the innermost running spans. The caller holds the
// lock.
func (r *Recorder) divide() {
	now, _ := r.clock.self()
	now.written -= r.commands
	spent := usage{now.cpu - r.last.cpu, now.written - r.last.written}
	r.last.cpu = now.cpu
	// A command may be counted by the kernel a moment before Used is called; then there is a debt to work off.
	if spent.written > 0 {
		r.last.written = now.written
	} else {
		spent.written = 0
	}
	running := r.running()
	for i, s := range running {
		s.used.add(usage{spent.cpu / time.Duration(len(running)), share(spent.written, len(running), i)})
	}
}

// share is what the i-th of n gets of a number of bytes, so that nothing is lost.
func share(total int64, n, i int) int64 {
	each, rest := total/int64(n), total%int64(n)
	if int64(i) < rest {
		each++
	}
	return each
}

// running returns the innermost running spans: one of each image, or that of the build. The caller holds the lock.
func (r *Recorder) running() []*Span {
	var list []*Span
	for image, open := range r.open {
		if image != "" && len(open) > 0 {
			list = append(list, open[len(open)-1])
		}
	}
	if build := r.open[""]; len(list) == 0 && len(build) > 0 {
		list = append(list, build[len(build)-1])
	}
	return list
}
