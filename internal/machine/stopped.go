package machine

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/machine/qmp"
)

// stoppedError says that QEMU has stopped a machine because of a file that it cannot read or write. Nobody would see that:
// to the guest, time stands still.
type stoppedError struct {
	what   string // "disk", or the name of a drive
	path   string // "" if it is not of mkosi's making
	verb   string // "reading" or "writing"
	reason string
	full   bool
}

func (e *stoppedError) Error() string {
	what := e.what
	if e.path != "" {
		what += ", the file " + e.path
	}
	if e.full {
		text := fmt.Sprintf("%s the machine's %s: there is no room left", e.verb, what)
		if e.path != "" {
			text += " on the file system of " + mountPoint(e.path)
		}
		return text
	}
	return fmt.Sprintf("%s the machine's %s: %s", e.verb, what, e.reason)
}

// Hint says what to do about it.
func (e *stoppedError) Hint() string {
	if e.full {
		return "make room there and start the machine again"
	}
	return ""
}

// told hears what QEMU tells while the machine runs, and ends a run that nothing else would end. Whoever stops the machine
// in QEMU's monitor may go on.
func (r *running) told(c *qmp.Client, e qmp.Event) {
	switch e.Name {
	case "BLOCK_IO_ERROR":
		if err := r.ioError(e.Data); err != nil {
			r.end(err)
		}
	case "STOP":
		// QEMU's reply has to be waited for elsewhere, see qmp.Connect.
		go r.stopped(c)
	}
}

// ioError returns the error of a machine that an event says was stopped because of a disk, or nil if the guest was told
// of it and goes on.
func (r *running) ioError(data json.RawMessage) error {
	var e struct {
		Device    string `json:"device"`
		Node      string `json:"node-name"`
		Operation string `json:"operation"`
		Action    string `json:"action"`
		NoSpace   bool   `json:"nospace"`
		Reason    string `json:"reason"`
	}
	if err := json.Unmarshal(data, &e); err != nil || e.Action != "stop" {
		return nil
	}
	stopped := &stoppedError{what: "drive " + e.Node, verb: "writing", reason: e.Reason, full: e.NoSpace}
	if e.Operation == "read" {
		stopped.verb = "reading"
	}
	if e.Node == "" {
		stopped.what = "drive " + e.Device
	}
	if e.Node == diskNode {
		stopped.what, stopped.path = "disk", r.disk.path
	}
	for _, d := range r.drives {
		if d.id == e.Node {
			stopped.path = d.path
		}
	}
	return stopped
}

// stopped ends the run if the machine stands still for a reason that nobody can do anything about.
func (r *running) stopped(c *qmp.Client) {
	var status struct {
		Status string `json:"status"`
	}
	if err := c.Call("query-status", nil, &status); err != nil {
		return // it has gone already
	}
	if status.Status == "internal-error" {
		r.end(fmt.Errorf("the machine has stopped: QEMU says that its state is %s", status.Status))
	}
}

// mountPoint returns where the file system of a file is mounted.
func mountPoint(path string) string {
	dir, err := filepath.Abs(filepath.Dir(path))
	var own, above unix.Stat_t
	if err != nil || unix.Stat(dir, &own) != nil {
		return filepath.Dir(path)
	}
	for dir != "/" && unix.Stat(filepath.Dir(dir), &above) == nil && above.Dev == own.Dev {
		dir = filepath.Dir(dir)
	}
	return dir
}
