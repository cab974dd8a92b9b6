// Package notify receives what the service manager of a running guest says about it: that it has booted, which target it
// has reached, and with which exit status it ends. The messages are those of sd_notify(3). They come over a VSOCK
// socket, or, where this host has none, over a port of the virtual machine's serial bus that a unit in the guest writes
// to; see [GuestFiles].
//
// A guest can say anything. Messages are read with limits, and none does more than change a [State].
package notify

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// MaxMessage is how many bytes a message may have. systemd's own are below 4096.
	MaxMessage = 64 << 10
	// maxAssignments is how many assignments a message may have.
	maxAssignments = 256
)

// The keys of sd_notify(3) and systemd(1), section "Readiness protocol", that say something about a whole system.
const (
	KeyReady      = "READY"
	KeyStatus     = "STATUS"
	KeyExitStatus = "EXIT_STATUS"
	KeyHostname   = "X_SYSTEMD_HOSTNAME"
	KeyShutdown   = "X_SYSTEMD_SHUTDOWN"
	KeyUnitActive = "X_SYSTEMD_UNIT_ACTIVE"
)

// Assignment is one line of a message.
type Assignment struct{ Key, Value string }

// Parse reads a message: lines of KEY=VALUE. Lines that are none are passed over, as systemd does. It fails on a message
// that is longer than [MaxMessage], has too many lines or is no text.
func Parse(message []byte) ([]Assignment, error) {
	if len(message) > MaxMessage {
		return nil, fmt.Errorf("a notification of the guest has more than %d bytes", MaxMessage)
	}
	if !utf8.Valid(message) || bytes.IndexByte(message, 0) >= 0 {
		return nil, errors.New("a notification of the guest is no text")
	}
	var list []Assignment
	for line := range strings.Lines(string(message)) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok || !validKey(key) {
			continue
		}
		if len(list) == maxAssignments {
			return nil, fmt.Errorf("a notification of the guest has more than %d assignments", maxAssignments)
		}
		list = append(list, Assignment{key, value})
	}
	return list, nil
}

// validKey reports whether a text is like the name of a variable of the environment.
func validKey(key string) bool {
	for i, c := range []byte(key) {
		letter := c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return key != ""
}

// State is what a guest has said so far. Texts are the guest's and may hold control characters.
type State struct {
	Ready    bool   // it has booted
	Status   string // what it does, in words
	Hostname string
	Target   string // the last target unit that it reached
	Shutdown string // how it goes down: "poweroff", "reboot", "halt", "kexec", or "" when it does not
	// ExitStatus is what it ends with, 0 to 255; nil as long as it has not said so.
	ExitStatus *int
}

// Apply brings the state up to date with one assignment. It fails on an exit status that is none; other values are taken
// as they are, and unknown keys passed over.
func (s *State) Apply(a Assignment) error {
	switch a.Key {
	case KeyReady:
		s.Ready = s.Ready || a.Value == "1"
	case KeyStatus:
		s.Status = a.Value
	case KeyHostname:
		s.Hostname = a.Value
	case KeyShutdown:
		s.Shutdown = a.Value
	case KeyUnitActive:
		s.Target = a.Value
	case KeyExitStatus:
		n, err := strconv.ParseUint(a.Value, 10, 8)
		if err != nil {
			return fmt.Errorf("the guest says that its exit status is %.20q, which is no number up to 255", a.Value)
		}
		status := int(n)
		s.ExitStatus = &status
	}
	return nil
}
