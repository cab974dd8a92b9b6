package timing

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/host"
)

// system is this process as the kernel counts it.
type system struct{}

func (system) now() time.Time { return time.Now() }

func (s system) self() (usage, bool) {
	written, counted := host.BytesWritten()
	return usage{s.cpu(), written}, counted
}

// cpu is the CPU time of all threads of this process; getrusage(2) fails only for wrong arguments.
func (system) cpu() time.Duration {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
