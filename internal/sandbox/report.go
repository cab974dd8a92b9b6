package sandbox

import (
	"errors"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// What the first process of a sandbox or session tells its parent through a
// pipe. Each message is a kind followed by its fields.
const (
	reportCreated = 1 + iota // a mount point to remove: root, name
	reportStarted            // the command runs
	reportFailed             // it could not be started: error number, text
	reportExited             // the command's wait status
)

// maxReport limits what is read from the pipe; a sandbox has a handful of
// messages.
const maxReport = 1 << 20

// report is everything that was told.
type report struct {
	created []hostMount
	started bool
	failure error
	exited  bool
	status  syscall.WaitStatus
}

// send writes one message at once.
func send(fd int, e encoder) error {
	for len(e) > 0 {
		n, err := unix.Write(fd, e)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		e = e[n:]
	}
	return nil
}

func sendCreated(fd int, m hostMount) error {
	var e encoder
	e.number(reportCreated)
	e.string(m.root)
	e.string(m.name)
	return send(fd, e)
}

func sendStarted(fd int) error {
	return send(fd, encoder{reportStarted})
}

func sendFailed(fd int, cause error) error {
	var errno syscall.Errno
	errors.As(cause, &errno)
	var e encoder
	e.number(reportFailed)
	e.number(uint64(errno))
	e.string(cause.Error())
	return send(fd, e)
}

func sendExited(fd int, status syscall.WaitStatus) error {
	var e encoder
	e.number(reportExited)
	e.number(uint64(status))
	return send(fd, e)
}

// readReport reads messages until the pipe is closed, and whatever of them is
// whole.
func readReport(r io.Reader) report {
	data, _ := io.ReadAll(io.LimitReader(r, maxReport))
	return decodeReport(data)
}

// decodeReport stops at the first thing that it does not understand. Once the
// command runs, which might get hold of the pipe, it believes nothing but how
// the command ended.
func decodeReport(data []byte) report {
	var r report
	d := decoder{data: data}
	for len(d.data) > 0 && d.err == nil {
		switch kind := d.number(); {
		case kind == reportCreated && !r.started:
			m := hostMount{root: d.string(), name: d.string()}
			if d.err == nil {
				r.created = append(r.created, m)
			}
		case kind == reportStarted && !r.started:
			r.started = true
		case kind == reportFailed && r.failure == nil:
			errno, text := syscall.Errno(d.number()), d.string()
			if d.err == nil {
				r.failure = &setupError{text: text, errno: errno}
			}
		case kind == reportExited && r.started && !r.exited:
			status := syscall.WaitStatus(d.number())
			if d.err == nil {
				r.exited, r.status = true, status
			}
		default:
			return r
		}
	}
	return r
}

// setupError is an error that happened in another process.
type setupError struct {
	text  string
	errno syscall.Errno
}

func (e *setupError) Error() string { return e.text }

func (e *setupError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

// exitCode is what a shell would make of a wait status.
func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
