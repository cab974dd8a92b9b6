package sandbox

import (
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/host"
)

// Usage is what a command used, with all its processes that were waited for: those that it left behind are killed with
// the sandbox, and the kernel does not add them up.
type Usage struct {
	CPU time.Duration // of all processors together
	// Written is how many bytes it wrote to disks; 0 if the kernel does not count them. File systems in memory are none.
	Written int64
}

// wait waits for the first process of a sandbox and tells the command's Used what it has used. The first process waits
// for all others, which makes their figures its own.
//
// What it wrote is added to our own figure in the moment in which we wait for it. Its own is kept from ordinary users
// once it has ended, so that moment is measured: what else this process writes in it is counted, too.
func (c *Cmd) wait(first *exec.Cmd) error {
	if c.Used == nil {
		return first.Wait()
	}
	awaitEnd(first.Process)
	before, _ := host.BytesWritten()
	err := first.Wait()
	after, _ := host.BytesWritten()
	if state := first.ProcessState; state != nil {
		c.Used(Usage{state.UserTime() + state.SystemTime(), max(after-before, 0)})
	}
	return err
}

// awaitEnd waits until a child has ended, and leaves it for others to wait for.
func awaitEnd(p *os.Process) {
	for unix.Waitid(unix.P_PID, p.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}
